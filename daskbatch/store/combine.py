"""The reduction: payloads of committed chunks become one file, in the input's order.

The file's bytes depend on the mini-batches alone, not on who ran them, in which tasks or in which order.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from daskbatch.failpoints import failpoint
from daskbatch.store import combine_csv
from daskbatch.store.early_sync import EarlySync
from daskbatch.store.formats import suffix_of
from daskbatch.store.payloads import Payloads
from daskbatch.store.refusal import naming
from daskbatch.store.segments import Segments, sync_folder
from daskbatch.types import UNKNOWN_ITEMS, Chunk

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Buffer

__all__ = ["Combined", "Sink", "combine", "write_processed_csv", "write_result"]

_REPORT_ROWS = 65536
_HASH_APART = 65536  # bytes; less is hashed sooner than handed over
_BEHIND = 8 * 2**20  # bytes that the hash may be behind: the disk takes them in fits and starts


class Combined(NamedTuple):
    """A published file."""

    name: str
    """Without its folder."""
    rows: int
    """Rows, or lines of text; a header is not counted."""
    bytes: int
    sha256: str | None
    """Of the whole file, in hexadecimal; None where it went through no process of ours."""
    etag: str | None = None
    """Of the object, on a store."""


class Sink(io.RawIOBase):
    """A file being written: counts and hashes what passes. The hash has a thread of its own.

    Parameters
    ----------
    write
        Takes all bytes that it is given.
    """

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "daskbatch-hash")
        self._hashing: deque[tuple[Future[None], int]] = deque()
        self._behind = 0
        self.bytes = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Buffer) -> int:
        """Write all of `data`."""
        view = memoryview(data)
        apart = len(view) >= _HASH_APART
        while self._hashing and (not apart or self._behind > _BEHIND):
            hashed, size = self._hashing.popleft()
            hashed.result()
            self._behind -= size
        if apart:
            self._hashing.append((self._thread.submit(self._hash.update, view), len(view)))
            self._behind += len(view)
        else:
            self._hash.update(view)
        self._write(view)
        self.bytes += len(view)
        return len(view)

    def finish(self) -> str:
        """Return the hash of all that was written, in hexadecimal, and end the thread."""
        self._thread.shutdown()
        return self._hash.hexdigest()


def combine(
    segments: Segments, folder: Path, chunks: Sequence[Chunk], target: Path, confirm: Callable[[], None] = lambda: None
) -> Combined:
    """Write the payloads of committed chunks into one file and publish it in one step.

    Parameters
    ----------
    segments
    folder
        For the file while it is written, on the filesystem of `target`.
    chunks
        Every chunk that counts, in any order. No mini-batch is in two of them.
    target
        What the file will be called; its suffix chooses the format. A file of that name is replaced.
    confirm
        Called when all is written, right before it gets its name: what it raises prevents that.

    Raises
    ------
    SegmentDamaged
        A payload is not the one that was committed.
    RunFailed
        Column types of two mini-batches do not unify (Parquet).
    OSError
        The disk is full, for one. Then nothing has changed.
    """
    payloads = Payloads(segments, chunks)
    with _publishing(folder, target, confirm) as sink:
        write_result(payloads, target.name, sink)
    return Combined(target.name, payloads.rows, sink.bytes, sink.finish())


def write_result(payloads: Payloads, name: str, sink: Any) -> None:
    """Write all payloads as a file of that name, whose suffix chooses the format.

    Parameters
    ----------
    sink
        Has ``write``, and for Parquet all that Arrow asks a file for.
    """
    suffix = suffix_of(name)
    if suffix == ".parquet":
        from daskbatch.store import combine_parquet

        combine_parquet.write(payloads, sink)
    elif suffix == ".csv":
        combine_csv.write(payloads, sink)
    else:
        for block in payloads.blocks():
            sink.write(block)


@contextlib.contextmanager
def _publishing(folder: Path, target: Path, confirm: Callable[[], None] = lambda: None) -> Iterator[Sink]:
    """Give a sink under a temporary name; on success it takes the target's name, durably.

    It is written among the segments: if this process is killed nobody sees it there, and who goes on sweeps it up.
    """
    temporary = folder / f"{secrets.token_hex(4)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    file = EarlySync(fd)
    sink = Sink(file.write)
    try:
        try:
            with naming(target):
                failpoint("combine.write.before")
                yield sink
                failpoint("combine.write.after")
                file.finish()
        finally:
            sink.finish()
            file.wait()
            os.close(fd)
        failpoint("combine.publish.before")
        confirm()
        temporary.replace(target)
        failpoint("combine.publish.after")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def write_processed_csv(segments: Segments, folder: Path, chunks: Sequence[Chunk], path: Path) -> None:
    """List the mini-batches that succeeded, in the input's order.

    Columns: mini_batch, items (blank where unknown), returned, rows, seconds. Ranges of a text that no
    record starts in are no mini-batches.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pcsv

    # Made of buffers: of NumPy arrays and of Python strings Arrow asks pandas whether they are its own. Importing that
    # takes longer than all the rest of a small run's combining.
    def column(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
        kind = pa.from_numpy_dtype(values.dtype)
        bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(np.ascontiguousarray(values))])

    payloads = Payloads(segments, chunks, facts=True)
    records = payloads.records[payloads.records["items"] > 0]
    with _publishing(folder, path) as sink:
        sink.write(b"mini_batch,items,returned,rows,seconds\n")
        for start in range(0, len(records), _REPORT_ROWS):
            part = records[start : start + _REPORT_ROWS]
            file, index = (column(part[name]).cast(pa.string()) for name in ("file", "index"))
            ends = pa.py_buffer(np.arange(len(part) + 1, dtype="i4"))
            dashes = pa.Array.from_buffers(pa.string(), len(part), [None, ends, pa.py_buffer(b"-" * len(part))])
            columns = {
                "mini_batch": pc.binary_join_element_wise(file, index, dashes),
                "items": column(part["items"], part["items"] != UNKNOWN_ITEMS),
                "returned": column(part["returned"]),
                "rows": column(part["rows"]),
                "seconds": column(part["seconds"].round(6)),
            }
            options = pcsv.WriteOptions(include_header=False, quoting_style="none")
            text = pa.BufferOutputStream()
            pcsv.write_csv(pa.table(columns), text, options)
            sink.write(text.getvalue())
