"""Books that go on from what an earlier life of the run has left: they must come to what undisturbed ones come to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch import errors
from daskbatch.engine.books import Books
from daskbatch.engine.stop import Stop
from daskbatch.events import Event, MiniBatchFailed
from daskbatch.policy import FIRST_MINI_BATCHES, Limits
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import replay
from daskbatch.store.segments import SegmentFolder, SegmentWriter
from daskbatch.store.settled import Settled
from daskbatch.types import OPEN_END, MiniBatch, Record
from daskbatch.worker.task_report import TaskReport

ALL = Limits(-1, None, None)
MAX_TRY = 2
ITEMS = 3
FATES = ("succeeds", "short", "empty", "fails once", "fails", "unreadable")
"""What may become of a mini-batch. One that is unreadable fails before its items are counted."""


class Lives:
    """A run of one mini-batch a report, which may be killed and gone on with between any two of them."""

    def __init__(self, folder: Path, fates: list[str], limits: Limits = ALL) -> None:
        self.folder = folder
        self.fates = fates
        self.limits = limits
        self.failures: dict[str, dict[str, Any]] = {}
        self.plan = [MiniBatch(number, 0, (f"/in/{number}",), stop=ITEMS) for number in range(len(fates))]
        self._epoch = 0
        self._earlier: list[tuple[str, int]] = []

    def live(self, reports: int | None = None) -> Books:
        """Go on with what is left, up to that many reports; then die."""
        books, batches = self._begin()
        again: list[MiniBatch] = []
        writer = SegmentWriter(self.folder, f"slot{self._epoch}")
        while reports != 0 and books.stop is None:
            if again:
                batch = again.pop(0)
            elif (batch := next(batches, None)) is not None:
                books.expect(batch)
            else:
                break
            again += self._try(books, batch, writer)
            reports = None if reports is None else reports - 1
        if reports != 0:
            books.close()
        writer.close()
        self.ledger.close()
        self._earlier = replay(self.ledger.path).accepted
        return books

    def _begin(self) -> tuple[Books, Iterator[MiniBatch]]:
        self._epoch += 1
        path = self.folder / f"ledger-{self._epoch}.jsonl"
        self.ledger = Ledger.create(path, "r", epoch=self._epoch, earlier=self._earlier)
        books = Books(self.limits, MAX_TRY, self.ledger, self._tell, len(self.plan))
        batches = iter(self.plan)
        if self._epoch > 1:
            found = replay(path)
            settled = Settled(SegmentFolder(self.folder), found)
            books.restore(settled, found.tries, found.tried)
            batches = settled.remaining(batches, books.pass_over)
            self.failures = {line["mini_batch"]: line for line in (*settled.failed.values(), *settled.short.values())}
        return books, batches

    def _tell(self, event: Event) -> None:
        if isinstance(event, MiniBatchFailed):
            assert event.entry["mini_batch"] not in self.failures
            self.failures[event.entry["mini_batch"]] = event.entry

    def _try(self, books: Books, batch: MiniBatch, writer: SegmentWriter) -> list[MiniBatch]:
        fate, tries = self.fates[batch.file], books.retries_of([batch]).get(batch.key, 0)
        report = TaskReport("node", "process000")
        report.whole, report.last = True, batch.key
        if fate in ("fails", "unreadable") or (fate == "fails once" and not tries):
            items = None if fate == "unreadable" else ITEMS
            failure = {"error": "ValueError", "message": "bad", "traceback": f"at {batch.name}", "retry": True}
            report.fail({**failure, "key": batch.key, "items": items, "phase": "run"})
        else:
            items = 0 if fate == "empty" else ITEMS
            returned = items - (fate == "short")
            writer.append(Record(*batch.key, items, returned, returned, 0, 0, 0, 0.25), b"x", "c")
            if fate == "empty":
                report.empty.append(batch.key)
            else:
                report.succeed(*batch.key, items, returned, 0.25)
        return books.enter([batch], report.as_dict(writer.commit()))


def counts(books: Books) -> dict[str, Any]:
    """All that the summary and the judgement are made of."""
    names = (
        "succeeded", "failed", "items", "items_failed", "items_failed_at_least", "tries", "retries", "run_seconds",
        "total", "stop",
    )  # fmt: skip
    return {name: getattr(books, name) for name in names}


@given(
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=12),
    deaths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    limits=st.sampled_from([ALL, Limits(None, None, None), Limits(4, None, None), Limits(None, None, 50)]),
)
def test_restored_books_come_to_the_same(fates: list[str], deaths: list[int], limits: Limits) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        # Given a run, and the same again that dies after so many reports, and again
        undisturbed, disturbed = Lives(Path(one), fates, limits), Lives(Path(other), fates, limits)
        expected = undisturbed.live()
        for reports in deaths:
            disturbed.live(reports)
        # When it comes to its end
        books = disturbed.live()
        # Then all is counted as if nothing had happened
        assert counts(books) == counts(expected)
        assert sum(chunk.count for chunk in books.chunks) == sum(chunk.count for chunk in expected.chunks)
        # and each failure is listed once, with the same words
        assert disturbed.failures == undisturbed.failures


def lives(folder: Path, fates: list[str], *limits: Any) -> Lives:
    return Lives(folder, fates, Limits(*limits) if limits else Limits(None, None, None))


@pytest.mark.parametrize("death", [0, 3, 2 * FIRST_MINI_BATCHES - 1])
def test_a_run_whose_first_all_fail_is_stopped_over_a_death(death: int, tmp_path: Path) -> None:
    run = lives(tmp_path, ["fails"] * (FIRST_MINI_BATCHES + 5))
    run.live(death)
    books = run.live()
    assert books.stop is not None
    assert books.stop.error is errors.ThresholdExceeded
    assert books.failed == FIRST_MINI_BATCHES
    assert books.stop.traceback == f"at {FIRST_MINI_BATCHES - 1}-0"


def test_one_of_the_first_that_succeeded_before_a_death_counts_as_such(tmp_path: Path) -> None:
    run = lives(tmp_path, ["fails", "succeeds", *["fails"] * FIRST_MINI_BATCHES])
    run.live(4)
    assert run.live().stop is None


def test_ranges_without_records_are_none_of_the_first(tmp_path: Path) -> None:
    run = lives(tmp_path, ["empty", *["fails"] * 5])
    run.live(4)
    books = run.live()
    assert books.stop is not None
    assert "the first 5 mini-batches have all failed" in books.stop.message


def test_a_threshold_that_was_crossed_is_crossed_again(tmp_path: Path) -> None:
    run = lives(tmp_path, ["fails", "succeeds"], 0, None, None)
    assert run.live().stop is not None
    books = run.live(0)
    assert books.stop is not None
    assert books.stop.error is errors.ThresholdExceeded
    assert books.stop.traceback == "at 0-0"
    # A wider one is not, and the run goes on
    run.limits = ALL
    assert counts(run.live())["succeeded"] == 1


def test_failures_count_over_lives(tmp_path: Path) -> None:
    run = lives(tmp_path, ["fails", "succeeds", "fails", "succeeds"], None, 1, None)
    assert run.live(3).stop is None
    books = run.live()
    assert books.stop is not None
    assert books.stop.message == "2 mini-batches failed, allowed_failed_count=1 allows 1"


def test_a_failure_that_is_forgotten_gets_all_its_tries(tmp_path: Path) -> None:
    run = lives(tmp_path, ["fails", "succeeds"], -1, None, None)
    run.live()
    # When the failures are forgotten, and what failed succeeds at its second try
    begin = run._begin

    def cleared() -> tuple[Books, Iterator[MiniBatch]]:
        Ledger.create(tmp_path / "ledger-2.jsonl", "r", epoch=2, earlier=run._earlier).clear()
        run._epoch, run._earlier = 2, replay(tmp_path / "ledger-2.jsonl").accepted
        return begin()

    run._begin = cleared  # type: ignore[method-assign]
    run.fates[0] = "fails once"
    books = run.live()
    # Then nothing has failed, and all tries are counted
    assert (books.succeeded, books.failed, books.items_failed) == (2, 0, 0)
    assert (books.tries, books.retries) == (5, 3)
    assert run.failures == {}


def test_progress_counts_all_lives_and_takes_the_pace_from_this_one(tmp_path: Path) -> None:
    run = Lives(tmp_path, ["succeeds", "fails", "empty", *["succeeds"] * 4])
    run.live(4)  # the first, both tries of the second, the third
    books = run.live(2)
    # Five are done of seven: three of them before, two now within 10 s
    progress = books.progress(10.0, 4, True, 2)
    assert (progress.mini_batches_done, progress.mini_batches_total) == (4, 7)
    assert (progress.items_done, progress.mini_batches_failed, progress.items_failed) == (4 * ITEMS, 1, ITEMS)
    assert progress.remaining == pytest.approx(10.0 / 2 * 3)


def test_after_a_takeover_nothing_is_booked(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "r")
    told: list[Event] = []
    stop = Stop(errors.TakenOver, "another has it")
    books = Books(ALL, MAX_TRY, ledger, told.append, 2, lambda: stop)
    report = TaskReport("node", "process000")
    report.whole = True
    report.succeed(0, 0, 1, 0, 0.1)
    report.fail({"key": (1, 0), "items": 1, "error": "E", "message": "", "traceback": "", "retry": True, "phase": ""})
    row = [MiniBatch(number, 0, ("/in",)) for number in range(2)]
    before = ledger.path.read_bytes()
    assert books.enter(row, report.as_dict()) == []
    ledger.close()
    assert (books.stop, books.succeeded, books.tries, told) == (stop, 0, 0, [])
    assert ledger.path.read_bytes() == before


def test_a_stream_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    # Given a stream of which two mini-batches were committed, and a third had failed once
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "r")
    stream = MiniBatch(0, 0, ("/in.csv.gz",), stop=OPEN_END, size=10)
    writer = SegmentWriter(tmp_path, "slot")
    books = Books(ALL, MAX_TRY, ledger, lambda _: None)
    report = TaskReport("node", "process000")
    for index in range(2):
        writer.append(Record(0, index, ITEMS, ITEMS, ITEMS, 0, 0, 0, 0.25), b"x", "c")
        report.succeed(0, index, ITEMS, ITEMS, 0.25)
    failure = {"error": "ValueError", "message": "", "traceback": "", "retry": True, "phase": "run"}
    report.fail({**failure, "key": (0, 2), "items": ITEMS})
    books.enter([stream], report.as_dict(writer.commit()))
    ledger.close()
    writer.close()
    # Then the next life tries the third once more, and then goes on behind it
    found = replay(ledger.path)
    settled = Settled(SegmentFolder(tmp_path), found)
    again = Books(ALL, MAX_TRY, ledger, lambda _: None)
    again.restore(settled, found.tries, found.tried)
    (rest,) = settled.remaining(iter([stream]), again.pass_over)
    assert rest == stream._replace(index=2)
    assert again.retries_of([rest._replace(start=1)]) == {(0, 2): 1}
    assert counts(again) == counts(books)
