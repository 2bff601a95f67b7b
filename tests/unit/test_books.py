"""What a report changes in the books, and what of its row is still to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daskbatch import errors
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.books import Books
from daskbatch.engine.rows import rest_of
from daskbatch.events import AttemptFailed, Event, MiniBatchFailed
from daskbatch.policy import Limits
from daskbatch.store.ledger import Ledger
from daskbatch.types import OPEN_END, MiniBatch
from daskbatch.worker.task_report import TaskReport

ROW = [MiniBatch(number, 0, (f"/in/{number}",)) for number in range(4)]
STREAM = MiniBatch(7, 0, ("/in/t.csv.gz",), stop=OPEN_END, size=10)
FAILURE = {"phase": "run", "error": "ValueError", "message": "bad", "traceback": "here", "retry": True}


class Told(list[Event]):
    """A listener that remembers."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def books(tmp_path: Path, told: Told) -> Books:
    return make(tmp_path, told, Limits(-1, None, None))


def make(folder: Path, told: Told, limits: Limits) -> Books:
    return Books(limits, 2, Ledger.create(folder / "ledger-1.jsonl", "r"), told)


def report(last: tuple[int, int] | None, whole: bool = False, **values: Any) -> dict[str, Any]:
    made = TaskReport("node", "process000")
    made.last, made.whole = last, whole
    return made.as_dict() | values


def test_what_was_not_answered_is_left() -> None:
    assert rest_of(ROW, report((1, 0))) == ROW[2:]
    assert rest_of(ROW, report(None)) == ROW
    assert rest_of(ROW, report((3, 0))) == []
    assert rest_of(ROW, report((3, 0), whole=True)) == []


def test_a_stream_goes_on_after_its_last_mini_batch() -> None:
    assert rest_of([STREAM, *ROW], report((7, 4))) == [STREAM._replace(index=5), *ROW]
    assert rest_of([*ROW, STREAM], report((3, 0))) == [STREAM]
    assert rest_of([STREAM], report((7, 4), whole=True)) == []


def test_a_single_mini_batch_of_a_stream_leaves_nothing() -> None:
    assert rest_of([STREAM._replace(index=4, start=1), *ROW], report((7, 4))) == ROW


def test_a_failed_try_is_told_and_comes_back_until_the_last(books: Books, told: Told) -> None:
    failed = report((1, 0), failures=[{**FAILURE, "key": (1, 0), "items": 1}], mini_batches=1, items=1)
    # When it fails once
    assert books.enter(ROW, failed) == [ROW[1]]
    assert books.retries_of(ROW) == {(1, 0): 1}
    assert (books.succeeded, books.failed, books.tries, books.retries) == (1, 0, 2, 1)
    # and once more, which is the last of two tries
    assert books.enter([ROW[1]], failed | {"mini_batches": 0, "items": 0}) == []
    assert (books.succeeded, books.failed, books.tries) == (1, 1, 3)
    # Then both tries were told, and the mini-batch is listed once
    assert [event.final for event in told.of(AttemptFailed)] == [False, True]
    (entry,) = [event.entry for event in told.of(MiniBatchFailed)]
    assert entry["mini_batch"] == "1-0"
    assert entry["paths"] == ["/in/1"]
    assert (entry["error"], entry["tries"], entry["worker"]) == ("ValueError", 2, "node/process000")


def test_a_contract_error_is_final_at_once(books: Books) -> None:
    failure = {**FAILURE, "key": (0, 0), "items": 1, "retry": False}
    assert books.enter(ROW, report((0, 0), failures=[failure])) == []
    assert books.failed == 1


def test_a_failed_mini_batch_of_a_stream_is_tried_alone(books: Books) -> None:
    failure = {**FAILURE, "key": (7, 3), "items": None}
    assert books.enter([STREAM], report((7, 5), failures=[failure])) == [STREAM._replace(index=3, start=1)]


def test_items_that_were_never_read_count_as_at_least_one(books: Books, told: Told) -> None:
    failure = {**FAILURE, "key": (7, 0), "items": None, "retry": False}
    books.enter([STREAM], report((7, 0), failures=[failure]))
    assert (books.items_failed, books.items_failed_at_least) == (1, True)
    assert told.of(MiniBatchFailed)[0].entry["item_count"] is None


def test_a_short_return_is_listed_but_not_tried_again(books: Books, told: Told) -> None:
    short = report((0, 0), mini_batches=1, items=1, missing=1, short=[(0, 0, 1, 0)])
    assert books.enter(ROW, short) == []
    assert (books.succeeded, books.failed, books.items, books.items_failed) == (1, 0, 0, 1)
    assert told.of(MiniBatchFailed)[0].entry["missing"] == 1


def test_a_crossed_threshold_stops_with_the_users_traceback(tmp_path: Path, told: Told) -> None:
    books = make(tmp_path, told, Limits(0, None, None))
    books.enter(ROW, report((0, 0), failures=[{**FAILURE, "key": (0, 0), "items": 1, "retry": False}]))
    assert books.stop is not None
    assert books.stop.error is errors.ThresholdExceeded
    assert books.stop.traceback == "here"


