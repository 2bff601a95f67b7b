"""The reduction on a store: from committed segments to one object, in the input's order, that appears in one step.

What can stay on the store is copied there by the store; what cannot is read and sent by workers. Nothing here decides
when: the engine begins and finishes the upload, and any process may do the work between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

from daskbatch.remote import compose
from daskbatch.remote.compose import Part, Piece, parts_of
from daskbatch.remote.filesystem import filesystem
from daskbatch.remote.multipart import MAX_PARTS, Sent, Upload
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.requests import run
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.segments import SegmentObjects
from daskbatch.store.combine import write_result
from daskbatch.store.combine_csv import uniform_header
from daskbatch.store.formats import suffix_of
from daskbatch.store.payloads import Payloads
from daskbatch.types import Chunk

__all__ = ["Streamed", "copied_parts", "stream"]

_PART = 32 * 2**20
"""Bytes of a part that is sent; more where there would be too many."""
_UNDER_WAY = 3
"""Parts of a stream in memory, beside the one that grows."""


class Streamed(NamedTuple):
    """What a stream has sent: to be finished with."""

    sent: tuple[Sent, ...]
    bytes: int
    sha256: str


def copied_parts(payloads: Payloads, segments: SegmentObjects, name: str) -> list[Part] | None:
    """The parts of a result whose payloads can follow one another as they are; None where they cannot."""
    suffix = suffix_of(name)
    header: bytes | None = b""
    if suffix == ".parquet":
        return None
    if suffix == ".csv":
        header = uniform_header(payloads)
        if header is None:
            return None
    runs = (Piece(segments.where(span.segment), span.start, span.end, span.token) for span, _ in payloads.runs())
    return parts_of([compose.data_piece(header), *runs] if header else runs)


def stream(
    upload: Upload, segments: SegmentObjects, chunks: Sequence[Chunk], name: str, limit: Limit = USUAL
) -> Streamed:
    """Read all payloads and send the result part by part, as the local combine would write it. In bounded memory.

    Raises
    ------
    SegmentDamaged
        A payload is not the one that was committed.
    RunFailed
        Column types of two mini-batches do not unify (Parquet).
    StorageError
    """
    payloads = Payloads(segments, chunks)
    size = payloads.bytes
    with _UploadStream(upload, segments.options, max(_PART, 2 * size // MAX_PARTS), limit) as target:
        write_result([payloads], name, target)
        return target.finish()


class _UploadStream:
    """Takes bytes and sends them as parts."""

    closed = False

    def __init__(self, upload: Upload, options: StorageOptions, part: int, limit: Limit) -> None:
        self._upload = upload
        self._options = options
        self._part = part
        self._limit = limit
        self._held = bytearray()
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._pool = ThreadPoolExecutor(_UNDER_WAY, "daskbatch-upload")
        self._futures: list[Future[Sent]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._bytes += len(view)
        self._held += view
        while len(self._held) >= self._part:
            self._send(bytes(memoryview(self._held)[: self._part]))
            del self._held[: self._part]
        return len(view)

    def flush(self) -> None:
        """Parts go when they are full."""

    def finish(self) -> Streamed:
        if self._held or not self._futures:
            self._send(bytes(self._held))
        sent = tuple(future.result() for future in self._futures)
        return Streamed(sent, self._bytes, self._hash.hexdigest())

    def _send(self, data: bytes) -> None:
        if len(self._futures) >= _UNDER_WAY:
            self._futures[-_UNDER_WAY].result()  # else a store that is slower than we are would fill the memory
        self._futures.append(self._pool.submit(self._put, len(self._futures) + 1, data))

    def _put(self, number: int, data: bytes) -> Sent:
        file_system = filesystem(self._upload.url, self._options)
        return run(file_system, self._upload.send(file_system, number, data, self._limit))
