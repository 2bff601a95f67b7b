"""Combine for ``.parquet``: one schema over all mini-batches, row groups of a fixed row count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daskbatch.errors import RunFailed
from daskbatch.store.made_ahead import made_ahead
from daskbatch.store.payloads import Payloads

__all__ = ["ROW_GROUP_BYTES", "ROW_GROUP_ROWS", "unify", "write"]

ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 256 * 2**20
"""Arrow bytes after which a row group ends early, so that rows of a megabyte need not wait in memory
for 131,071 others. Counted mini-batch by mini-batch, and so the same in every run."""

_AHEAD_BYTES = 32 * 2**20
"""Arrow bytes of a row group up to which the next one is made while it is written. Of larger ones, one is in memory."""

_JOIN_ROWS = 16_384
_LOOKED_AT = 16_384  # rows
_UNITS = ("s", "ms", "us", "ns")


def write(portions: Iterable[Payloads], sink: Any) -> None:
    """Write all payloads as one Parquet file."""
    portions = iter(portions)
    first = next(portions)
    schema = _union(first)
    groups = made_ahead(_row_groups(chain([first], portions), schema), lambda rows: rows.nbytes <= _AHEAD_BYTES)
    nothing = schema.empty_table()
    with contextlib.closing(groups):
        rows = next(groups, nothing)
        with pq.ParquetWriter(pa.PythonFile(sink, "w"), schema, use_dictionary=_worth_a_dictionary(rows)) as writer:
            while len(rows):
                writer.write_table(rows, row_group_size=len(rows))
                rows = nothing  # what is written must not stay in memory while the next ones are read
                rows = next(groups, nothing)


def _row_groups(portions: Iterable[Payloads], schema: pa.Schema) -> Iterator[pa.Table]:
    groups = _RowGroups(schema)
    for payloads in portions:
        for block, numbers in payloads.pieces():
            done = 0
            for length in payloads.records["length"][numbers.start : numbers.stop].tolist():
                if length:
                    groups.add(_read(block[done : done + length]))
                    yield from groups.full()
                done += length
    yield from groups.rest()


def _worth_a_dictionary(rows: pa.Table) -> list[str]:
    """Return the paths of the columns whose values repeat in the first row group.

    By itself the writer makes a dictionary of every column. Of values that are all different, such as ids and scores,
    it is a copy with as many numbers beside it: a larger file, and eight times the work.
    """
    unlike = {name for name in rows.column_names if not _repeats(rows[name])}
    empty = pa.BufferOutputStream()
    pq.write_table(rows.schema.empty_table(), empty)
    columns = pq.read_metadata(pa.BufferReader(empty.getvalue())).schema
    paths = [columns.column(number).path for number in range(len(columns))]
    return [path for path in paths if path not in unlike]


def _repeats(column: pa.ChunkedArray) -> bool:
    some = column.slice(0, _LOOKED_AT)
    try:
        return bool(pc.count_distinct(some, mode="all").as_py() * 2 <= len(some))
    except pa.ArrowNotImplementedError:
        return True  # a list, for one


class _RowGroups:
    """Collects rows until they fill a row group."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._bytes = 0

    def add(self, batches: Sequence[pa.RecordBatch]) -> None:
        for batch in batches:
            if self._waiting and batch.schema != self._waiting[0].schema:
                self._convert()
            self._waiting.append(batch)
            self._rows += batch.num_rows
            self._bytes += batch.nbytes
        if len(self._waiting) >= _JOIN_ROWS:
            self._convert()

    def full(self) -> Iterator[pa.Table]:
        """Take the row groups that are full."""
        while self._rows >= ROW_GROUP_ROWS:
            yield self._take(ROW_GROUP_ROWS)
        if self._bytes >= ROW_GROUP_BYTES:
            yield self._take(self._rows)

    def rest(self) -> Iterator[pa.Table]:
        """Take what is left."""
        if self._rows:
            yield self._take(self._rows)

    def _convert(self) -> None:
        """Bring the waiting batches, of one schema, into the common one; together, as each call costs."""
        if not self._waiting:
            return
        table = pa.Table.from_batches(self._waiting).combine_chunks()
        self._waiting = []
        if table.schema != self._schema:
            table = pa.Table.from_arrays(
                [
                    _cast(table.column(field.name), field)
                    if field.name in table.column_names
                    else pa.nulls(table.num_rows, field.type)
                    for field in self._schema
                ],
                schema=self._schema,
            )
        self._tables.append(table)

    def _take(self, rows: int) -> pa.Table:
        self._convert()
        table = pa.concat_tables(self._tables)
        rest = table.slice(rows)
        self._rows = rest.num_rows
        self._bytes = rest.nbytes
        self._tables = [rest] if self._rows else []
        # One chunk: the writer cuts its pages at chunks, and those are not to be seen in the file.
        return table.slice(0, rows).combine_chunks()


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:  # a whole number that no double is, say
        raise RunFailed(
            f"column {field.name!r} is {column.type} in some mini-batches, and {field.type} because of others, into"
            f" which not all values fit: {error}. Let run() return one type, for example with .astype(str), or write"
            " .csv or .jsonl."
        ) from error


def _read(data: memoryview) -> list[pa.RecordBatch]:
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return list(reader)


# Types


def _union(payloads: Payloads) -> pa.Schema:
    """Return the columns in order of first appearance, each of a type that holds all its values.

    Raises
    ------
    RunFailed
        Naming the first two mini-batches whose types do not go together.
    """
    types: dict[str, tuple[pa.DataType, int]] = {}
    for schema, number in _schemas(payloads):
        for field in schema:
            known, first = types.get(field.name, (field.type, number))
            together = unify(known, field.type)
            if together is None:
                raise RunFailed(
                    f"column {field.name!r} is {known} in mini-batch {payloads.name(first)} and {field.type} in "
                    f"mini-batch {payloads.name(number)}: a Parquet file has one type for a column. "
                    "Let run() return one type, for example with .astype(str), or write .csv or .jsonl."
                )
            if together != known:
                first = number  # who made the type what it is
            types[field.name] = (together, first)
    # Parquet has no column without a type: one that was null everywhere is a string that is null everywhere.
    return pa.schema([(name, pa.string() if pa.types.is_null(t) else t) for name, (t, _) in types.items()])


def _schemas(payloads: Payloads) -> list[tuple[pa.Schema, int]]:
    wanted = [number for _, number in payloads.first_uses()]
    return [(pa.ipc.read_schema(pa.py_buffer(payloads.payload(number))), number) for number in wanted]


def unify(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of both; None where there is none.

    Null and anything; integers of any width; integers and floats (double); floats of two widths;
    timestamps of two units; lists of these.
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        return _unify_integers(one, other)
    numbers = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in (one, other)]
    if all(numbers):
        wide = max(t.bit_width if pa.types.is_floating(t) else 64 for t in (one, other))
        return pa.float64() if wide == 64 else pa.float32()
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and one.tz == other.tz:
        return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), one.tz)
    if pa.types.is_list(one) and pa.types.is_list(other):
        inner = unify(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    return None


def _unify_integers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    signed = [pa.types.is_signed_integer(t) for t in (one, other)]
    if signed[0] == signed[1]:
        return max(one, other, key=lambda t: t.bit_width)
    unsigned = other if signed[0] else one
    width = max((one if signed[0] else other).bit_width, unsigned.bit_width * 2)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(width)
