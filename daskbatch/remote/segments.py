"""Segments on a store: immutable objects, one for each chunk, read by ranges."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO, Any, TypeVar

from daskbatch.errors import RunFailed, SegmentDamaged
from daskbatch.failpoints import failpoint
from daskbatch.remote.errors import ObjectChanged, ObjectMissing
from daskbatch.remote.fetch import read_into_memory, read_range
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import put_bytes
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.urls import join
from daskbatch.store.checksum import crc32
from daskbatch.store.segments import Index, Span
from daskbatch.types import Chunk, Record

__all__ = ["SegmentObjectWriter", "SegmentObjects"]

T = TypeVar("T")

_AT_ONCE = 32
"""Gets under way."""
_AHEAD = 32 * 2**20
"""Bytes that are fetched before they are asked for."""
_IN_MEMORY = 8 * 2**20
_MOST = 5 * 2**30
"""Bytes of an object that is put in one request."""


class SegmentObjects:
    """Segments that are objects below one prefix.

    Parameters
    ----------
    url
        The prefix.
    options, limit
    """

    def __init__(self, url: str, options: StorageOptions = (), limit: Limit = USUAL) -> None:
        self.url = url
        self.options = options
        self._limit = limit

    def where(self, segment: str) -> str:
        """Return the URL."""
        return join(self.url, segment)

    def indexes(self, chunks: Iterable[Chunk]) -> Iterator[bytes | SegmentDamaged]:
        """See `daskbatch.store.segments.Segments`. Many are fetched at once."""
        spans = ((Span(chunk.segment, chunk.index, chunk.end, chunk.token), None) for chunk in chunks)
        for data, _ in self._fetched(spans):
            yield data

    def read(self, wanted: Iterable[tuple[Span, T]]) -> Iterator[tuple[memoryview, T]]:
        """See `daskbatch.store.segments.Segments`. What comes next is fetched ahead, up to 32 MiB.

        Raises
        ------
        SegmentDamaged
            An object is gone, is another one by now, or is too short.
        StorageError
            The store does not answer.
        """
        for data, what in self._fetched(wanted):
            if isinstance(data, SegmentDamaged):
                raise data
            yield memoryview(data), what

    def _fetched(self, wanted: Iterable[tuple[Span, T]]) -> Iterator[tuple[bytes | SegmentDamaged, T]]:
        file_system = filesystem(self.url, self.options)
        if not is_s3(file_system):
            for span, what in wanted:
                yield self._one(span), what
            return
        under_way: deque[tuple[Any, Span, T]] = deque()
        source, size = iter(wanted), 0
        try:
            while True:
                while len(under_way) < _AT_ONCE and (size < _AHEAD or not under_way):
                    found = next(source, None)
                    if found is None:
                        break
                    span, what = found
                    work = read_into_memory(
                        file_system, self.where(span.segment), span.start, span.end, span.token, self._limit
                    )
                    under_way.append((asyncio.run_coroutine_threadsafe(work, file_system.loop), span, what))
                    size += span.end - span.start
                if not under_way:
                    return
                future, span, what = under_way.popleft()
                size -= span.end - span.start
                try:
                    yield self._checked(span, future.result()), what
                except (ObjectMissing, ObjectChanged) as error:
                    yield SegmentDamaged(f"{self.where(span.segment)} is not what was committed: {error}"), what
        finally:
            for future, _, _ in under_way:
                future.cancel()

    def _one(self, span: Span) -> bytes | SegmentDamaged:
        url = self.where(span.segment)
        try:
            return self._checked(
                span, read_range(url, span.start, span.end, self.options, span.token, limit=self._limit)
            )
        except (ObjectMissing, ObjectChanged) as error:
            return SegmentDamaged(f"{url} is not what was committed: {error}")

    def _checked(self, span: Span, data: bytes) -> bytes | SegmentDamaged:
        if len(data) == span.end - span.start:
            return data
        url = self.where(span.segment)
        return SegmentDamaged(f"{url} is shorter than what was committed: it ends before byte {span.end}")


class SegmentObjectWriter:
    """Writes the segments of one slot's life to a store. Not for two threads at a time.

    Parameters
    ----------
    url
        The prefix.
    name
        Unique to this slot's life. Objects are ``name-0.seg``, ``name-1.seg``, ...; a number is used once, so that a
        put which was given up, and arrives late, can replace nothing.
    options
    folder
        For what is too large for memory.
    limit
    """

    def __init__(
        self, url: str, name: str, options: StorageOptions = (), folder: str | None = None, limit: Limit = USUAL
    ) -> None:
        self._url = url
        self._name = name
        self._options = options
        self._folder = folder
        self._limit = limit
        self._numbers = itertools.count()
        self._spool: IO[bytes] | None = None
        self._index = Index()

    def append(self, record: Record, payload: bytes, columns: str) -> None:
        """Add a mini-batch to the chunk. Its columns, length and checksum are filled in here.

        Raises
        ------
        OSError
            The disk is full, for one. Then `abandon`.
        """
        self._index.add(record, payload, columns)
        if payload:
            if self._spool is None:
                self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=self._folder)  # noqa: SIM115
            self._spool.write(payload)

    def commit(self) -> Chunk | None:
        """Put the payloads and their index, as one object in one request. None if nothing was appended.

        Raises
        ------
        StorageError
            The store does not take it. Then `abandon`.
        RunFailed
            They are more than an object may have.
        """
        if not len(self._index):
            return None
        index = self._index.encoded()
        middle = 0 if self._spool is None else self._spool.tell()
        if middle + len(index) > _MOST:
            raise RunFailed(
                f"the results of one task are {middle:,} bytes, and a store takes objects of up to {_MOST:,}. Next:"
                " let run() return less at once, by a smaller mini_batch_size or task_seconds."
            )
        payloads = b""
        if self._spool is not None:
            self._spool.seek(0)
            payloads = self._spool.read()
        segment = f"{self._name}-{next(self._numbers)}.seg"
        failpoint("segment.put.before")
        token = put_bytes(join(self._url, segment), payloads + index, self._options, self._limit)
        failpoint("segment.put.after")
        chunk = Chunk(segment, 0, middle, middle + len(index), len(self._index), crc32(index), token)
        self.abandon()
        return chunk

    def abandon(self) -> None:
        """Forget what was appended since the last commit."""
        self._index = Index()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def close(self) -> None:
        """Let go of all files. What was not committed is forgotten."""
        self.abandon()
