"""Which hosts get another worker, and what is told of those that do not: on fakes, without a connection."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from pathlib import Path

import pytest

from daskbatch.cluster import hosts as module
from daskbatch.cluster import ssh_watch
from daskbatch.cluster.arrivals import Arrivals
from daskbatch.cluster.hosts import Hosts
from daskbatch.cluster.ssh_host import SSHHost
from daskbatch.cluster.ssh_process import Ending, Unreachable
from daskbatch.cluster.supply import Happening

SOON = 20.0  # seconds; nothing here takes as long


class FakeRemoteWorker:
    """In the place of `RemoteWorker`: the test says what its host lets it do, and when it ends."""

    made: list[FakeRemoteWorker]
    begun: queue.Queue[FakeRemoteWorker]
    unreachable: dict[str, list[Unreachable]]
    """By host: what its next connections end with."""
    under_way: list[str]
    most: list[int]
    """How many connections were being made at the same time as each."""
    refusing: set[str]
    """Hosts that let in, and begin no command."""
    unkillable: set[str]

    def __init__(self, host: SSHHost, name: str, log: Path | None) -> None:
        self.host, self.name = host, name
        self.made.append(self)

    async def connect(self) -> str | None:
        self.under_way.append(self.host.name)
        await asyncio.sleep(0)
        self.most.append(len(self.under_way))
        self.under_way.remove(self.host.name)
        if self.unreachable.get(self.host.name):
            raise self.unreachable[self.host.name].pop(0)
        return None

    async def start(self, command: str, message: str) -> None:
        if self.host.name in self.refusing:
            raise Unreachable("no session. Next: see")
        self.loop = asyncio.get_running_loop()
        self.ending = self.loop.create_future()
        self.begun.put(self)

    async def ended(self) -> Ending:
        ending: Ending = await asyncio.shield(self.ending)
        return ending

    def said(self) -> str:
        return ""

    def kill(self) -> None:
        if self.host.name not in self.unkillable and not self.ending.done():
            self.ending.set_result(Ending("was ended by SIGKILL", -9))

    async def close(self) -> None:
        pass


class FakeHosts(Hosts):
    """All hosts are fakes; what happens can be waited for."""

    def __init__(self, *names: str, floor: int = 1, count: int = 0, restarts: int = 100) -> None:
        self.told: queue.Queue[Happening] = queue.Queue()
        fakes = [SSHHost(name, name, {}, "python") for name in names]
        super().__init__(fakes, "w", count or len(names), floor, lambda *_: "command", "", restarts, None)

    def _happen(self, happening: Happening) -> None:
        super()._happen(happening)
        self.told.put(happening)

    def next(self, *, present: tuple[str, ...] | None = None) -> Happening:
        """The next that happens; these workers are seen to be there until then."""
        for _ in range(int(SOON / 0.01)):
            if present is not None:
                self.seen(present)
            with contextlib.suppress(queue.Empty):
                return self.told.get(timeout=0.01 if present is not None else SOON)
        raise AssertionError("nothing has happened")


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RemoteWorker", FakeRemoteWorker)
    monkeypatch.setattr(ssh_watch, "_TICK", 0.01)
    monkeypatch.setattr(module, "_USELESS_PAUSE", 0.0)
    monkeypatch.setattr(module, "_AGAIN_AFTER", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module, "_EARLY_AGAIN_AFTER", 0.0)
    monkeypatch.setattr(module, "_CLOSE_PATIENCE", 0.0)
    for name in ("refusing", "unkillable"):
        monkeypatch.setattr(FakeRemoteWorker, name, set(), raising=False)
    monkeypatch.setattr(FakeRemoteWorker, "unreachable", {}, raising=False)
    for name in ("made", "under_way", "most"):
        monkeypatch.setattr(FakeRemoteWorker, name, [], raising=False)
    monkeypatch.setattr(FakeRemoteWorker, "begun", queue.Queue(), raising=False)


def begun(hosts: Hosts, *, came: bool = True) -> FakeRemoteWorker:
    """The next worker that has begun; the engine has seen it."""
    worker = FakeRemoteWorker.begun.get(timeout=SOON)
    if came:
        hosts.seen([worker.name])
    return worker


def end(ending: Ending, *workers: FakeRemoteWorker) -> None:
    """All of them end at once."""

    def all_of_them() -> None:
        for worker in workers:
            worker.ending.set_result(ending)

    workers[0].loop.call_soon_threadsafe(all_of_them)


def test_a_host_that_lets_in_and_begins_nothing_is_not_tried_for_ever() -> None:
    hosts = FakeHosts("a")
    hosts.start()
    try:
        worker = begun(hosts)
        # Given a host that was there before
        FakeRemoteWorker.refusing.add("a")
        end(Ending("is out of reach"), worker)
        assert "another one is started (1 of" in hosts.next().text
        # Then it is tried as often as one that is out of reach
        for _ in range(3):
            assert "It is tried again in 0 s" in hosts.next().text
        last = hosts.next()
        assert (last.fatal, last.text.startswith("no host is left; the last one: host a cannot be")) == (True, True)
        assert len(FakeRemoteWorker.made) == 1 + 4
        assert hosts.counts() == {"reached": 1, "left_out": 1, "workers_started": 1, "workers_replaced": 1}
    finally:
        hosts.end_all()


def test_hosts_that_leave_at_once_do_not_count_each_other() -> None:
    hosts = FakeHosts("a", "b")
    hosts.start()
    try:
        end(Ending("has ended with status 127", 127), begun(hosts, came=False), begun(hosts, came=False))
        first, second = hosts.next(), hosts.next()
        assert (first.fatal, first.text.startswith("left out: host a")) == (False, True)
        assert (second.fatal, second.text.startswith("no host is left; the last one: host b")) == (True, True)
    finally:
        hosts.end_all()


def test_a_further_host_steps_in() -> None:
    hosts = FakeHosts("a", "b", "c", floor=2, count=2)
    hosts.start()
    try:
        end(Ending("has ended with status 127", 127), begun(hosts, came=False), begun(hosts, came=False))
        assert hosts.next().text.startswith("left out: host a")
        second = hosts.next()
        assert second.fatal
        assert second.text.startswith("1 of min_nodes=2 hosts are left; left out: host b")
        assert begun(hosts).host.name == "c"
    finally:
        hosts.end_all()


@pytest.mark.parametrize("unkillable", [False, True])
def test_a_worker_that_never_comes(unkillable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_watch, "_BEGIN_PATIENCE", 0.03)
    monkeypatch.setattr(ssh_watch, "_PATIENCE", 0.03)
    hosts = FakeHosts("a")
    FakeRemoteWorker.unkillable |= {"a"} if unkillable else set()
    hosts.start()
    try:
        # Then others are started as if it had ended by itself, and the host is left out
        for _ in range(2):
            happening = hosts.next(present=())
            assert "its process does not begin within 0.03 s; another one is started" in happening.text
            assert (happening.worker, happening.blame) == ("", False)
        last = hosts.next(present=())
        assert last.fatal
        assert "3 workers in a row have ended before they came. The process of the last one does not b" in last.text
    finally:
        hosts.end_all()


@pytest.mark.parametrize(
    ("unkillable", "told"), [(False, "was ended, as its Dask worker was gone for 0.03 s"), (True, "does not end")]
)
def test_a_process_whose_worker_is_gone(unkillable: bool, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_watch, "_PATIENCE", 0.03)
    hosts = FakeHosts("a")
    FakeRemoteWorker.unkillable |= {"a"} if unkillable else set()
    hosts.start()
    try:
        worker = begun(hosts)
        happening = hosts.next(present=())
        assert f"its process {told}; another one is started (1 of" in happening.text
        # Then it is told as lost, and no mini-batch is the cause
        assert (happening.worker, happening.blame) == (worker.name, False)
        assert begun(hosts) is not worker
    finally:
        hosts.end_all()


@pytest.mark.parametrize(
    ("status", "blame"), [(0, False), (-15, False), (None, False), (1, True), (-9, True), (-11, True)]
)
def test_what_may_be_the_cause_of_a_loss(status: int | None, blame: bool) -> None:
    hosts = FakeHosts("a")
    hosts.start()
    try:
        worker = begun(hosts)
        end(Ending("has ended", status), worker)
        happening = hosts.next()
        assert (happening.worker, happening.blame) == (worker.name, blame)
    finally:
        hosts.end_all()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (2, "host a: The process of the last one has ended. It has printed nothing\nNext: name a Python 3.11 or later"),
        (127, "Next: name a Python 3.11 or later that has daskbatch as remote_python"),
        (78, "host a: it sees no folder"),
    ],
)
def test_a_host_that_cannot_do_it_is_left_out_at_once(status: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRemoteWorker, "said", lambda _: "it sees no folder" if status == 78 else "")
    hosts = FakeHosts("a")
    hosts.start()
    try:
        end(Ending("has ended", status), begun(hosts, came=False))
        last = hosts.next()
        assert last.fatal
        assert told in last.text
    finally:
        hosts.end_all()


@pytest.mark.parametrize(("passing", "tries"), [(True, 2), (False, 1)])
def test_what_may_pass_is_tried_once_more(passing: bool, tries: int) -> None:
    FakeRemoteWorker.unreachable["a"] = [Unreachable("why. Next: see", passing) for _ in range(9)]
    hosts = FakeHosts("a")
    try:
        with pytest.raises(Unreachable, match="host a cannot be reached: why"):
            hosts.start()
        assert len(FakeRemoteWorker.made) == tries
    finally:
        hosts.end_all()


def test_a_host_that_is_there_at_the_second_try() -> None:
    FakeRemoteWorker.unreachable["a"] = [Unreachable("why. Next: see", passing=True)]
    hosts = FakeHosts("a")
    try:
        hosts.start()
        assert begun(hosts).name == "w-2"
        assert "It is tried again in 0 s" in hosts.next().text
        assert hosts.counts()["left_out"] == 0
    finally:
        hosts.end_all()


def test_not_all_hosts_are_connected_to_at_once() -> None:
    hosts = FakeHosts(*(f"h{number}" for number in range(30)))
    try:
        hosts.start()
        for _ in range(30):
            begun(hosts)
        assert max(FakeRemoteWorker.most) == 8
    finally:
        hosts.end_all()


def test_no_worker_is_missing_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_watch, "_BEGIN_PATIENCE", 0.0)
    monkeypatch.setattr(ssh_watch, "_PATIENCE", 0.0)
    asked = queue.Queue[None]()

    class Unseen(Arrivals):
        """Tells when it is asked."""

        @property
        def came(self) -> frozenset[str]:
            asked.put(None)
            return frozenset()

        @came.setter
        def came(self, _: frozenset[str]) -> None:
            pass

    monkeypatch.setattr(module, "Arrivals", Unseen)
    hosts = FakeHosts("a")
    hosts.start()
    try:
        # When it was looked for again and again, by who knows nothing
        for _ in range(5):
            asked.get(timeout=SOON)
        # Then it lives, and nothing is told
        (worker,) = FakeRemoteWorker.made
        assert not worker.ending.done()
        assert hosts.told.empty()
    finally:
        hosts.end_all()
