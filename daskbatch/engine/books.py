"""The books of one run: what succeeded, what failed, what is tried again, when to stop.

Both ways of running, over Dask and serially, keep the same books, so they cannot judge differently.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from daskbatch import errors
from daskbatch.engine.failed_items import failure_entry, short_entry
from daskbatch.engine.heard import Heard
from daskbatch.engine.rows import answered, count_items, ended_streams, find
from daskbatch.engine.stop import Stop
from daskbatch.events import AttemptFailed, Event, MiniBatchFailed, Progress
from daskbatch.policy import FirstMiniBatches, Limits, is_final
from daskbatch.store.ledger import Ledger
from daskbatch.store.settled import Settled
from daskbatch.types import Chunk, MiniBatch

__all__ = ["Books"]

Key = tuple[int, int]


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
    total : int or None
        Mini-batches of the whole input, at most, where planning could count them.
    displaced : callable
        Gives the reason to stop where another engine has taken the run over: then nothing is booked any more.
    """

    def __init__(
        self,
        limits: Limits,
        run_max_try: int,
        ledger: Ledger,
        tell: Callable[[Event], None],
        total: int | None = None,
        displaced: Callable[[], Stop | None] = lambda: None,
    ) -> None:
        self._displaced = displaced
        self._limits = limits
        self._judge_first = not limits.given
        self._run_max_try = run_max_try
        self._ledger = ledger
        self._tell = tell
        self._tries: dict[Key, int] = {}
        self._first = FirstMiniBatches()
        self._heard: dict[int, Heard] = {}
        self._last_traceback: str | None = None
        self.total = total
        """Mini-batches of the whole input, None while that is not known."""
        self._settled: Settled | None = None
        self._before = (0, 0)  # mini-batches done in earlier lives; with ranges without records
        self._ended = False
        self.chunks: list[Chunk] = []
        self.begins: dict[Chunk, Key] = {}
        """The first mini-batch of each chunk of earlier lives."""
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
        self.stop: Stop | None = None

    def restore(self, settled: Settled, tries: Mapping[Key, int], tried: int) -> None:
        """Go on from what earlier lives of the run have settled.

        Parameters
        ----------
        settled : Settled
        tries : mapping
            Charged tries of those that had a failed one.
        tried : int
            Failed tries in total.
        """
        self.chunks = list(settled.chunks)
        self.begins = dict(zip(self.chunks, settled.begins, strict=True))
        self.succeeded, self.items, self.items_failed, self.run_seconds = settled.totals()
        self.failed = len(settled.failed)
        self.tries, self.retries = self.succeeded + tried, tried - self.failed
        self._before = (self.succeeded + self.failed, len(settled))
        self._tries = dict(tries)
        for entry in settled.failed.values():
            self._count_failed_items(entry["item_count"])
            self._last_traceback = entry["traceback"] or self._last_traceback
        self._settled = settled
        self._judge()

    def pass_over(self, batch: MiniBatch) -> None:
        """`batch` was settled in an earlier life of the run."""
        if self.watching_first and self._settled is not None:
            self._first.expect(batch.key)
            self._first.settle(batch.key, self._settled.outcome(batch.key))

    def expect(self, batch: MiniBatch) -> None:
        """`batch` has been taken from the plan."""
        self._first.expect(batch.key)

    @property
    def watching_first(self) -> bool:
        """Whether successes must still be told one by one."""
        return self._judge_first and not self._first.decided

    def retries_of(self, row: Iterable[MiniBatch]) -> dict[Key, int]:
        """The failed tries so far of those in `row` that had any."""
        return {batch.key: self._tries[batch.key] for batch in row if batch.key in self._tries} if self._tries else {}

    def hear(self, task: int, row: Sequence[MiniBatch], news: Mapping[str, Any]) -> None:
        """Judge by what a task has told before its end. It is booked with the report alone: a task may be lost."""
        heard = self._heard.setdefault(task, Heard())
        for failure in news["failures"]:
            batch = find(row, tuple(failure["key"]), failure.get("rest", False))
            heard.failures += 1
            if self._tell_attempt(batch, failure, news):
                items = self._items_of(batch, failure)
                heard.items_failed += 1 if items is None else items
                heard.failed += 1
        heard.items_failed += sum(items - returned for _, _, items, returned in news["short"])
        heard.done, heard.items = news["done"], news["items"]
        self._judge()

    def unhear(self, task: int) -> None:
        """Forget what a task has told: it is lost."""
        self._heard.pop(task, None)

    def enter(
        self, row: Sequence[MiniBatch], report: Mapping[str, Any], task: int | None = None, *, in_parts: bool = False
    ) -> list[MiniBatch]:
        """Book a task's report.

        Parameters
        ----------
        row : sequence of MiniBatch
        report : mapping
            See `TaskReport`.
        task : int or None
            Its number, where it may have been heard of before.
        in_parts : bool
            Streams come mini-batch by mini-batch; `end_stream` tells that one is over.

        Returns
        -------
        list of MiniBatch
            Those to be tried again.
        """
        heard = self._heard.pop(task, None) if task is not None else None
        told = 0 if heard is None else heard.failures
        taken = self._displaced()
        if taken is not None:
            self.stop = taken
            return []
        for short in report["short"]:
            self._enter_short(row, short, report)
        again = []
        for number, failure in enumerate(report["failures"]):
            batch = self._enter_failure(row, failure, report, told=number < told)
            if batch is not None:
                again.append(batch)
        # After the failures: a chunk's line makes those before it durable too.
        chunks = [] if report["chunk"] is None else [Chunk(*report["chunk"])]
        ended = [] if in_parts else ended_streams(row, report)
        streams = [batch.file for batch in ended]
        if chunks or streams:
            self._ledger.commit(*chunks, streams=streams)
        self.chunks += chunks
        self.succeeded += report["mini_batches"]
        self.tries += report["mini_batches"]
        self.items += report["items"] - report["missing"]
        self.run_seconds += report["run_seconds"]
        if self.watching_first:
            self._settle_first(row, report)
            self._settle_ends(ended)
        self._judge()
        return again

    def gather(self, parts: Iterable[Chunk], whole: Chunk) -> None:
        """From now on `whole`, which holds what `parts` do, counts in their place."""
        gone = set(parts)
        self._ledger.gathered(whole, gone)
        self.chunks = [chunk for chunk in self.chunks if chunk not in gone] + [whole]

    def end_stream(self, stream: MiniBatch) -> None:
        """A stream is over, and all of it has been entered."""
        self._ledger.commit(streams=[stream.file])
        self._settle_ends([stream])

    def _settle_ends(self, streams: Iterable[MiniBatch]) -> None:
        """Where a stream was gone on with that had nothing left, nobody need wait for its first mini-batch."""
        for stream in streams:
            if self.watching_first and stream.key not in self._first.outcome:
                self._first.settle(stream.key, None)

    def _enter_short(self, row: Sequence[MiniBatch], short: Sequence[Any], report: Mapping[str, Any]) -> None:
        file, index, items, returned = short[:4]
        batch = find(row, (file, index))
        self.items_failed += items - returned
        entry = short_entry(batch, items, returned, self._tries.get(batch.key, 0) + 1, report)
        self._ledger.failed(batch.key, entry["error"], entry)
        self._tell(MiniBatchFailed(time.time(), entry))

    def _enter_failure(
        self, row: Sequence[MiniBatch], failure: Mapping[str, Any], report: Mapping[str, Any], told: bool
    ) -> MiniBatch | None:
        """Book a failed try; return the mini-batch if it is to be tried again."""
        batch = find(row, tuple(failure["key"]), failure.get("rest", False))
        final = self._is_final(batch, failure) if told else self._tell_attempt(batch, failure, report)
        tries = self._tries[batch.key] = self._tries.get(batch.key, 0) + 1
        self.tries += 1
        self._ledger.attempt_failed(batch.key, tries, failure["error"])
        if not final:
            self.retries += 1
            return batch
        items = self._items_of(batch, failure)
        self.failed += 1
        self._count_failed_items(items)
        entry = failure_entry(batch, items, failure, tries, report)
        self._ledger.failed(batch.key, failure["error"], entry)
        self._tell(MiniBatchFailed(time.time(), entry))
        return None

    def _count_failed_items(self, items: int | None) -> None:
        self.items_failed += 1 if items is None else items
        self.items_failed_at_least |= items is None

    def _tell_attempt(self, batch: MiniBatch, failure: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
        """Tell of a failed try; return whether it was the last."""
        final = self._is_final(batch, failure)
        if final:
            self._last_traceback = failure["traceback"] or self._last_traceback
            self._first.settle(batch.key, False)
        if failure["error"] == errors.MultiLineText.__name__:
            self.stop = self.stop or Stop(errors.MultiLineText, failure["message"])
        self._tell(
            AttemptFailed(
                time.time(),
                batch.name,
                self._tries.get(batch.key, 0) + 1,
                failure["error"],
                failure["message"],
                failure["traceback"],
                where["node"],
                where["process"],
                final,
            )
        )
        return final

    def _is_final(self, batch: MiniBatch, failure: Mapping[str, Any]) -> bool:
        return is_final(self._tries.get(batch.key, 0) + 1, self._run_max_try, failure["retry"])

    @staticmethod
    def _items_of(batch: MiniBatch, failure: Mapping[str, Any]) -> int | None:
        known: int | None = failure["items"]
        return count_items(batch) if known is None else known

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
        items_failed = self.items_failed + sum(heard.items_failed for heard in self._heard.values())
        failed = self.failed + sum(heard.failed for heard in self._heard.values())
        crossed = self._limits.exceeded(items_failed, failed, self.total)
        if crossed is not None:
            self.stop = Stop(errors.ThresholdExceeded, crossed, self._last_traceback)
        elif self._judge_first and self.failed and self._first.all_failed(self._ended):
            count = "mini-batch has" if failed == 1 else f"{failed} mini-batches have"
            self.stop = Stop(
                errors.ThresholdExceeded,
                f"the first {count} all failed after every try, so the script or its input is "
                "taken to be wrong; error_threshold=-1 goes on all the same",
                self._last_traceback,
            )

    def progress(self, elapsed: float, total: int, exact: bool, slots: int) -> Progress:
        """How far the run is.

        Parameters
        ----------
        elapsed : float
            Seconds since the work began.
        total : int
            Mini-batches expected in this life; those done are the least.
        exact : bool
        slots : int
            Slots at work.
        """
        done = self.succeeded + self.failed + sum(heard.done for heard in self._heard.values())
        done_before, settled_before = self._before
        total = max(total + settled_before, done)
        done_now = done - done_before
        remaining = elapsed / done_now * (total - done) if done_now else None
        items = self.items + self.items_failed + sum(heard.items for heard in self._heard.values())
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
        if self.stop is None:  # else there is work left, and what planning counted stands
            self._ended, self.total = True, self.succeeded + self.failed
            self._judge()
        elif self.stop.error is errors.ThresholdExceeded and self.stop.traceback is None:
            # Items that did not come back were judged by before an earlier failure was heard of.
            self.stop = replace(self.stop, traceback=self._last_traceback)
        return self.stop
