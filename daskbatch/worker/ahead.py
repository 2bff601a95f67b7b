"""Copies of a row's mini-batches, made ahead of need: the next ones while the present ones run.

When a row is fetched to its end, the first ones of a row that waits are fetched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import chain

from daskbatch.remote.copies import Copy
from daskbatch.remote.fetch import AT_ONCE
from daskbatch.remote.requests import Calls
from daskbatch.types import MiniBatch
from daskbatch.worker.upcoming import Row, Upcoming

__all__ = ["AHEAD_BYTES", "Ahead"]

AHEAD_BYTES = 256 * 2**20
"""Bytes of copies of one slot that are there or asked for, beside those of the present mini-batches."""

_LOT_OBJECTS, _LOT_BYTES = 8, 8 * 2**20
"""Small mini-batches of whole objects are asked for together, up to these bounds."""

_UNDER_WAY = AT_ONCE + _LOT_OBJECTS
"""Objects after which no more is asked for: 16 are on their way when one lot has come."""

Lot = list[tuple[MiniBatch, MiniBatch | Exception]]
"""Mini-batches with those of their copies, or with the errors that are their own."""


class Ahead:
    """Makes copies of mini-batches for one slot.

    Parameters
    ----------
    upcoming : Upcoming
        Rows that wait for this slot or another one of the worker, and what makes copies for all of them.
    """

    def __init__(self, upcoming: Upcoming) -> None:
        self._copies = upcoming.copies
        self._upcoming = upcoming
        self._calls = Calls()
        self._over = False
        self._pool = ThreadPoolExecutor(AT_ONCE, "daskbatch-fetch", self._calls.adopt)
        self._present: Row | None = None
        self.next: Row | None = None
        """A row that waits, and that is fetched here."""
        upcoming.serve(self)

    def row(self, task: int, batches: Iterator[MiniBatch]) -> Generator[Lot, None, None]:
        """The mini-batches of a task's row, some at a time. It ends early after `stop`.

        Copies live until the next are asked for.

        Raises
        ------
        StorageError
            The store does not answer, or refuses.
        OSError
            The disk is full, for one.
        """
        self._present = row = self._upcoming.take(task) or Row(self._lots(batches))
        present: Copy | None = None
        try:
            while True:
                self._ask()
                if not row.asked:
                    return
                with self._upcoming.lock:
                    lot, future = row.asked.popleft()
                before, present = present, self._made(future)
                if before is not None:
                    self._drop(before)
                if present is None:
                    return
                self._ask()  # so that it comes while these run
                yield list(zip(lot, present.batches, strict=True))
        finally:
            self._present = None
            if present is not None:
                self._copies.drop(present)
            self._upcoming.drop(row)

    def _drop(self, copy: Copy) -> None:
        """Remove copies in another thread: after each file a thread waits for its turn, beside those that fetch."""
        try:
            self._pool.submit(self._copies.drop, copy)
        except RuntimeError:  # the pool is closed
            self._copies.drop(copy)

    def _lots(self, batches: Iterator[MiniBatch]) -> Iterator[list[MiniBatch]]:
        """Mini-batches that are asked for together."""
        lot: list[MiniBatch] = []
        objects = size = 0
        for batch in batches:
            weight = self._copies.weight(batch)
            if lot and (objects + len(batch.paths) > _LOT_OBJECTS or size + weight > _LOT_BYTES):
                yield lot
                lot, objects, size = [], 0, 0
            if not self._copies.is_whole(batch):
                yield [batch]
                continue
            lot.append(batch)
            objects += len(batch.paths)
            size += weight
        if lot:
            yield lot

    def _ask(self) -> None:
        """Ask for as many as may be under way: of the present row one at least, and then of a row that waits."""
        with self._upcoming.lock:
            present = self._present
            while present is not None and not present.ended:
                if present.asked and not self._has_room():
                    return
                self._submit(present)
            if self.next is None and not self._over:
                self.next = self._upcoming.claim(self, self._lots)
            while self.next is not None and not self.next.ended and self._has_room():
                self._submit(self.next)

    def _submit(self, row: Row) -> None:
        """Ask for the next lot of a row."""
        lot = None if self._over else next(row.lots, None)
        if lot is not None:
            with contextlib.suppress(RuntimeError):  # the pool is closed
                row.asked.append((lot, self._pool.submit(self._copies.make, *lot)))
                return
        row.ended = True

    def _has_room(self) -> bool:
        """Whether more may be asked for."""
        under_way = there = 0
        for lot, future in chain.from_iterable(row.asked for row in (self._present, self.next) if row is not None):
            if future.done():
                there += _fetched(future)
            else:
                under_way += sum(len(batch.paths) for batch in lot)
                there += sum(self._copies.weight(batch) for batch in lot)
        return under_way < _UNDER_WAY and there < AHEAD_BYTES

    def _made(self, future: Future[Copy]) -> Copy | None:
        """The copies, when they are there; None after `stop`."""
        try:
            return future.result()
        except CancelledError:
            return None

    def wants(self) -> bool:
        """Whether it would fetch a row that waits: it has none, and no more to ask for of its own."""
        return not self._over and self.next is None and (self._present is None or self._present.ended)

    def look(self) -> None:
        """Look for a row that waits, in another thread."""
        with contextlib.suppress(RuntimeError):  # the pool is closed
            self._pool.submit(self._ask)

    def stop(self) -> None:
        """Fetch nothing more, and let nobody wait for what is under way. Any thread."""
        self._over = True
        self._calls.end()

    def close(self) -> None:
        """End the threads. Copies are left to `Upcoming.close`."""
        self.stop()
        self._pool.shutdown(cancel_futures=True)


def _fetched(future: Future[Copy]) -> int:
    return 0 if future.cancelled() or future.exception() else future.result().bytes
