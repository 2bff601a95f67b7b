"""From lines of a plan file to mini-batches: lazily, in order, many at a time."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from itertools import chain, count, islice, repeat
from typing import TYPE_CHECKING, Any

from daskbatch.errors import InputError, RunFailed
from daskbatch.plan_listing import Storage
from daskbatch.plan_opening import open_entry
from daskbatch.remote.errors import ObjectChanged, ObjectMissing
from daskbatch.store.footers import Group, cut_row_groups
from daskbatch.store.inputs_text import is_scanned, is_stream, record_scanner
from daskbatch.types import NO_ROW, OPEN_END, MiniBatch, MiniBatchSize, TableFormat

if TYPE_CHECKING:
    import numpy as np

    Places = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["cut_files", "cut_parquet", "cut_plan", "cut_text", "read_entries", "read_lines"]

_SCAN_BLOCK = 4 * 1024**2
"""Bytes that a scan looks at at once."""

_MINI_BATCH = partial(tuple.__new__, MiniBatch)
"""``MiniBatch._make``, without a Python function's call for each of a million."""

_UNLIKE_ANY = -2
"""In place of a modification time or etag: a file that was not there to be scanned is not to be read either."""

_LINES = 4096
"""Lines of the plan file that are parsed at once."""


def read_lines(path: str) -> Iterator[Any]:
    """The values of a file of JSON lines."""
    with open(path, encoding="ascii") as file:
        while lines := list(islice(file, _LINES)):
            # One call for many lines: twice as fast as one for each.
            yield from json.loads("[" + ",".join(lines) + "]")


def read_entries(path: str) -> Iterator[Any]:
    """The files of a plan file, whether it has a line for each or one for each combination of keys."""
    with open(path, encoding="ascii") as file:
        if file.read(2) != "[[":
            yield from read_lines(path)
            return
        file.seek(0)
        for line in file:
            yield from json.loads(line)


def cut_plan(path: str, size: int, counts: Iterable[int]) -> Iterator[MiniBatch]:
    """Groups of up to `size` files, from the plan file at `path`; `counts` files belong together."""
    first = 0
    with open(path, encoding="ascii") as file:
        for files in counts:
            yield from cut_files(file, size, files, first)
            first += files


