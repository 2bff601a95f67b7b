"""Results on disk: append-only files of one slot's life, committed chunk by chunk, and how they are read.

A segment is a row of chunks. A chunk is the payloads of some mini-batches back to back, then its
index: a packed record for each, then a JSON list of the column signatures that they name. Bytes that
no committed `Chunk` covers do not exist, whatever they are.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from daskbatch.errors import SegmentDamaged
from daskbatch.failpoints import failpoint
from daskbatch.store.checksum import crc32
from daskbatch.store.open_files import OpenFiles
from daskbatch.store.refusal import naming
from daskbatch.types import Chunk, Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "RECORD_BYTES",
    "Index",
    "SegmentFolder",
    "SegmentWriter",
    "Segments",
    "Span",
    "Writer",
    "parse_index",
    "read_index",
    "record_dtype",
    "sync_folder",
    "write_all",
]

T = TypeVar("T")

_RECORD = struct.Struct("<IIIIIIQId")
RECORD_BYTES = _RECORD.size
"""Bytes of a packed record; its fields are those of `Record`, in that order."""

_BUFFER_BYTES = 2**20
_PIECES = 64  # more are so small that it is cheaper to put them together
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Index:
    """The index of a chunk, while its payloads are written."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._signatures: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record, payload: bytes | memoryview, columns: str) -> None:
        """Note a mini-batch. Its columns and length are filled in here, and its checksum where that is 0.

        Else the checksum is the one by which the payload was checked when it came.
        """
        number = self._signatures.setdefault(columns, len(self._signatures))
        checksum = record.checksum or crc32(payload)
        self._records.append(_RECORD.pack(*record[:5], number, len(payload), checksum, record[8]))

    def encoded(self) -> bytes:
        """The bytes that come behind the payloads."""
        signatures = json.dumps(list(self._signatures), ensure_ascii=True).encode()
        return b"".join(self._records) + signatures


class SegmentWriter:
    """Writes the segments of one slot's life. Not for two threads at a time.

    Parameters
    ----------
    folder
        Where segments lie. It exists.
    name
        Unique to this slot's life. Files are ``name-0.seg``, ``name-1.seg``, ...; they come into
        being with the first payload, and never over a file that is there.
    roll_bytes
        A segment that has reached this size is followed by a new one.
    """

    def __init__(self, folder: Path, name: str, roll_bytes: int = 128 * 2**20) -> None:
        self._folder = folder
        self._name = name
        self._roll_bytes = roll_bytes
        self._fd = -1
        self._segment = ""
        self._number = 0
        self._start = 0  # of the chunk being written
        self._written = 0  # size of the file
        self._forget()

    def append(self, record: Record, payload: bytes, columns: str) -> None:
        """Add a mini-batch to the chunk; see `Index.add`.

        Raises
        ------
        OSError
            The disk is full, for one. Then `abandon`.
        """
        self._index.add(record, payload, columns)
        if payload:
            self._pending.append(payload)
            self._pending_bytes += len(payload)
            if self._pending_bytes >= _BUFFER_BYTES:
                self._flush()

    def commit(self) -> Chunk | None:
        """Write the index and make the chunk durable. None if nothing was appended."""
        if not self._index:
            return None
        index = self._index.encoded()
        self._flush()
        start, middle = self._start, self._written
        self._pending.append(index)
        self._pending_bytes = len(index)
        self._flush()
        with naming(self._folder / self._segment):
            failpoint("segment.sync.before")
            _fdatasync(self._fd)
            failpoint("segment.sync.after")
        if os.fstat(self._fd).st_size != self._written:
            raise SegmentDamaged(f"{self._segment} was written to by someone else")
        chunk = Chunk(self._segment, start, middle, self._written, len(self._index), crc32(index))
        self._start = self._written
        self._forget()
        if self._written >= self._roll_bytes:
            self.close()
        return chunk

    def abandon(self) -> None:
        """Forget what was appended since the last commit."""
        self._forget()
        if self._fd >= 0:
            os.ftruncate(self._fd, self._start)
            self._written = self._start

    def close(self) -> None:
        """Let go of the file. What was not committed is forgotten."""
        self._forget()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1  # an error of a network disk closes it all the same
            os.close(fd)

    def _forget(self) -> None:
        self._index = Index()
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def _flush(self) -> None:
        if self._fd < 0:
            self._open()
        data, size = self._pending, self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        self._written += size  # first: a write that fails half way is cut off by abandon
        with naming(self._folder / self._segment):
            failpoint("segment.write.before")
            _write_pieces(self._fd, data, size)
            failpoint("segment.write.after")

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while self._fd < 0:
            self._segment = f"{self._name}-{self._number}.seg"
            self._number += 1
            try:
                self._fd = os.open(self._folder / self._segment, flags, 0o600)
            except FileExistsError:
                continue
        self._start = self._written = 0
        sync_folder(self._folder)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything; one ``os.write`` may take less."""
    done = os.write(fd, data)
    if done < len(data):
        rest = memoryview(data)
        while done < len(data):
            done += os.write(fd, rest[done:])


def _write_pieces(fd: int, pieces: Sequence[bytes], size: int) -> None:
    """Write all of them; big ones are not put together before."""
    if len(pieces) > _PIECES:
        write_all(fd, b"".join(pieces))
        return
    done = os.writev(fd, pieces)
    if done < size:
        write_all(fd, memoryview(b"".join(pieces))[done:])


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def record_dtype() -> np.dtype[Any]:
    """Return the NumPy type of a packed record."""
    import numpy as np

    kinds = ("<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "<u8", "<u4", "<f8")
    return np.dtype(list(zip(Record._fields, kinds, strict=True)))


# Reading


class Span(NamedTuple):
    """A range of committed bytes."""

    segment: str
    """File name within the segments folder."""
    start: int
    """First byte."""
    end: int
    """Byte after the last."""
    token: str = ""
    """`Chunk.token`."""


class Writer(Protocol):
    """What a slot's results are written with: `SegmentWriter`, or that of a store (`daskbatch.remote.segments`)."""

    def append(self, record: Record, payload: bytes, columns: str) -> None:
        """Add a mini-batch to the chunk."""

    def commit(self) -> Chunk | None:
        """Make the chunk durable; None if nothing was appended."""

    def abandon(self) -> None:
        """Forget what was appended since the last commit."""

    def close(self) -> None:
        """Let go of all files. What was not committed is forgotten."""


