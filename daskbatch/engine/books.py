"""The books of one run: what succeeded, what failed, what is tried again, when to stop.

Both ways of running, over Dask and serially, keep the same books, so they cannot judge differently.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daskbatch import errors
from daskbatch.events import AttemptFailed, Event, MiniBatchFailed, Progress
from daskbatch.policy import FirstMiniBatches, Limits, is_final
from daskbatch.store.ledger import Ledger
from daskbatch.types import OPEN_END, Chunk, MiniBatch

__all__ = ["Books", "Stop", "rest_of"]

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run must end before its work is done."""

    error: type[errors.DaskbatchError]
    """What is raised at the end."""
    message: str
    traceback: str | None = None
    """The user's own, where there is one."""


class Books:
    """Counts, attempts and commitments of one run.

    Parameters
    ----------
    limits : Limits
    run_max_try : int
        Tries of one mini-batch in total.
    ledger : Ledger
    tell : callable
        Takes events.
    """

    def __init__(self, limits: Limits, run_max_try: int, ledger: Ledger, tell: Callable[[Event], None]) -> None:
        self._limits = limits
        self._run_max_try = run_max_try
        self._ledger = ledger
        self._tell = tell
        self._tries: dict[Key, int] = {}
        self._first = FirstMiniBatches()
        self._last_traceback: str | None = None
        self.chunks: list[Chunk] = []
        self.succeeded = 0
        self.failed = 0
        self.items = 0
        """Items that came back."""
        self.items_failed = 0
        self.items_failed_at_least = False
        """A mini-batch failed before its items were counted: it counts as one."""
        self.tries = 0
        self.retries = 0
        self.run_seconds = 0.0
        self.exhausted = False
        """The plan has no further mini-batch."""
        self.stop: Stop | None = None

    def expect(self, batch: MiniBatch) -> None:
        """`batch` has been taken from the plan."""
        self._first.expect(batch.key)

    @property
    def watching_first(self) -> bool:
        """Whether successes must still be told one by one."""
        return not (self._limits.given or self._first.decided)

    def retries_of(self, row: Iterable[MiniBatch]) -> dict[Key, int]:
        """The failed tries so far of those in `row` that had any."""
        return {batch.key: self._tries[batch.key] for batch in row if batch.key in self._tries} if self._tries else {}

    def enter(self, row: Sequence[MiniBatch], report: Mapping[str, Any]) -> list[MiniBatch]:
        """Book a task's report.

        Returns
        -------
        list of MiniBatch
            Those to be tried again.
        """
        self.succeeded += report["mini_batches"]
        self.tries += report["mini_batches"]
        self.items += report["items"] - report["missing"]
        self.run_seconds += report["run_seconds"]
        for short in report["short"]:
            self._enter_short(row, short, report)
        again = [batch for failure in report["failures"] if (batch := self._enter_failure(row, failure, report))]
        if report["chunk"] is not None:
            # After the failures: a chunk's line makes those before it durable too.
            chunk = Chunk(*report["chunk"])
            self._ledger.commit(chunk)
            self.chunks.append(chunk)
        if self.watching_first:
            self._settle_first(row, report)
        self._judge()
        return again

    def _enter_short(self, row: Sequence[MiniBatch], short: Sequence[Any], report: Mapping[str, Any]) -> None:
        file, index, items, returned = short[:4]
        batch = find(row, (file, index))
        self.items_failed += items - returned
        entry = {
            **describe(batch),
            "item_count": items,
            "missing": items - returned,
            "error": "MissingItems",
            "message": f"run() returned {returned} results for {items} items",
            "traceback": "",
            "tries": self._tries.get(batch.key, 0) + 1,
            "worker": f"{report['node']}/{report['process']}",
        }
        self._ledger.failed(batch.key, entry["error"], entry)
        self._tell(MiniBatchFailed(time.time(), entry))

    def _enter_failure(
        self, row: Sequence[MiniBatch], failure: Mapping[str, Any], report: Mapping[str, Any]
    ) -> MiniBatch | None:
        batch = find(row, tuple(failure["key"]))
        tries = self._tries[batch.key] = self._tries.get(batch.key, 0) + 1
        self.tries += 1
        final = is_final(tries, self._run_max_try, failure["retry"])
        self._ledger.attempt_failed(batch.key, tries, failure["error"])
        self._tell(
            AttemptFailed(
                time.time(),
                batch.name,
                tries,
                failure["error"],
                failure["message"],
                failure["traceback"],
                report["node"],
                report["process"],
                final,
            )
        )
        if failure["error"] == errors.MultiLineText.__name__:
            self.stop = self.stop or Stop(errors.MultiLineText, failure["message"])
        if not final:
            self.retries += 1
            return batch
        self._enter_final(batch, failure, tries, report)
        return None

    def _enter_final(self, batch: MiniBatch, failure: Mapping[str, Any], tries: int, report: Mapping[str, Any]) -> None:
        items = failure["items"] if failure["items"] is not None else count_items(batch)
        self.failed += 1
        self.items_failed += 1 if items is None else items
        self.items_failed_at_least |= items is None
        self._last_traceback = failure["traceback"] or self._last_traceback
        entry = {
            **describe(batch),
            "item_count": items,
            "error": failure["error"],
            "message": failure["message"],
            "traceback": failure["traceback"],
            "tries": tries,
            "worker": f"{report['node']}/{report['process']}",
        }
        self._ledger.failed(batch.key, entry["error"], entry)
        self._first.settle(batch.key, False)
        self._tell(MiniBatchFailed(time.time(), entry))

    def _settle_first(self, row: Sequence[MiniBatch], report: Mapping[str, Any]) -> None:
        empty = {tuple(key) for key in report["empty"]}
        failed = {tuple(failure["key"]) for failure in report["failures"]}
        for key in answered(row, report):
            if key in empty:
                self._first.settle(key, None)
            elif key not in failed:
                self._first.settle(key, True)

    def _judge(self) -> None:
        """Stop the run where the failures so far say so."""
        if self.stop is not None:
            return
        total = self.succeeded + self.failed if self.exhausted else None
        crossed = self._limits.exceeded(self.items_failed, self.failed, total)
        if crossed is not None:
            self.stop = Stop(errors.ThresholdExceeded, crossed, self._last_traceback)
        elif not self._limits.given and self.failed and self._first.all_failed(self.exhausted):
            self.stop = Stop(
                errors.ThresholdExceeded,
                f"the first {self.failed} mini-batches have all failed after every try, so the script or its input is "
                "taken to be wrong; error_threshold=-1 goes on all the same",
                self._last_traceback,
            )

    def progress(
        self, elapsed: float, total: int, exact: bool, slots: int, going: Sequence[tuple[int, int]] = ()
    ) -> Progress:
        """How far the run is.

        Parameters
        ----------
        elapsed : float
            Seconds since the work began.
        total : int
            Mini-batches expected; those done are the least.
        exact : bool
        slots : int
            Slots at work.
        going : sequence of (int, int)
            Mini-batches and items that tasks under way have done, not yet booked.
        """
        done = self.succeeded + self.failed + sum(mini_batches for mini_batches, _ in going)
        total = max(total, done)
        remaining = elapsed / done * (total - done) if done else None
        items = self.items + self.items_failed + sum(items for _, items in going)
        return Progress(
            time.time(),
            elapsed,
            total,
            exact,
            done,
            self.failed,
            items,
            self.items_failed,
            self.retries,
            slots,
            remaining,
        )

    def close(self) -> Stop | None:
        """All work is done: judge once more, now that the totals are known.

        Returns
        -------
        Stop or None
            Why the run has failed.
        """
        self.exhausted = True
        self._judge()
        return self.stop


