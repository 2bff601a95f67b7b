"""The one schema of a text input, from samples of its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from daskbatch.errors import InputError, MiniBatchError
from daskbatch.store.inputs_csv import MISSING, decoded, header_names, multi_line_message, names_differ
from daskbatch.store.inputs_text import Opener, open_file, open_text, record_scanner, text_is_utf8
from daskbatch.store.inputs_types import USER_TYPES, arrow_type, dtype_hint, formats_of, plain_name
from daskbatch.store.schema_json import json_schema
from daskbatch.store.selection import refuse_missing_columns
from daskbatch.types import TableFormat

__all__ = ["Sample", "apply_dtype", "sample_text", "sampled_places"]

SAMPLE_BYTES = 1024**2
"""Bytes of text that are looked at in each sampled file, at least one record."""

SAMPLE_FILES = 10
"""The first, the last, and eight between."""

EXACT_IN_FLOAT = 2**53
"""Whole numbers up to here survive in a float64, which is what pandas makes of integers with gaps."""

# Leading zeros are not numbers but codes: a postcode, an account.
_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_FLOAT = r"^[+-]?(?:(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))$"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the samples say."""

    columns: tuple[tuple[str, str], ...]
    """(name, type) in the order of the first sampled file."""
    schema_from: str
    """That file."""
    record_bytes: float
    """Mean length of a record, in bytes of unzipped text."""
    records: int
    """Records in the samples, at least one of each file that has any."""
    fields: int = 0
    """Fields of a record of delimited text."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The records at the beginning of one file, in UTF-8, and its header."""

    path: str
    header: str
    data: bytes
    records: int


def sampled_places(count: int) -> list[int]:
    """Numbers of the files to sample among `count`: the first, the last and eight between.

    >>> sampled_places(100)
    [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    """
    if count <= SAMPLE_FILES:
        return list(range(count))
    return [round(place * (count - 1) / (SAMPLE_FILES - 1)) for place in range(SAMPLE_FILES)]


def sample_text(paths: Sequence[str], table: TableFormat, opener: Opener = open_file) -> Sample:
    """The schema of a CSV or JSON Lines input.

    Parameters
    ----------
    opener
        Opens what a path names, to read bytes.

    Raises
    ------
    InputError
        Where sampled files differ in their columns, have newlines in quotes without
        ``support_multi_line``, are not in the encoding, have a record without end, or cannot be read.
    """
    from daskbatch.store.scan import RecordTooLong

    heads = []
    for path in paths:
        try:
            heads.append(_head(path, table, opener))
        except MiniBatchError as error:
            raise InputError(str(error)) from error
        except RecordTooLong as error:
            raise InputError(f"inputs: {path}: {error}") from error
        except OSError as error:
            raise InputError(f"inputs: {path} cannot be read: {error.strerror or error}.") from error
    names: tuple[str, ...] = ()
    if table.format == "jsonl":
        columns = json_schema([head.data for head in heads], paths, table)
    else:
        names = _names(heads[0], table)
        columns = _csv_schema(heads, table, names)
    size, records = sum(len(head.data) for head in heads), sum(head.records for head in heads)
    typed = apply_dtype(columns, table, paths[0], names)
    return Sample(typed, paths[0], size / max(records, 1), records, len(names))