class Segments(Protocol):
    """Where committed bytes are read from: a folder, or a store (`daskbatch.remote.segments`)."""

    def where(self, segment: str) -> str:
        """A segment's path or URL, for messages."""

    def indexes(self, chunks: Iterable[Chunk]) -> Iterator[bytes | SegmentDamaged]:
        """Yield the bytes of each chunk's index, in order; in the place of one that is gone or short its error."""

    def read(self, wanted: Iterable[tuple[Span, T]]) -> Iterator[tuple[memoryview, T]]:
        """Yield the bytes of each span, in order, with what it was given with. They are not checked.

        Raises
        ------
        SegmentDamaged
            A segment is gone or ends before its span does.
        """


class SegmentFolder:
    """Segments that are files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def where(self, segment: str) -> str:
        """Return the path."""
        return str(self._folder / segment)

    def indexes(self, chunks: Iterable[Chunk]) -> Iterator[bytes | SegmentDamaged]:
        """See `Segments`."""
        with OpenFiles(self._folder) as files:
            for chunk in chunks:
                try:
                    yield bytes(files.read(chunk.segment, chunk.index, chunk.end))
                except SegmentDamaged as error:
                    yield error

    def read(self, wanted: Iterable[tuple[Span, T]]) -> Iterator[tuple[memoryview, T]]:
        """See `Segments`."""
        with OpenFiles(self._folder) as files:
            for span, what in wanted:
                yield files.read(span.segment, span.start, span.end), what


def read_index(segments: Segments, chunk: Chunk) -> tuple[npt.NDArray[np.void], list[str]]:
    """Return a chunk's records, in the order written, and the signatures that they name.

    Raises
    ------
    SegmentDamaged
        The index is not the one that was committed.
    """
    (data,) = segments.indexes([chunk])
    return parse_index(segments, chunk, data)


def parse_index(
    segments: Segments, chunk: Chunk, data: bytes | SegmentDamaged
) -> tuple[npt.NDArray[np.void], list[str]]:
    """Do the same with what `Segments.indexes` gave.

    Raises
    ------
    SegmentDamaged
    """
    import numpy as np

    if isinstance(data, SegmentDamaged):
        raise data
    if len(data) != chunk.end - chunk.index or crc32(data) != chunk.checksum:
        raise SegmentDamaged(
            f"{segments.where(chunk.segment)}: bytes {chunk.index} to {chunk.end} are not those that were committed"
        )
    records = np.frombuffer(data, record_dtype(), chunk.count)
    signatures: list[str] = json.loads(data[chunk.count * RECORD_BYTES :])
    return records, signatures
