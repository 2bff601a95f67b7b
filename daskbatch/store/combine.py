"""The reduction: payloads of committed chunks become one file, in the input's order.

The file's bytes depend on the mini-batches alone, not on who ran them, in which tasks or in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from daskbatch.store import combine_csv
from daskbatch.store.formats import suffix_of
from daskbatch.store.payloads import Payloads
from daskbatch.store.publishing import publishing
from daskbatch.store.segments import Segments
from daskbatch.types import UNKNOWN_ITEMS, Chunk

if TYPE_CHECKING:
    from daskbatch.store.draft import Draft

__all__ = ["Combined", "combine", "write_processed_csv", "write_result"]

_REPORT_ROWS = 16_384
_REPORT_LINE = "%d-%d,%d,%d,%d,%d.%06d\n"
_UNKNOWN = f",{UNKNOWN_ITEMS},"


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


def combine(
    segments: Segments,
    folder: Path,
    chunks: Sequence[Chunk],
    target: Path,
    confirm: Callable[[], None] = lambda: None,
    draft: Draft | None = None,
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
    draft
        What was written of it during the run, in `folder`.

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
    begun = None if draft is None else draft.publish(payloads, target, confirm)
    if begun is not None:
        return begun
    with publishing(folder, target, confirm) as file:
        write_result([payloads], target.name, file.sink)
    return Combined(target.name, payloads.rows, file.sink.bytes, file.sha256)


def write_result(portions: Iterable[Payloads], name: str, sink: Any) -> None:
    """Write all payloads as a file of that name, whose suffix chooses the format.

    Parameters
    ----------
    portions
        One after the other, in the input's order. The first has all the columns that occur, in the order in which they
        appear, and for Parquet all their types.
    sink
        Has ``write``, and for Parquet all that Arrow asks a file for.
    """
    suffix = suffix_of(name)
    if suffix == ".parquet":
        from daskbatch.store import combine_parquet

        combine_parquet.write(portions, sink)
    elif suffix == ".csv":
        combine_csv.write(portions, sink)
    else:
        for payloads in portions:
            for block in payloads.blocks():
                sink.write(block)


def write_processed_csv(segments: Segments, folder: Path, chunks: Sequence[Chunk], path: Path) -> None:
    """List the mini-batches that succeeded, in the input's order.

    Columns: mini_batch, items (blank where unknown), returned, rows, seconds. Ranges of a text that no
    record starts in are no mini-batches.
    """
    payloads = Payloads(segments, chunks, facts=True)
    records = payloads.records[payloads.records["items"] > 0]
    with publishing(folder, path) as report:
        report.sink.write(b"mini_batch,items,returned,rows,seconds\n")
        for start in range(0, len(records), _REPORT_ROWS):
            part = records[start : start + _REPORT_ROWS]
            numbers = [part[name].tolist() for name in ("file", "index", "items", "returned", "rows")]
            # Integers, as floats take twice the time of all the rest to be printed
            micros = (part["seconds"] * 1e6).round().astype("u8")
            columns = [*numbers, (micros // 1_000_000).tolist(), (micros % 1_000_000).tolist()]
            # One format for all lines. Arrow would need a third of the time, and a small run 0.15 s more to import it.
            lines = _REPORT_LINE * len(part) % tuple(chain.from_iterable(zip(*columns, strict=True)))
            report.sink.write(lines.replace(_UNKNOWN, ",,").encode())
