"""Have small results gathered while the run goes on, so that at its end the store can copy them by itself.

It changes where results lie, not what counts: what is gathered counts in the place of its parts once the ledger says
so. Until then, and where it fails, the parts count, and they stay until the end. Neighbours that are chosen badly make
the combined file cost more, and change none of its bytes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from daskbatch.engine.books import Books
from daskbatch.failpoints import failpoint
from daskbatch.remote.multipart import MIN_PART_SIZE
from daskbatch.remote.segments import SegmentObjects
from daskbatch.types import Chunk
from daskbatch.worker.gathering import gather_aside

if TYPE_CHECKING:
    from distributed import Client, Future

    from daskbatch.engine.backlog import Backlog
    from daskbatch.engine.under_way import Task, UnderWay

__all__ = ["Gathering", "Small", "next_group"]

Key = tuple[int, int]

ENOUGH = 32 * 2**20
"""Bytes that are gathered into one object. A worker has them in memory, about three times."""
_MOST = 1000
"""Chunks of one object."""
_MOST_RECORDS = 50_000
"""Mini-batches of one object: each takes a worker some hundred bytes of memory beside its result."""
_LOOK_EVERY = ENOUGH // 4
"""Bytes of new results between two looks for neighbours."""
_PATIENCE = 60.0
"""Seconds that the end of the run waits for what is being gathered."""
_FAILURES = 3
"""Then nothing more is gathered: something is wrong that the end of the run may tell."""


class Small(NamedTuple):
    """A chunk that a store does not copy as a part."""

    first: Key
    """The first mini-batch that it may hold."""
    chunk: Chunk

    @property
    def size(self) -> int:
        """Bytes of its payloads."""
        return self.chunk.index - self.chunk.offset


class _UnderWay(NamedTuple):
    group: list[Small]
    worker: str
    future: Future[Any]
    result: concurrent.futures.Future[Any]


class Gathering:
    """Small chunks of a run, and what is being gathered of them.

    Parameters
    ----------
    client : Client
    segments : SegmentObjects
        Where the run's results lie.
    books : Books
    name : str
        Of Dask's keys: unique for the run and this life of its engine.
    """

    def __init__(self, client: Client, segments: SegmentObjects, books: Books, name: str) -> None:
        self._client = client
        self._segments = segments
        self._books = books
        self._name = name
        self._small: list[Small] = []
        self._apart: list[Key] = []  # first mini-batches of what need not be gathered, in order
        self._size = 0
        self._next_look = ENOUGH
        self._under_way: list[_UnderWay] = []
        self._sent = 0
        self._failures = 0
        for chunk, first in books.begins.items():
            self._add(chunk, first)

    def take(self, task: Task, report: Mapping[str, Any], tasks: UnderWay, backlog: Backlog) -> None:
        """See `Reduction`; what there is to gather is gathered on the worker that the task comes from."""
        if self._books.stop is not None:
            return
        if report["chunk"] is not None:
            self._add(Chunk(*report["chunk"]), task.row[0].key)
        self._enter([one for one in self._under_way if one.result.done()])
        busy = any(one.worker == task.place.address for one in self._under_way)
        if self._size < self._next_look or busy or task.place.leaving or self._failures >= _FAILURES:
            return
        self._small.sort()
        group = next_group(self._small, self._apart, sorted(tasks.firsts()))
        if group:
            self._send(group, task.place.address)
            self._next_look = ENOUGH
        else:
            self._next_look = self._size + _LOOK_EVERY

    def _add(self, chunk: Chunk, first: Key) -> None:
        small = Small(first, chunk)
        if small.size < MIN_PART_SIZE:
            self._small.append(small)
            self._size += small.size
        else:
            insort(self._apart, first)

    def _send(self, group: list[Small], worker: str) -> None:
        gone = set(group)
        self._small = [one for one in self._small if one not in gone]
        self._size -= sum(one.size for one in group)
        insort(self._apart, group[0].first)
        future = self._client.submit(
            gather_aside,
            self._segments,
            [one.chunk for one in group],
            key=f"{self._name}-gathered-{self._sent}",
            workers=[worker],
            allow_other_workers=True,
            pure=False,
            retries=0,
            priority=2,  # else it would wait for the rows that were sent ahead
        )
        self._sent += 1
        loop = cast(Any, self._client.loop).asyncio_loop
        result = asyncio.run_coroutine_threadsafe(cast(Any, future)._result(), loop)
        self._under_way.append(_UnderWay(group, worker, future, result))

    def _enter(self, done: Sequence[_UnderWay]) -> None:
        for one in done:
            self._under_way.remove(one)
            one.future.release()
            if one.result.cancelled() or one.result.exception() is not None:
                self._failures += 1  # its parts are what they were
                continue
            failpoint("gather.commit.before")
            self._books.gather([small.chunk for small in one.group], Chunk(*one.result.result()))
            failpoint("gather.commit.after")

    def finish(self) -> None:
        """The work is done: wait for what is under way, as the end of the run would have to do the same.

        Raises
        ------
        RunFailed
            The ledger cannot be written.
        """
        results = [one.result for one in self._under_way]
        concurrent.futures.wait(results, _PATIENCE)
        self._enter([one for one in self._under_way if one.result.done()])

    def close(self) -> None:
        """Leave nothing with Dask, be the scheduler there or not. What is put all the same goes with the segments."""
        for one in self._under_way:
            one.result.cancel()
            one.future.release()
        self._under_way.clear()


def next_group(small: Sequence[Small], apart: Sequence[Key], under_way: Sequence[Key]) -> list[Small]:
    """Neighbours that are worth an object: many, or some that can get no others; empty if there are none.

    Parameters
    ----------
    small
        Sorted.
    apart, under_way
        Sorted. Nothing is gathered across these keys. More may come beside those that are under way.
    """
    for group in _between(small, apart, under_way):
        size = sum(one.size for one in group)
        if size >= ENOUGH or (size >= MIN_PART_SIZE and len(group) > 1 and _closed(group, apart, under_way)):
            return group
    return []


def _between(small: Sequence[Small], apart: Sequence[Key], under_way: Sequence[Key]) -> Iterator[list[Small]]:
    """Neighbours, those of one object together."""
    group: list[Small] = []
    size, records, gap = 0, 0, (0, 0)
    for one in small:
        place = bisect_right(apart, one.first), bisect_right(under_way, one.first)
        full = size >= ENOUGH or len(group) == _MOST or records >= _MOST_RECORDS
        if group and (place != gap or full):
            yield group
            group, size, records = [], 0, 0
        group.append(one)
        size, records, gap = size + one.size, records + one.chunk.count, place
    if group:
        yield group


def _closed(group: Sequence[Small], apart: Sequence[Key], under_way: Sequence[Key]) -> bool:
    """Whether nothing can come beside a group any more."""
    if len(group) == _MOST or sum(one.chunk.count for one in group) >= _MOST_RECORDS:
        return True
    below = bisect_right(apart, group[0].first), bisect_right(under_way, group[0].first)
    first = below[1] == 0 or (below[0] > 0 and apart[below[0] - 1] > under_way[below[1] - 1])
    last = below[0] < len(apart) and (below[1] == len(under_way) or apart[below[0]] < under_way[below[1]])
    return first and last