def find(row: Sequence[MiniBatch], key: Key) -> MiniBatch:
    """The mini-batch of `key`; one of a stream is made from the stream's descriptor."""
    for batch in row:
        if batch.key == key:
            return batch._replace(start=1) if batch.stop == OPEN_END else batch
        if batch.stop == OPEN_END and batch.file == key[0]:
            return batch._replace(index=key[1], start=1)
    raise LookupError(f"mini-batch {key} is not in the row")


def answered(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> Iterable[Key]:
    """The keys of `row` that a report speaks of."""
    if report["last"] is None:
        return
    last = tuple(report["last"])
    for batch in row:
        if batch.stop == OPEN_END:
            end = last[1] if batch.file == last[0] else batch.index - 1
            for index in range(batch.index, end + 1):
                yield (batch.file, index)
        else:
            yield batch.key
        if batch.file == last[0] and (batch.stop == OPEN_END or batch.index == last[1]):
            return


def rest_of(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> list[MiniBatch]:
    """What of `row` a report leaves undone."""
    if report["whole"]:
        return []
    if report["last"] is None:
        return list(row)
    file, index = report["last"]
    for position, batch in enumerate(row):
        if batch.file != file:
            continue
        if batch.stop == OPEN_END:
            rest = list(row[position + 1 :])
            return rest if batch.start else [batch._replace(index=index + 1), *rest]
        if batch.index == index:
            return list(row[position + 1 :])
    raise LookupError(f"mini-batch {(file, index)} is not in the row")


def count_items(batch: MiniBatch) -> int | None:
    """Items of a mini-batch as far as its descriptor tells."""
    if batch.stop == 0:
        return len(batch.paths)
    return None


def describe(batch: MiniBatch) -> dict[str, Any]:
    """Identity of a mini-batch for people: its key, its files, its range."""
    identity: dict[str, Any] = {"mini_batch": batch.name, "paths": list(batch.paths)}
    if batch.stop > 0:
        identity["range"] = [batch.start, batch.stop]
        if batch.unit:
            identity["row_group"] = batch.unit
    return identity
