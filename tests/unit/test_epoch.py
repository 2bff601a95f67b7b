"""One engine's ownership of a run: how it begins, is lost and ends."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daskbatch import errors
from daskbatch.engine import epoch as module
from daskbatch.engine import folder as folders
from daskbatch.engine.epoch import Epoch, owner_text
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.heartbeat import is_over, read_heartbeat
from daskbatch.engine.stop import Stop
from daskbatch.events import Progress
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import has_ended, replay

PATIENCE = 20.0
"""Seconds after which something that should have happened has not."""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.create()
    return folder


@pytest.fixture
def own(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Epoch]]:
    """Begin an epoch whose heart beats as often as is said, else never; all are closed at the end."""
    began: list[Epoch] = []

    def begin(number: int = 1, every: float = 3600.0) -> Epoch:
        monkeypatch.setattr(RunFolder, "beat_every", every)
        began.append(Epoch(folder, number, "r"))
        return began[-1]

    yield begin
    for epoch in began:
        epoch.close(None)


class Told:
    """Remembers why the run is to stop, and lets others wait for it."""

    def __init__(self) -> None:
        self.stops: list[Stop] = []
        self._came = threading.Event()

    def __call__(self, stop: Stop) -> None:
        self.stops.append(stop)
        self._came.set()

    def wait(self) -> Stop:
        assert self._came.wait(PATIENCE)
        self._came.clear()
        return self.stops[-1]


def take_over(folder: RunFolder, number: int = 2) -> None:
    Ledger.create(folder.ledger(number), "r", epoch=number).close()


def beat(folder: RunFolder, number: int = 1) -> dict[str, Any]:
    content = read_heartbeat(folder.heartbeat(number))
    assert content is not None
    return content


def test_an_epoch_is_claimed_once(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own()
    with pytest.raises(FileExistsError):
        own()
    # and the first is none the worse for it
    assert beat(folder)["epoch"] == 1


def test_two_who_claim_at_the_same_moment(folder: RunFolder) -> None:
    # Given many who are about to claim an epoch
    start, owners, late = threading.Barrier(8), [], []

    def claim() -> None:
        start.wait()
        try:
            owners.append(Epoch(folder, 1, "r"))
        except FileExistsError as error:
            late.append(error)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then one has it
    assert (len(owners), len(late)) == (1, 7)
    owners[0].close(None)


def test_a_beat_tells_who_and_how_far(folder: RunFolder, own: Callable[..., Epoch], monkeypatch: Any) -> None:
    beaten = threading.Semaphore(0)
    write = folders.write_heartbeat
    monkeypatch.setattr(folders, "write_heartbeat", lambda *given: write(*given) or beaten.release())
    epoch = own(every=0.01)
    first = beat(folder)
    assert (first["run_id"], first["phase"], first["progress"]) == ("r", "plan", None)
    assert {"host", "pid", "started", "place", "since"} <= first.keys()
    # When it has come further, and its heart has beaten since
    epoch.enter("run")
    epoch.show(Progress(1.0, 2.0, 9, True, 3, 0, 30, 0, 1, 2, 4.0))
    while beaten.acquire(blocking=False):
        pass
    for _ in range(2):  # the first may have been under way
        assert beaten.acquire(timeout=PATIENCE)
    later = beat(folder)
    # Then others can read it
    assert later["beat"] > first["beat"]
    assert (later["phase"], later["progress"]["mini_batches_done"], later["progress"]["remaining"]) == ("run", 3, 4.0)
    assert "time" not in later["progress"]


def test_who_owns_it_is_told_to_people(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own()
    content = beat(folder)
    assert owner_text(content) == f"process {content['pid']} on {content['host']}, since {content['since']}"
    assert owner_text(None) == "owner unknown"


def test_a_successor_is_found_by_the_heart(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    # Given an engine that knows of nothing
    told = Told()
    epoch = own(every=0.01)
    epoch.on_stop(told)
    assert epoch.displaced() is None
    # When another takes its run
    take_over(folder)
    # Then it is told, once
    stop = told.wait()
    assert stop.taken_over
    assert stop.error is errors.TakenOver
    assert "taken over" in stop.message
    assert epoch.displaced() == stop
    assert epoch.look() == stop
    assert told.stops == [stop]


def test_a_successor_is_found_by_a_look(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    take_over(folder)
    assert epoch.displaced() is None  # the last look is a moment old
    stop = epoch.look()
    assert stop is not None
    assert "owner unknown" in stop.message
    assert epoch.displaced() == stop


def test_the_successor_is_named(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    own(2)
    stop = epoch.look()
    assert stop is not None
    assert owner_text(beat(folder, 2)) in stop.message


def test_who_has_slept_looks_at_once(
    folder: RunFolder, own: Callable[..., Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an engine whose heart and all stood still for an hour
    epoch = own()
    take_over(folder)
    clock = module._clock
    monkeypatch.setattr(module, "_clock", lambda: clock() + 3600)
    # Then its next result is not booked before it has looked
    stop = epoch.displaced()
    assert stop is not None
    assert stop.taken_over


def test_a_run_that_was_discarded_is_lost(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    folder.discard()
    assert epoch.look() is not None
    # even where another has begun in its place
    folder.create()
    take_over(folder, 1)
    assert epoch.look() is not None
    epoch.close("Completed")
    assert not has_ended(folder.ledger(1))
    assert not folder.heartbeat(1).exists()


def test_an_output_folder_that_was_deleted_is_lost(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own(every=0.01)
    told = Told()
    epoch.on_stop(told)
    shutil.rmtree(folder.output)
    assert told.wait().taken_over
    epoch.close("Failed")
    assert not folder.output.exists()


def test_a_filesystem_that_does_not_answer_takes_nothing_away(
    folder: RunFolder, own: Callable[..., Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = own()

    def unreachable(path: object, **_: object) -> None:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr("daskbatch.store.ledger.os.stat", unreachable)
        assert epoch.look() is None


def test_cancel_is_a_stop_but_no_loss(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own(every=0.01)
    told = Told()
    epoch.on_stop(told)
    folder.cancel.touch()
    stop = told.wait()
    assert stop.error is errors.RunCanceled
    assert not stop.taken_over
    assert epoch.look() is None
    assert epoch.displaced() is None
    # and a run that is taken over while it is canceled is lost all the same
    take_over(folder)
    assert told.wait().taken_over
    assert [stop.taken_over for stop in told.stops] == [False, True]


def test_who_listens_late_hears_it_too(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    folder.cancel.touch()
    epoch.look()
    told = Told()
    epoch.on_stop(told)
    assert told.wait().error is errors.RunCanceled


def test_an_end_in_order(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    folder.cancel.touch()
    epoch.close("Canceled")
    assert replay(folder.ledger(1)).ended == "Canceled"
    assert not folder.heartbeat(1).exists()
    assert not folder.cancel.exists()
    # A second end changes nothing
    epoch.close("Failed")
    assert replay(folder.ledger(1)).ended == "Canceled"


def test_letting_go_without_an_end(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own().close(None)
    assert replay(folder.ledger(1)).ended is None
    assert is_over(beat(folder))


def test_an_end_that_cannot_be_written_lets_go_all_the_same(
    folder: RunFolder, own: Callable[..., Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = own()

    def full(status: str) -> None:
        raise errors.RunFailed("no room")

    monkeypatch.setattr(epoch.ledger, "end", full)
    epoch.close("Failed")
    assert is_over(beat(folder))


def test_who_has_lost_it_writes_nothing_at_the_end(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    take_over(folder)
    before = {path.name: path.read_bytes() for path in folder.state.iterdir() if path.is_file()}
    folder.cancel.touch()
    epoch.close("Completed")
    folder.cancel.unlink()  # it is for the other engine, and still there
    assert {path.name: path.read_bytes() for path in folder.state.iterdir() if path.is_file()} == before


def test_its_ledger_names_those_that_count(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own().close("Failed")
    found = replay(folder.ledger(1))
    epoch = Epoch(folder, 2, "r", found.accepted)
    epoch.close("Completed")
    header = json.loads(folder.ledger(2).read_text().splitlines()[0])
    del header["crc"]
    assert header == {"epoch": 2, "run": "r", "earlier": [["ledger-1.jsonl", folder.ledger(1).stat().st_size]]}
