"""Rows that Dask has sent to a worker and that no slot has begun: what may be fetched ahead of need."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from daskbatch.remote.copies import Copies, Copy
from daskbatch.types import MiniBatch

__all__ = ["Row", "Upcoming"]


@dataclass(slots=True, eq=False)
class Row:
    """Mini-batches of one task, and what was asked for of them."""

    lots: Iterator[list[MiniBatch]]
    """Those that are asked for together; what is not asked for yet."""
    asked: deque[tuple[list[MiniBatch], Future[Copy]]] = field(default_factory=deque)
    ended: bool = False
    """All are asked for."""


class _Fetcher(Protocol):
    """One slot's side, see `daskbatch.worker.ahead.Ahead`. Its methods are called with the lock held."""

    next: Row | None
    """A row that it fetches and that has not begun."""

    def wants(self) -> bool:
        """Whether it would fetch a row that has not begun."""

    def look(self) -> None:
        """Look for one soon, in another thread."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A task that waits."""

    priority: tuple[int, ...]
    """Dask begins with the smallest."""
    batches: Callable[[], Iterator[MiniBatch]]
    row: Row | None = None
    """None: nobody fetches it yet."""
    fetcher: _Fetcher | None = None
    """Who does; any other slot may come to run it."""


class Upcoming:
    """The rows that wait for the slots of one worker. Any thread.

    It is a hint alone: a row that is not here is fetched when it begins.

    Parameters
    ----------
    copies : Copies
        Of all slots of the worker.
    """

    def __init__(self, copies: Copies) -> None:
        self.lock = threading.RLock()
        """Held while anything is asked for, of rows that wait or run."""
        self.copies = copies
        self._waiting: dict[int, _Waiting] = {}
        self._fetchers: list[_Fetcher] = []

    def serve(self, fetcher: _Fetcher) -> None:
        """From now on a slot is told of rows that come."""
        self._fetchers.append(fetcher)

    def add(self, task: int, batches: Callable[[], Iterator[MiniBatch]], priority: tuple[int, ...] = ()) -> None:
        """A task waits; `batches` makes its row, when somebody will fetch it."""
        with self.lock:
            if task in self._waiting:
                return
            self._waiting[task] = _Waiting(priority, batches)
            fetcher = next((one for one in self._fetchers if one.wants()), None)
            if fetcher is not None:
                fetcher.look()

    def claim(self, fetcher: _Fetcher, lots: Callable[[Iterator[MiniBatch]], Iterator[list[MiniBatch]]]) -> Row | None:
        """Give the row that will come first, of those that nobody fetches, to a slot that will."""
        with self.lock:
            free = [waiting for waiting in self._waiting.values() if waiting.row is None]
            if not free:
                return None
            first = min(free, key=lambda waiting: waiting.priority)
            first.row, first.fetcher = Row(lots(first.batches())), fetcher
            return first.row

    def take(self, task: int) -> Row | None:
        """The task begins: its row, where somebody has begun to fetch it."""
        with self.lock:
            waiting = self._waiting.pop(task, None)
            if waiting is None:
                return None
            if waiting.fetcher is not None:
                waiting.fetcher.next = None
            return waiting.row

    def forget(self, task: int) -> None:
        """The task will not begin here: its copies go."""
        row = self.take(task)
        if row is not None:
            self.drop(row)

    def drop(self, row: Row) -> None:
        """Remove what was fetched of a row and not used, and what is still being fetched as soon as it is there."""
        with self.lock:
            row.ended = True
            asked = list(row.asked)
            row.asked.clear()
        for _, future in asked:
            if not future.cancel():
                future.add_done_callback(self._drop)

    def _drop(self, future: Future[Copy]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.copies.drop(future.result())

    def close(self) -> None:
        """Remove all copies. The slots are closed."""
        with self.lock:
            for task in list(self._waiting):
                self.forget(task)
        self.copies.close()