def test_a_stop_before_a_failure_is_heard_of_tells_its_traceback_all_the_same(tmp_path: Path, told: Told) -> None:
    books = make(tmp_path, told, Limits(0, None, None))
    # Given a later mini-batch of which an item did not come back
    books.enter(ROW[2:], report((2, 0), short=[(2, 0, 2, 1)], mini_batches=1, items=2, missing=1))
    assert books.stop is not None
    assert books.stop.traceback is None
    # When the report of an earlier one comes after it
    contract = {**FAILURE, "retry": False, "traceback": "Traceback", "key": (0, 0), "items": 1}
    books.enter(ROW[:1], report((0, 0), failures=[contract]))
    # Then the run tells the user's own traceback
    stop = books.close()
    assert stop is not None
    assert (stop.error, stop.traceback) == (errors.ThresholdExceeded, "Traceback")


def test_text_with_hidden_newlines_stops_the_run(books: Books) -> None:
    failure = {**FAILURE, "error": "MultiLineText", "key": (0, 0), "items": None, "retry": False}
    books.enter(ROW, report((0, 0), failures=[failure]))
    assert books.stop is not None
    assert books.stop.error is errors.MultiLineText


def test_a_backlog_gives_back_first_what_came_back_first(books: Books) -> None:
    backlog = Backlog(iter(ROW), len(ROW), True, 2.0, books)
    first = backlog.next_row(1)
    assert first == ROW[:2]
    backlog.give_back(first[1:], again=first[:1])
    assert backlog.next_row(1) + backlog.next_row(1) + backlog.next_row(1) == [ROW[1], ROW[0], *ROW[2:]]
    assert backlog.next_row(1) == []


def test_streams_do_not_share_a_row_with_others(books: Books) -> None:
    small = [STREAM._replace(file=number) for number in range(3)]
    backlog = Backlog(iter([*ROW, *small, *ROW]), 11, False, 2.0, books)
    rows = []
    while row := backlog.next_row(1):
        rows.append(row)
    assert [batch for row in rows for batch in row] == [*ROW, *small, *ROW]
    assert all(len({batch.stop for batch in row}) == 1 for row in rows)
    assert small in rows  # small files share a task


def test_a_row_has_not_many_more_files_than_fit_a_message(books: Books) -> None:
    large = [MiniBatch(number, 0, ("/in",) * 30_000) for number in range(0, 10 * 30_000, 30_000)]
    backlog = Backlog(iter(large), len(large), True, 2.0, books)
    assert [len(backlog.next_row(1)) for _ in range(4)] == [3, 3, 2, 1]


def test_the_more_slots_the_longer_their_rows(books: Books) -> None:
    many = [MiniBatch(number, 0, ("/in",)) for number in range(100_000)]
    backlog = Backlog(iter(many), len(many), True, 2.0, books)
    backlog.learn(many[:10], 10, 1.0)
    assert [len(backlog.next_row(slots)) for slots in (2, 300, 600, 900, 3000)] == [20, 20, 20, 30, 12]
    # The last: a hundred seconds' work would be a hundred mini-batches, but there are hardly more than ten a slot.


def test_it_is_known_how_far_the_plan_is_settled(books: Books) -> None:
    many = [MiniBatch(number // 2, number % 2, ("/in",)) for number in range(100)]
    backlog = Backlog(iter(many), len(many), True, 2.0, books)
    assert backlog.settled_before([]) == (0, 0)
    rows = [backlog.next_row(10), backlog.next_row(10), backlog.next_row(10)]
    assert [row[0].key for row in rows] == [(0, 0), (2, 0), (4, 0)]
    next_one = many[sum(map(len, rows))]
    # What is under way, or came back, is not settled, and nothing behind it is
    assert backlog.settled_before(rows) == (0, 0)
    assert backlog.settled_before(rows[1:]) == (2, 0)
    backlog.give_back([rows[1][1]], [rows[0][2]])
    assert backlog.settled_before(rows[2:]) == (1, 0)
    # A row may begin with what came back later than it stands
    mixed = backlog.next_row(10)
    assert mixed[:3] == [rows[1][1], rows[0][2], next_one]
    assert backlog.settled_before([mixed]) == (1, 0)
    assert backlog.settled_before([]) == (mixed[-1].file, mixed[-1].index + 1)


def test_a_mini_batch_that_was_there_at_two_losses_runs_alone_then_spends_a_try(books: Books) -> None:
    backlog = Backlog(iter(ROW), len(ROW), True, 2.0, books)
    row = [*backlog.next_row(1), *backlog.next_row(1), *backlog.next_row(1)]
    assert backlog.lose(row) is None
    assert backlog.lose([*backlog.next_row(1), *backlog.next_row(1), *backlog.next_row(1)]) is None
    alone = backlog.next_row(1)
    assert alone == [ROW[0]]
    assert backlog.lose(alone) == ROW[0]
    assert backlog.next_row(1) == [ROW[1]]