def cut_files(plan: Iterator[str], size: int, files: int, first: int) -> Iterator[MiniBatch]:
    """Groups of up to `size` files, from the next `files` lines of a plan; `first` of them came before."""
    lines = islice(plan, files)
    while some := list(islice(lines, size * max(1, _LINES // size))):
        # As one flat list: a list for each file would take longer than all the rest. Within a JSON text there are no
        # newlines, so what is replaced is the end of a line and nothing else.
        values = json.loads("".join(some).replace("]\n[", ","))
        begin, paths = first, values[::3]
        first += len(paths)
        fields = zip(
            range(begin, first, size), repeat(0), _groups(paths, size), repeat(0), repeat(0), repeat(0),
            repeat(NO_ROW), repeat(-1), repeat(-1), _groups(_stamps(values), 2 * size),
        )  # fmt: skip
        yield from map(_MINI_BATCH, fields)


def _stamps(values: list[Any]) -> list[int]:
    """Size and modification time of each file, from a flat list with the path before them."""
    return list(chain.from_iterable(zip(values[1::3], values[2::3], strict=True)))


def _groups(values: list[Any], width: int) -> Iterator[tuple[Any, ...]]:
    """Tuples of up to `width`."""
    one = iter(values)
    rest = len(values) % width
    last = [tuple(values[-rest:])] if rest else []
    return chain(zip(*[one] * min(width, len(values)), strict=False) if len(values) >= width else (), last)


def _mini_batches(
    file: int, index: Iterable[int], starts: Iterable[int], stops: Iterable[int], rows: Iterable[int], entry: list[Any]
) -> Iterator[MiniBatch]:
    """Mini-batches of one file of text; ends with the shortest of the iterables."""
    path, size, mtime_ns = entry
    # Straight from the iterators, without a call for each: a million of them must take seconds.
    fields = zip(
        repeat(file), index, repeat((path,)), repeat(0), starts, stops, rows, repeat(size), repeat(mtime_ns), repeat(())
    )
    return map(_MINI_BATCH, fields)


def cut_text(entries: Iterable[list[Any]], table: TableFormat, storage: Storage = ()) -> Iterator[MiniBatch]:
    """Byte ranges of plain text: by arithmetic, or exact where rows or quotes count; streams as such."""
    row = 0
    for file, entry in enumerate(entries):
        path, size, mtime_ns = entry
        if is_stream(path, table):
            yield MiniBatch(file, 0, (path,), 0, 0, OPEN_END, NO_ROW, size, mtime_ns)
            row = NO_ROW
        elif is_scanned(table):
            row = yield from _scanned(file, entry, table, row, storage)
        else:
            step = table.size.value
            stops = chain(range(step, size, step), (size,))
            yield from _mini_batches(file, count(), range(0, size, step), stops, repeat(NO_ROW), entry)


def _scanned(
    file: int, entry: list[Any], table: TableFormat, row: int, storage: Storage
) -> Generator[MiniBatch, None, int]:
    """Exact ranges of one file. Returns the rows before the next file, or `NO_ROW`."""
    from daskbatch.store.scan import RecordTooLong

    index = records = open_start = open_row = end = 0
    before = -1
    try:
        for starts, ends in _records(entry, table, storage):
            cuts = _cuts(starts, records, before, table.size)
            if len(cuts):
                befores = ends[cuts - 1].tolist()
                if cuts[0] == 0:
                    befores[0] = end
                begins, numbers = starts[cuts].tolist(), (cuts + records).tolist()
                if records:
                    begins, numbers = [open_start, *begins], [open_row, *numbers]
                else:
                    befores = befores[1:]
                open_start, open_row = begins[-1], numbers[-1]
                rows = repeat(NO_ROW) if row == NO_ROW else [row + number for number in numbers]
                numbered = range(index, index + len(befores))
                yield from _mini_batches(file, numbered, begins, befores, rows, entry)
                index += len(befores)
            records += len(starts)
            before, end = int(starts[-1]), int(ends[-1])
    except (FileNotFoundError, NotADirectoryError, ObjectChanged, ObjectMissing):
        # Whoever reads it meets the same error, as the failure of this mini-batch alone. And if it is there again by
        # then: nobody knows where its records are, and the range would hold its header.
        gone = [*entry[:2], _UNLIKE_ANY]
        yield from _mini_batches(file, [index], [open_start], [entry[1]], [NO_ROW], gone)
        return NO_ROW
    except OSError as error:
        # Others may be able to read it, and would read a range with its header in it, or without some of its records.
        raise RunFailed(
            f"inputs: {entry[0]} cannot be read to see where its records are: {error.strerror or error}."
            " Next: mend that, then repeat the command."
        ) from error
    except RecordTooLong as error:
        raise InputError(f"inputs: {entry[0]}: {error}") from error
    if records:
        here = NO_ROW if row == NO_ROW else row + open_row
        yield from _mini_batches(file, [index], [open_start], [end], [here], entry)
    else:
        # A range without records, as of any other text: who reads it sees whether it is the file that was listed.
        yield from _mini_batches(file, [0], [entry[1]], [entry[1]], [NO_ROW], entry)
    return NO_ROW if row == NO_ROW else row + records


def _cuts(starts: Places, records: int, before: int, size: MiniBatchSize) -> Places:
    """Which of these records begin a mini-batch; `records` came before them, the last of which at byte `before`."""
    import numpy as np

    if size.kind == "rows":
        return np.arange(-records % size.value, len(starts), size.value)
    # As arithmetic would have it: the records that start in the same range of so many bytes.
    return np.flatnonzero(np.diff(starts // size.value, prepend=before // size.value))


def _records(entry: list[Any], table: TableFormat, storage: Storage) -> Iterator[tuple[Places, Places]]:
    """Starts and ends of a file's records, header left out, block by block; no empty ones."""
    scanner = record_scanner(table)
    header = table.header and table.format == "csv"
    with open_entry(entry, storage) as file:
        block = b"-"
        while block:
            block = file.read(_SCAN_BLOCK)
            starts, ends = scanner.feed(block, last=not block)
            if header and len(starts):
                starts, ends, header = starts[1:], ends[1:], False
            if len(starts):
                yield starts, ends


def cut_parquet(entries: Iterable[list[Any]], size: MiniBatchSize) -> Iterator[MiniBatch]:
    """Whole row groups, and slices of large ones."""
    row = 0
    for file, (path, file_size, mtime_ns, groups) in enumerate(entries):
        index = 0
        for cut in cut_row_groups((_group(group) for group in groups), size):
            starts = range(0, cut.rows, cut.step)
            stops = chain(range(cut.step, cut.rows, cut.step), (cut.rows,))
            rows = range(row, row + cut.rows, cut.step)
            numbered = range(index, index + len(starts))
            fields = zip(
                repeat(file), numbered, repeat((path,)), repeat(cut.unit), starts, stops, rows,
                repeat(file_size), repeat(mtime_ns), repeat(()),
            )  # fmt: skip
            yield from map(_MINI_BATCH, fields)
            row += cut.rows
            index += len(starts)


def _group(pair: list[int]) -> Group:
    return pair[0], pair[1]