def apply_dtype(
    columns: Iterable[tuple[str, str]], table: TableFormat, path: str, names: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """The columns, with the types that the user gave in place of those found.

    JSON Lines may name columns that no sampled line has: keys are optional there, and a key that first
    occurs late in the input could not be allowed otherwise.

    Parameters
    ----------
    names
        All columns of `path`, where only some are read; ``dtype`` may name the others.
    """
    types = dict(columns)
    for name, given in table.dtype:
        if name not in types and name not in names and table.format != "jsonl":
            raise InputError(
                f"dtype names the column {name!r}, which {path} has not. Its columns are"
                f" {', '.join(map(repr, names or types))}. Next: correct the name."
            )
        kind = plain_name(given)
        try:
            arrow_type(kind)
        except ValueError:
            raise InputError(
                f"dtype of column {name!r} must be one of {', '.join(USER_TYPES)}, got {given!r}."
                f" Next: for example {dtype_hint([(name, 'string')])}"
            ) from None
        if formats_of(kind) and table.format != "csv":
            raise InputError(
                f"dtype of column {name!r}: formats of times are for delimited text, but the input is {table.format}."
                " Next: leave the format out, as dtype='timestamp[us]', for times as ISO 8601 writes them."
            )
        types[name] = kind
    return tuple((name, types[name]) for name in table.selection or types)


def _head(path: str, table: TableFormat, opener: Opener) -> _Head:
    """Read the head of a file: `SAMPLE_BYTES` of it, and one record at least."""
    from daskbatch.store.scan import quoted_newline

    is_csv = table.format == "csv"
    wanted = 2 if is_csv and table.header else 1
    scanner = record_scanner(table)
    blocks, text = open_text(path, table, opener), bytearray()
    first, ends, records = -1, [0, 0], 0
    block = b"-"
    while block and (len(text) < SAMPLE_BYTES or records < wanted):
        block = next(blocks, b"")
        text += block
        starts, stops = scanner.feed(block, last=not block)
        if len(starts):
            ends = [int(stops[0]) if first < 0 else ends[0], int(stops[-1])]
            first = int(starts[0]) if first < 0 else first
            records += len(starts)
    blocks.close()  # type: ignore[attr-defined]
    first = max(first, 0)
    data = bytes(text[first : ends[1]])
    if is_csv and not table.multi_line and quoted_newline(data, table.separator) is not None:
        raise InputError(multi_line_message(path, first, ends[1]))
    cut = ends[0] - first if is_csv and table.header else 0
    utf8 = text_is_utf8(table)
    header, data = decoded(data[:cut], table, path, utf8), decoded(data[cut:], table, path, utf8)
    try:
        return _Head(path, header.decode("utf-8"), _checked(data), records - bool(cut))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not {table.encoding}: {error.reason} at byte {error.start + first}."
            " Next: give the file's encoding=, such as cp1252 or latin-1."
        ) from None


def _checked(data: bytes) -> bytes:
    if not data.isascii():
        data.decode("utf-8")
    return data


def _csv_schema(heads: Sequence[_Head], table: TableFormat, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The columns of all samples together: a blank in any of them counts."""
    import pyarrow as pa

    for head in heads:
        others = _names(head, table)
        if table.selection:
            refuse_missing_columns(table.selection, others, head.path, heads[0].path)
        elif set(others) != set(names):
            raise InputError(names_differ(others, head.path, names, heads[0].path))
    names = table.selection or names
    samples = [_strings(head, table).select(list(names)) for head in heads if head.records]
    if not samples:
        return [(name, "string") for name in names]
    together = pa.concat_tables(samples)
    return [(name, _column_type(together.column(name))) for name in names]


def _names(head: _Head, table: TableFormat) -> tuple[str, ...]:
    if table.header:
        return header_names(head.header, table.separator)
    line = head.data.decode("utf-8")
    return tuple(str(place) for place in range(len(header_names(line, table.separator))))


def _strings(head: _Head, table: TableFormat) -> Any:
    """The sample as text. Records with another number of fields are left to the run, which names them."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = _names(head, table)
    return arrow_csv.read_csv(
        pa.BufferReader(head.data),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, column_names=names, block_size=min(len(head.data) + 1, 1 << 30)
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=table.separator, newlines_in_values=True, invalid_row_handler=lambda _: "skip"
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[], strings_can_be_null=False
        ),
    )


def _column_type(column: Any) -> str:
    """``"int64"``, ``"float64"`` or ``"string"``: no other guess."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_in(column, value_set=pa.array(MISSING))
    values = pc.utf8_trim_whitespace(column.filter(pc.invert(missing)))
    if not len(values):
        return "string"
    whole = pc.match_substring_regex(values, _INTEGER)
    if not pc.all(whole).as_py() and not pc.all(pc.match_substring_regex(values, _FLOAT)).as_py():
        return "string"
    try:
        integers = values.filter(whole).cast(pa.int64())
    except pa.ArrowInvalid:
        return "string"  # past int64: an id, and a float would not keep it
    if len(integers) == len(column):
        return "int64"
    bounds = pc.min_max(integers).as_py()
    largest = max((abs(bound) for bound in bounds.values() if bound is not None), default=0)
    return "float64" if largest <= EXACT_IN_FLOAT else "string"
