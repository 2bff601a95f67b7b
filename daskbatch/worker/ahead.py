"""Copies of a row's mini-batches, made ahead of need: the next ones while the present ones run."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from daskbatch.remote.copies import Copies, Copy
from daskbatch.remote.fetch import AT_ONCE
from daskbatch.remote.requests import Calls
from daskbatch.types import MiniBatch

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
    copies : Copies
    """

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._calls = Calls()
        self._over = False
        self._pool = ThreadPoolExecutor(AT_ONCE, "daskbatch-fetch", self._calls.adopt)

    def row(self, batches: Iterator[MiniBatch]) -> Generator[Lot, None, None]:
        """The mini-batches of a row, some at a time. It ends early after `stop`.

        Copies live until the next are asked for.

        Raises
        ------
        StorageError
            The store does not answer, or refuses.
        OSError
            The disk is full, for one.
        """
        asked: deque[tuple[list[MiniBatch], Future[Copy]]] = deque()
        lots = self._lots(batches)
        present: Copy | None = None
        try:
            while True:
                self._ask(lots, asked)
                if not asked:
                    return
                lot, future = asked.popleft()
                before, present = present, self._made(future)
                if before is not None:
                    self._copies.drop(before)
                if present is None:
                    return
                self._ask(lots, asked)  # so that it comes while these run
                yield list(zip(lot, present.batches, strict=True))
        finally:
            if present is not None:
                self._copies.drop(present)
            for _, future in asked:
                if not future.cancel():
                    future.add_done_callback(self._drop)

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

    def _ask(self, lots: Iterator[list[MiniBatch]], asked: deque[tuple[list[MiniBatch], Future[Copy]]]) -> None:
        """Ask for as many as may be under way, and one at least."""
        while not self._over and self._more(asked):
            lot = next(lots, None)
            if lot is None:
                return
            try:
                asked.append((lot, self._pool.submit(self._copies.make, *lot)))
            except RuntimeError:  # the pool is closed
                return

    def _more(self, asked: deque[tuple[list[MiniBatch], Future[Copy]]]) -> bool:
        """Whether to ask for another one."""
        under_way = there = 0
        for lot, future in asked:
            if future.done():
                there += _fetched(future)
            else:
                under_way += sum(len(batch.paths) for batch in lot)
                there += sum(self._copies.weight(batch) for batch in lot)
        return not asked or (under_way < _UNDER_WAY and there < AHEAD_BYTES)

    def _made(self, future: Future[Copy]) -> Copy | None:
        """The copies, when they are there; None after `stop`."""
        try:
            return future.result()
        except CancelledError:
            return None

    def _drop(self, future: Future[Copy]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._copies.drop(future.result())

    def stop(self) -> None:
        """Fetch nothing more, and let nobody wait for what is under way. Any thread."""
        self._over = True
        self._calls.end()

    def close(self) -> None:
        """Remove all copies."""
        self.stop()
        self._pool.shutdown(cancel_futures=True)
        self._copies.close()


def _fetched(future: Future[Copy]) -> int:
    return 0 if future.cancelled() or future.exception() else future.result().bytes
