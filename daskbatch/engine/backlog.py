"""What is still to be sent: the rest of the plan, and what came back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from daskbatch.engine.books import Books
from daskbatch.policy import crowd_seconds, row_length
from daskbatch.types import OPEN_END, MiniBatch

__all__ = ["Backlog", "Growing"]

_LOSSES_TO_BE_ALONE = 2  # unexplained losses of a worker with the mini-batch under way
_STREAMS_TOGETHER = 1 << 20  # bytes of small gzip files that share a task
_PATHS_TOGETHER = 1 << 16  # files of a task, unless one mini-batch has more: some MB of a message


class Growing(Protocol):
    """A plan that is still being made."""

    @property
    def mini_batches(self) -> int:
        """How many are known."""

    @property
    def whole(self) -> bool:
        """Whether these are all."""


class Backlog:
    """Cuts rows for tasks off the plan; what came back goes first.

    Parameters
    ----------
    batches : iterator of MiniBatch or None
        The plan, read as it is needed. None: more will come, and is not known yet.
    estimate : int
        Mini-batches to expect.
    exact : bool
        `estimate` is the count.
    budget : float
        Seconds that a task should take.
    books : Books
    growing : Growing or None
        What tells how many mini-batches are known, in place of `estimate` and `exact`, while that changes.
    """

    def __init__(
        self,
        batches: Iterator[MiniBatch] | Iterator[MiniBatch | None],
        estimate: int,
        exact: bool,
        budget: float,
        books: Books,
        growing: Growing | None = None,
    ) -> None:
        self._batches = batches
        self._growing = growing
        self._budget = budget
        self._books = books
        self._returned: deque[MiniBatch] = deque()
        self._losses: dict[tuple[int, int], int] = {}
        self._needs: dict[tuple[int, int], float] = {}
        self._taken = 0
        self._seconds_each: float | None = None
        self._latest: MiniBatch | None = None  # of those taken off the plan
        self._estimate = estimate
        self._exact = exact
        self.more_to_come = False
        """When last asked, the plan had nothing more that is known, and was not at its end."""

    @property
    def estimate(self) -> int:
        """Mini-batches to expect, those already taken included."""
        return self._estimate if self._growing is None else self._growing.mini_batches

    @property
    def exact(self) -> bool:
        """Whether that is the count. Where `at_least`, it is a part of it."""
        return self._exact if self._growing is None else self._growing.whole

    @property
    def at_least(self) -> bool:
        """Whether more mini-batches may be found."""
        return self._growing is not None and not self._growing.whole

    @property
    def returned(self) -> int:
        """How many came back and wait."""
        return len(self._returned)

    def next_row(self, slots: int, avoided: Callable[[MiniBatch], bool] | None = None) -> list[MiniBatch]:
        """Take a row that suits `slots` slots, of what is not `avoided`; empty when nothing is left.

        A row holds streams or no streams: a stream is one task, however long it is, as going on with it elsewhere
        would mean reading it from the start again. Small ones share a task.
        """
        left = max(0, self.estimate - self._taken) + len(self._returned)
        length = row_length(max(self._budget, crowd_seconds(slots)), self._seconds_each, left, slots)
        row: list[MiniBatch] = []
        passed: list[MiniBatch] = []
        streamed = files = 0
        while (0 < streamed < _STREAMS_TOGETHER) if streamed else len(row) < length:
            batch = self._next()
            if batch is None:
                break
            if avoided is not None and avoided(batch):
                passed.append(batch)
                continue
            alone = self._losses.get(batch.key, 0) >= _LOSSES_TO_BE_ALONE
            if row and (alone or (batch.stop == OPEN_END) != (streamed > 0)):
                self._returned.appendleft(batch)
                break
            row.append(batch)
            files += len(batch.paths)
            if alone or files >= _PATHS_TOGETHER:
                break
            if batch.stop == OPEN_END:
                streamed += max(batch.size, 1) if batch.paths else _STREAMS_TOGETHER
        self._returned.extendleft(reversed(passed))
        return row

    def _next(self) -> MiniBatch | None:
        if self._returned:
            return self._returned.popleft()
        try:
            batch = next(self._batches)
        except StopIteration:
            batch, self.more_to_come = None, False
        else:
            self.more_to_come = batch is None
        if batch is None:
            return None
        self._taken += 1
        self._latest = batch
        if self._books.watching_first:
            self._books.expect(batch)
        return batch

    def settled_before(self, under_way: Iterable[Sequence[MiniBatch]]) -> tuple[int, int]:
        """The key of a mini-batch before which all are settled, in the input's order.

        Parameters
        ----------
        under_way : iterable of rows
            All that were taken and are neither settled nor given back.
        """
        left = [batch.key for row in (*under_way, self._returned) for batch in row]
        if left:
            return min(left)
        return (0, 0) if self._latest is None else (self._latest.file, self._latest.index + 1)

    def give_back(self, rest: Sequence[MiniBatch], again: Sequence[MiniBatch] = ()) -> None:
        """Take `rest`, which was not begun, to the front; what is to be tried again comes after it."""
        self._returned.extendleft(reversed(rest))
        self._returned.extend(again)

    def blame(self, row: Sequence[MiniBatch]) -> None:
        """A worker was lost with `row` under way, and that may be the reason."""
        for batch in row:
            self._losses[batch.key] = self._losses.get(batch.key, 0) + 1

    def take_back(self, row: Sequence[MiniBatch]) -> MiniBatch | None:
        """A worker was lost; the queue will say why, and `blame` be called then. Returns as `lose` does."""
        if len(row) == 1 and self._losses.get(row[0].key, 0) > _LOSSES_TO_BE_ALONE:
            return row[0]
        self.give_back(row)
        return None

    def lose(self, row: Sequence[MiniBatch]) -> MiniBatch | None:
        """A worker was lost, nobody knows why, with `row` under way.

        Returns
        -------
        MiniBatch or None
            The one that was alone and for the third time under way: it has spent a try, and is not taken back.
        """
        self.blame(row)
        return self.take_back(row)

    def note_cut(self, key: tuple[int, int], seconds: float) -> None:
        """The end of a job has cut a mini-batch: it needs a place that has so much time left."""
        self._needs[key] = seconds

    def needs(self, batch: MiniBatch) -> float:
        """Seconds that a place must have left for a mini-batch, as far as is known."""
        return self._needs.get(batch.key, 0.0) if self._needs else 0.0

    def learn(self, row: Sequence[MiniBatch], done: int, seconds: float) -> None:
        """A task answered `done` mini-batches of `row` in `seconds`."""
        if done:
            each = seconds / done
            self._seconds_each = each if self._seconds_each is None else (self._seconds_each + each) / 2
        if row[0].stop == OPEN_END and not self.exact:
            self._estimate += max(0, done - len(row))  # a stream's descriptor had been counted as one
