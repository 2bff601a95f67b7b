"""Delimited text to Arrow: one schema for every mini-batch, and errors that say what to do.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from daskbatch.errors import MultiLineText, SchemaError
from daskbatch.store.inputs_text import reads_as_utf8
from daskbatch.store.inputs_times import read_times
from daskbatch.store.inputs_types import arrow_type, column_names, dtype_hint, formats_of
from daskbatch.types import TableFormat

__all__ = [
    "MISSING",
    "CsvParser",
    "decoded",
    "misfit",
    "multi_line_message",
    "refuse_missing",
    "refuse_other_names",
]

MISSING = ("", "#N/A", "#NA", "N/A", "NA", "NaN", "NULL", "None", "n/a", "nan", "null", "<NA>", "-nan", "-NaN")
"""What means "missing" in a column of numbers or times. In a column of strings only the empty field does."""

_CONVERSION = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to (.+?): (.*)", re.DOTALL)
_INVALID = re.compile(r"invalid value '(.*)'", re.DOTALL)
_FIELDS = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns?, got (\d+): (.*)", re.DOTALL)


def decoded(data: bytes, table: TableFormat, path: str, stream_is_utf8: bool = False) -> bytes:
    """The same text in UTF-8."""
    if stream_is_utf8 or reads_as_utf8(table.encoding):
        return data
    try:
        return data.decode(table.encoding).encode("utf-8")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path} is not {table.encoding}: {error}. Give the file's encoding=.") from error


def multi_line_message(path: str, begin: int, end: int) -> str:
    """What `MultiLineText` says."""
    return (
        f"{path} has a newline inside quotes, or a quote that is not closed, in the bytes {begin} to {end}."
        " Such files are read with support_multi_line=True (--support-multi-line), and cannot be cut right"
        " without it."
    )


def misfit(table: TableFormat, path: str, column: str, declared: str, value: str, better: str) -> SchemaError:
    """A value that does not fit its column; ends with the ``dtype=`` to paste."""
    types = {**dict(table.dtype), column: better}
    shown = value if len(value) <= 100 else value[:100] + "..."
    source = f", as in {table.schema_from}" if table.schema_from and table.schema_from != path else ""
    return SchemaError(
        f"{path}: column {column!r} is {declared}{source}, and cannot hold {shown}."
        f" Next: correct the value, or run again with {dtype_hint(types.items())}"
    )


def refuse_missing(rows: Any, table: TableFormat, path: str) -> None:
    """Raise where a value is missing in a column that cannot say so in pandas without another dtype."""
    import pyarrow.compute as pc

    for name, declared in table.columns:
        if not declared.startswith(("int", "uint")) and declared != "bool":
            continue
        column = rows.column(name)
        if column.null_count:
            row = pc.index(column.is_null(), True).as_py()
            better = "string"
            if declared != "bool":
                largest = pc.max(pc.abs(column.cast("float64", safe=False))).as_py()
                better = "float64" if largest is None or largest < 2**53 else "string"
            what = f"a missing value (record {row + 1} of the mini-batch)"
            raise misfit(table, path, name, declared, what, better)


class CsvParser:
    """Parses the records of one input's mini-batches."""

    def __init__(self, table: TableFormat) -> None:
        from pyarrow import csv as arrow_csv

        self._table = table
        self._csv = arrow_csv
        self._names = tuple(name for name, _ in table.columns)
        self._all_names = tuple(map(str, range(table.fields))) or self._names
        self._formatted = {name: found for name, kind in table.columns if (found := formats_of(kind))}
        self._types = {name: arrow_type("string" if name in self._formatted else kind) for name, kind in table.columns}
        self._strings = [name for name, kind in table.columns if kind in ("string", "large_string")]
        self._parse = arrow_csv.ParseOptions(
            delimiter=table.separator, newlines_in_values=table.multi_line, double_quote=True
        )
        self._words, self._blank = self._conversion(MISSING), self._conversion([""])

    def _conversion(self, missing: Sequence[str]) -> Any:
        return self._csv.ConvertOptions(
            column_types=self._types,
            include_columns=list(self._names),
            null_values=list(missing),
            strings_can_be_null=False,
        )

    def names(self, header: bytes, path: str, stream_is_utf8: bool) -> tuple[str, ...]:
        """Column names of a file, in its own order.

        Raises
        ------
        SchemaError
            Where they are not the schema's.
        """
        if not self._table.header:
            return self._all_names
        text = decoded(header, self._table, path, stream_is_utf8).decode("utf-8", "replace")
        names = header_names(text, self._table.separator)
        refuse_other_names(names, path, self._table)
        return names

    def parse(self, data: bytes, begin: int, names: tuple[str, ...], path: str, stream_is_utf8: bool) -> Any:
        """Rows of these records, or None where there are none."""
        import pyarrow as pa

        table = self._table
        end = begin + len(data)
        data = decoded(data, table, path, stream_is_utf8)
        # To look for a quote is thirty times as fast as to count them. And each word of MISSING has an n: numbers are
        # parsed faster where none has to be looked for.
        quotes = 0 if table.multi_line or b'"' not in data else data.count(b'"')
        convert = self._words if b"n" in data or b"N" in data else self._blank
        if quotes & 1:
            raise MultiLineText(multi_line_message(path, begin, end))
        read = self._csv.ReadOptions(
            use_threads=False, column_names=names, block_size=min(max(len(data), 64) + 1, 1 << 30)
        )
        try:
            # As a stream, of one block: for each call of `read_csv` Arrow starts a thread that hands on the blocks, and
            # the two wait for each other while other processes have the cores.
            rows = self._csv.open_csv(
                pa.BufferReader(data), read_options=read, parse_options=self._parse, convert_options=convert
            ).read_all()
        except pa.ArrowInvalid as error:
            if not data.strip(b"\r\n"):
                return None
            if quotes:
                self._refuse_newlines(data, begin, end, path)
            raise self._explained(error, data, begin, names, path) from None
        if quotes and rows.num_rows < data.count(b"\n") + (not data.endswith(b"\n")):
            self._refuse_newlines(data, begin, end, path)
        if not rows.num_rows:
            return None
        refuse_missing(rows, table, path)
        return self._empty_is_missing(self._timed(rows, path))

    def _timed(self, rows: Any, path: str) -> Any:
        for name, (unit, formats) in self._formatted.items():
            times, wrong = read_times(rows.column(name), formats, unit, MISSING)
            if wrong is not None:
                raise misfit(self._table, path, name, dict(self._table.columns)[name], repr(wrong), "string")
            rows = rows.set_column(rows.schema.get_field_index(name), name, times)
        return rows

    def _refuse_newlines(self, data: bytes, begin: int, end: int, path: str) -> None:
        from daskbatch.store.scan import quoted_newline

        if quoted_newline(data, self._table.separator) is not None:
            raise MultiLineText(multi_line_message(path, begin, end))

    def _empty_is_missing(self, rows: Any) -> Any:
        """Arrow would take ``NA`` for missing as well, or nothing: its rule is one for all columns."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in self._strings:
            column = rows.column(name)
            shortest = pc.min(pc.binary_length(column)).as_py()
            if shortest == 0:
                column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
                rows = rows.set_column(rows.schema.get_field_index(name), name, column)
        return rows

    def _explained(self, error: Exception, data: bytes, begin: int, names: tuple[str, ...], path: str) -> SchemaError:
        """What Arrow found, with the file, the place, and what to do."""
        text = str(error)
        if match := _FIELDS.match(text):
            return SchemaError(self._wrong_fields(match, data, begin, names, path))
        match = _CONVERSION.match(text)
        if not match:
            return SchemaError(f"{path}: the records at byte {begin} cannot be read: {text}")
        name = names[int(match[1])]
        if "UTF8" in match[4]:
            return SchemaError(
                f"{path}: column {name!r} holds bytes that are not {self._table.encoding}."
                " Next: give the file's encoding=, such as cp1252 or latin-1."
            )
        invalid = _INVALID.match(match[4])
        value = invalid[1] if invalid else match[4]
        declared = dict(self._table.columns)[name]
        better = "float64" if declared.startswith(("int", "uint")) and _is_small_number(value) else "string"
        return misfit(self._table, path, name, declared, repr(value), better)

    def _wrong_fields(self, match: re.Match[str], data: bytes, begin: int, names: tuple[str, ...], path: str) -> str:
        from daskbatch.store.scan import RecordScanner

        starts, _ = RecordScanner(quotes=True, separator=self._table.separator).feed(data, last=True)
        row = int(match[1]) - 1
        place = begin + (int(starts[row]) if row < len(starts) else 0)
        shown = match[4] if len(match[4]) <= 100 else match[4][:100] + "..."
        return (
            f"{path}: the record at byte {place} has {match[3]} fields, expected {match[2]}"
            f" ({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}), got {shown!r}."
            f" Next: correct the file, or give its separator= if it is not {self._table.separator!r}."
        )


def _is_small_number(value: str) -> bool:
    """Whether float64 holds it without loss worth a word."""
    try:
        number = float(value)
    except ValueError:
        return False
    return abs(number) < 2**53


def refuse_other_names(names: tuple[str, ...], path: str, table: TableFormat) -> None:
    """Raise where a file has not the columns of the input's schema; others too, unless only some are read.

    Raises
    ------
    SchemaError
    """
    wanted = tuple(name for name, _ in table.columns)
    seen = tuple(name for name in names if name in wanted) if table.selection else names
    if set(seen) != set(wanted):
        raise SchemaError(names_differ(seen, path, wanted, table.schema_from))


def header_names(text: str, separator: str) -> tuple[str, ...]:
    """Column names from the text of a header."""
    return column_names(next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), []))


def names_differ(names: tuple[str, ...], path: str, wanted: tuple[str, ...], source: str) -> str:
    """What is said of a file whose columns are not those of the input's schema."""
    missing = [name for name in wanted if name not in names]
    new = [name for name in names if name not in wanted]
    parts = []
    if missing:
        parts.append(f"lacks the column{'s' * (len(missing) > 1)} {_quoted(missing)} of {source}")
    if new:
        parts.append(f"has the column{'s' * (len(new) > 1)} {_quoted(new)}, which {source} has not")
    return f"{path} {' and '.join(parts)}. All files of an input need the same columns, in any order."


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
