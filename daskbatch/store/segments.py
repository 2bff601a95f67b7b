"""Results on disk: append-only files of one slot's life, committed chunk by chunk.

A segment is a row of chunks. A chunk is the payloads of some mini-batches back to back, then its
index: a packed record for each, then a JSON list of the column signatures that they name. Bytes that
no committed `Chunk` covers do not exist, whatever they are.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.errors import SegmentDamaged
from daskbatch.failpoints import failpoint
from daskbatch.store.refusal import naming
from daskbatch.types import Chunk, Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["RECORD_BYTES", "SegmentWriter", "open_segment", "read_index", "record_dtype", "write_all"]

_RECORD = struct.Struct("<IIIIIIQId")
RECORD_BYTES = _RECORD.size
"""Bytes of a packed record; its fields are those of `Record`, in that order."""

_BUFFER_BYTES = 2**20
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


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
        """Add a mini-batch to the chunk. Its columns, length and checksum are filled in here.

        Raises
        ------
        OSError
            The disk is full, for one. Then `abandon`.
        """
        number = self._signatures.setdefault(columns, len(self._signatures))
        size = len(payload)
        self._records.append(_RECORD.pack(*record[:5], number, size, zlib.crc32(payload), record[8]))
        if size:
            self._pending.append(payload)
            self._pending_bytes += size
            if self._pending_bytes >= _BUFFER_BYTES:
                self._flush()

    def commit(self) -> Chunk | None:
        """Write the index and make the chunk durable. None if nothing was appended."""
        if not self._records:
            return None
        signatures = json.dumps(list(self._signatures), ensure_ascii=True).encode()
        index = b"".join(self._records) + signatures
        self._flush()
        start, middle = self._start, self._written
        self._pending.append(index)
        self._flush()
        with naming(self._folder / self._segment):
            failpoint("segment.sync.before")
            _fdatasync(self._fd)
            failpoint("segment.sync.after")
        if os.fstat(self._fd).st_size != self._written:
            raise SegmentDamaged(f"{self._segment} was written to by someone else")
        chunk = Chunk(self._segment, start, middle, self._written, len(self._records), zlib.crc32(index))
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
            os.close(self._fd)
            self._fd = -1

    def _forget(self) -> None:
        self._records: list[bytes] = []
        self._signatures: dict[str, int] = {}
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def _flush(self) -> None:
        if self._fd < 0:
            self._open()
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._written += len(data)  # first: a write that fails half way is cut off by abandon
        with naming(self._folder / self._segment):
            failpoint("segment.write.before")
            write_all(self._fd, data)
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


def open_segment(folder: Path, segment: str) -> int:
    """Return a descriptor to read from. A link is not followed.

    Raises
    ------
    SegmentDamaged
        The file is gone or cannot be opened.
    """
    try:
        return os.open(folder / segment, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SegmentDamaged(f"{folder / segment} cannot be read: {error.strerror}") from None


def read_index(folder: Path, chunk: Chunk) -> tuple[npt.NDArray[np.void], list[str]]:
    """Return a chunk's records, in the order written, and the signatures that they name.

    Raises
    ------
    SegmentDamaged
        The index is not the one that was committed.
    """
    import numpy as np

    fd = open_segment(folder, chunk.segment)
    try:
        data = os.pread(fd, chunk.end - chunk.index, chunk.index)
    finally:
        os.close(fd)
    size = chunk.count * RECORD_BYTES
    if len(data) != chunk.end - chunk.index or zlib.crc32(data) != chunk.checksum:
        raise SegmentDamaged(
            f"{folder / chunk.segment}: bytes {chunk.index} to {chunk.end} are not those that were committed"
        )
    records = np.frombuffer(data, record_dtype(), chunk.count)
    signatures: list[str] = json.loads(data[size:])
    return records, signatures
