"""A plan that grows: mini-batches as they become known, and never one that a later name would change."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from daskbatch import plan_format
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.books import Books
from daskbatch.errors import InputError
from daskbatch.plan import make_plan, read_plan
from daskbatch.plan_inputs import InputChanged, InputState, state_of_inputs
from daskbatch.plan_listing import ObjectPath
from daskbatch.plan_record import Plan
from daskbatch.plan_stream import PlanStream, is_streamed
from daskbatch.spec import InputSpec
from daskbatch.types import MiniBatch, MiniBatchSize

SPEC = InputSpec(("s3://b/in/",), "files", MiniBatchSize("files", 10))
PATIENCE = 20.0


def spec(url: str, **changes: Any) -> InputSpec:
    return dataclasses.replace(SPEC, paths=(url,), **{"input_format": "auto", **changes})


@pytest.mark.parametrize(
    ("given", "streamed"),
    [
        (SPEC, True),
        (spec("s3://b/images/*.png"), True),
        (spec("s3://b/images/**/*.PNG"), True),
        (spec("s3://b/images/"), False),  # the millionth may be a table
        (spec("s3://b/images/*"), False),
        (spec("s3://b/images/*.[pj]ng"), False),
        (spec("s3://b/images/a.png"), False),
        (spec("s3://b/tables/*.csv"), False),
        (spec("s3://b/tables/*.csv.gz"), False),
        (spec("s3://b/images/*.png/"), False),
        (spec("s3://b/images/*.png", mini_batch_size=None), True),
        (spec("s3://b/images/*.png", mini_batch_size=MiniBatchSize("bytes", 9)), False),
        (spec("s3://b/images/*.png", partition_format="/{day}/*.png"), False),
        (spec("s3://b/images/*.png", datasets=(("a", 1),)), True),
        (dataclasses.replace(SPEC, paths=("s3://b/a/", "s3://b/b/")), False),
        (dataclasses.replace(SPEC, paths=("/data/in",)), False),
    ],
)
def test_an_input_is_streamed_where_no_later_name_can_change_it(given: InputSpec, streamed: bool) -> None:
    assert is_streamed(given) is streamed


class Store:
    """Objects that are found as the test lets them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.changed = -1
        self.gates: dict[int, threading.Event] = {}
        self.error: tuple[int, Exception] | None = None

    def hold(self, number: int) -> threading.Event:
        """Find no more than `number` objects before the event."""
        self.gates[number] = threading.Event()
        return self.gates[number]

    def __call__(self, paths: tuple[str, ...], storage: object = ()) -> Iterator[tuple[bytes, bool]]:
        for number in range(self.count):
            if number in self.gates:
                assert self.gates[number].wait(PATIENCE)
            if self.error is not None and number == self.error[0]:
                raise self.error[1]
            path = ObjectPath(b"s3://b/in/f%05d" % number)
            path.size, path.token = number, "new" if number == self.changed else "old"
            yield path, False


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store(1234)
    monkeypatch.setattr(plan_format, "list_inputs", store)
    return store


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., PlanStream]]:
    streams = []

    def begin(finish: Callable[[Plan], Plan] = lambda plan: plan) -> PlanStream:
        streams.append(PlanStream(SPEC, tmp_path / "plan", finish))
        return streams[-1]

    yield begin
    for stream in streams:
        stream.close()


def known(batches: Iterator[MiniBatch | None]) -> list[MiniBatch]:
    """Those that are known now."""
    found = []
    while (batch := next(batches)) is not None:
        found.append(batch)
    return found


def test_mini_batches_are_those_of_a_plan_that_is_whole(
    store: Store, begin: Callable[..., PlanStream], tmp_path: Path
) -> None:
    # Given a listing that stands still after 700 files, of which a whole part of the plan file is written
    oracle = list(read_plan(make_plan(SPEC, tmp_path / "oracle")))
    gate, more = store.hold(705), threading.Event()
    stream = begin()
    first: list[Plan] = []
    plan = stream.begin(first.append)
    assert (plan.mini_batches, plan.inputs, len(first)) == (None, None, 1)
    stream.watch(more.set)
    noted: list[InputState] = []
    batches = stream.batches(noted.append)
    found = known(batches)
    while len(found) < 70:
        assert more.wait(PATIENCE)
        more.clear()
        found += known(batches)
    # Then what is known is the first part of that plan, and it was noted how it is made
    assert found == oracle[:70]
    assert noted[-1].files == 700
    assert (stream.mini_batches, stream.whole) == (70, False)
    # When the rest is found
    whole = threading.Event()
    stream.watch(lambda: whole.set() if stream.whole else None)
    gate.set()
    assert whole.wait(PATIENCE)
    found += [batch for batch in batches if batch is not None]
    # Then all is as if it had been listed at once
    assert found == oracle
    assert stream.plan is not None
    assert stream.plan.inputs == state_of_inputs(SPEC)
    assert stream.plan == dataclasses.replace(make_plan(SPEC, tmp_path / "oracle"), path=tmp_path / "plan")
    assert noted[-1] == stream.plan.inputs


class Waits(threading.Event):
    """Tells that it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.begun.set()
        return super().wait(3 * PATIENCE if timeout else timeout)


@pytest.mark.parametrize("ended", [False, True])
def test_a_listing_stands_still_until_there_is_who_does_the_work(
    store: Store, begin: Callable[..., PlanStream], ended: bool
) -> None:
    # Given a listing of which the first files are known, and no cluster yet
    gate, whole = store.hold(704), threading.Event()
    stream = begin()
    stream._watched = waits = Waits()
    stream.begin(lambda _: None)
    # When it finds more
    gate.set()
    # Then it waits
    assert waits.begun.wait(PATIENCE)
    assert stream.known.files < store.count
    if ended:
        stream.close()
        assert not stream._thread.is_alive()
        return
    stream.watch(lambda: whole.set() if stream.whole else None)
    assert whole.wait(PATIENCE)


def test_a_mini_batch_is_cut_when_it_is_full(store: Store, begin: Callable[..., PlanStream]) -> None:
    store.count = 105
    gate, whole = store.hold(104), threading.Event()
    stream = begin()
    stream.begin(lambda _: None)
    batches = stream.batches(lambda _: None)
    assert len(known(batches)) == 10
    gate.set()
    stream.watch(lambda: whole.set() if stream.whole else None)
    assert whole.wait(PATIENCE)
    assert [len(batch.paths) for batch in batches if batch is not None] == [5]


def test_a_small_input_is_whole_at_once(store: Store, begin: Callable[..., PlanStream]) -> None:
    store.count = 7
    plan = begin().begin(lambda _: pytest.fail("there was nothing to wait for"))
    assert (plan.files, plan.mini_batches) == (7, 1)


def test_what_is_wrong_at_the_start_is_raised(store: Store, begin: Callable[..., PlanStream]) -> None:
    store.error = (0, InputError("nothing there"))
    with pytest.raises(InputError, match="nothing there"):
        begin().begin(lambda _: None)


def test_what_goes_wrong_later_is_told(store: Store, begin: Callable[..., PlanStream]) -> None:
    store.error, told = (500, InputError("gone")), threading.Event()
    gate = store.hold(450)
    stream = begin()

    def rename(_: Plan) -> None:  # as the engine does: what could not be planned is deleted under its first name
        stream.path = stream.path.rename(stream.path.with_name("other"))

    stream.begin(rename)
    stream.watch(lambda: told.set() if stream.error else None)
    assert not told.is_set()
    gate.set()
    assert told.wait(PATIENCE)
    assert (str(stream.error), stream.whole) == ("gone", False)
    assert known(stream.batches(lambda _: None))[-1].file < 500


def test_nothing_is_written_after_the_end(store: Store, begin: Callable[..., PlanStream]) -> None:
    gate = store.hold(450)
    stream = begin(lambda _: pytest.fail("it was closed"))
    stream.begin(lambda _: None)
    closing = threading.Thread(target=stream.close)
    closing.start()
    while not stream._closed:
        pass
    before = stream.known
    gate.set()
    closing.join()
    assert (stream.known, stream.plan) == (before, None)


@pytest.mark.parametrize(("listed", "changed"), [(1234, -1), (700, -1), (700, 700), (1, 1233)])
def test_a_listing_that_begins_alike_is_taken(store: Store, tmp_path: Path, listed: int, changed: int) -> None:
    store.count = listed
    before = state_of_inputs(SPEC)
    store.count, store.changed = 1234, changed
    plan = make_plan(SPEC, tmp_path / "plan", (before.files, before.digest))
    assert plan.inputs == state_of_inputs(SPEC)


@pytest.mark.parametrize(("now", "changed"), [(1234, 699), (1234, 0), (699, -1)])
def test_another_listing_is_refused(store: Store, tmp_path: Path, now: int, changed: int) -> None:
    store.count = 700
    before = state_of_inputs(SPEC)
    store.count, store.changed = now, changed
    with pytest.raises(InputChanged, match="700 files"):
        make_plan(SPEC, tmp_path / "plan", (before.files, before.digest))
    assert not (tmp_path / "plan").exists()


class Quiet:
    """Books that want to know nothing."""

    watching_first = False


class Known:
    """How much of a plan is known."""

    mini_batches = 1
    whole = False


def test_a_backlog_waits_for_a_plan_that_grows() -> None:
    one, two = MiniBatch(0, 0, ("a",)), MiniBatch(1, 0, ("b",))
    growing = Known()
    backlog = Backlog(iter([one, None, two]), 9, True, 2.0, cast(Books, Quiet()), growing)
    assert (backlog.estimate, backlog.exact, backlog.at_least) == (1, False, True)
    # It has given what is known, and waits
    assert backlog.next_row(1) == [one]
    assert backlog.next_row(1) == []
    assert backlog.more_to_come
    # What comes back goes first meanwhile
    backlog.give_back([one])
    assert backlog.next_row(1) == [one]
    growing.mini_batches, growing.whole = 2, True
    assert backlog.next_row(1) == [two]
    assert (backlog.estimate, backlog.exact, backlog.at_least) == (2, True, False)
    assert backlog.next_row(1) == []
    assert not backlog.more_to_come
