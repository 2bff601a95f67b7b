"""Results that go through Arrow: DataFrames, Series, and whatever becomes Parquet.

Part of `daskbatch.store.formats`, apart from it so that results which are plain lists never import
Arrow. Runs inside the runner's interpreter too: Python 3.9, pandas 1.5 and pyarrow 12 or later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from daskbatch.errors import ResultError
from daskbatch.store import formats
from daskbatch.store.formats import Payload
from daskbatch.store.items import cell_text, is_missing, item_columns
from daskbatch.store.json_lines import json_bytes, json_text

__all__ = ["parquet_payload", "plain_type", "text_payload"]

_REFUSED = (pa.ArrowException, TypeError, ValueError, OverflowError)
_TEXT = pa.large_string()
"""Offsets of 64 bits: a mini-batch's text may pass 2 GB."""


def _scalar(text: str) -> Any:
    return pa.scalar(text, _TEXT)


_NOTHING = _scalar("")


def text_payload(result: Any, kind: str, suffix: str) -> Payload:
    """Format a DataFrame as text of any kind, or a Series as CSV or JSON Lines."""
    names, columns = _pandas_columns(result, kind)
    if not names:
        return Payload(b"", len(result), 0, "")
    if suffix == ".jsonl":
        return Payload(_jsonl(_unique(names), columns), len(result), len(result), "")
    if suffix == ".csv":
        columns_text = formats.signature(tuple(_unique(names)))
        return Payload(_separated(columns, ","), len(result), len(result), columns_text)
    data = _separated(columns, " ")
    return Payload(data, len(result), data.count(b"\n"), "")


def parquet_payload(result: Any, kind: str) -> Payload:
    """Format any result as an Arrow IPC stream.

    Raises
    ------
    ResultError
        Naming the column that Arrow refuses.
    """
    names, columns = _columns(result, kind)
    _unique(names)
    if not names:
        if kind != "frame":
            raise ResultError("run() returned items without any column, such as {} or [].")
        return Payload(b"", len(result), 0, "")
    arrays = [_typed_array(name, column) for name, column in zip(names, columns)]
    table = pa.table(arrays, names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    types = tuple(str(field.type) for field in table.schema)
    return Payload(sink.getvalue().to_pybytes(), len(result), len(result), formats.signature(tuple(names), types))


# Columns of a result


def _pandas_columns(result: Any, kind: str) -> tuple[list[str], list[Any]]:
    if kind == "series":
        return ["result" if result.name is None else str(result.name)], [result]
    return [str(name) for name in result.columns], [column for _, column in result.items()]


def _columns(result: Any, kind: str) -> tuple[list[str], list[Any]]:
    if kind in ("frame", "series"):
        return _pandas_columns(result, kind)
    if kind == "array" and not result.dtype.names and result.ndim <= 2:
        if result.ndim == 1:
            return ["result"], [result]
        return [str(i) for i in range(result.shape[1])], [result[:, i] for i in range(result.shape[1])]
    items = formats.array_items(result) if kind == "array" else result
    columns = item_columns(items)
    return list(columns), list(columns.values())


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ResultError(f"run() returned a DataFrame with more than one column named {twice}.")
    return names


def _typed_array(name: str, values: Any) -> Any:
    try:
        array = pa.array(values, from_pandas=True)
        wanted = plain_type(array.type)
        return array if array.type == wanted else array.cast(wanted)
    except _REFUSED as error:
        raise ResultError(
            f"run() returned values in column {name!r} that have no common Parquet type: {error}. "
            "Make them of one type, for example with .astype(str)."
        ) from None


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that Parquet gives back: no dictionary, no 64-bit or view layout, no extension.

    Which of these pandas chooses depends on its version and on the data, so mini-batches would not unify.
    """
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    name = str(kind)
    if name in ("large_string", "string_view"):
        return pa.string()
    if name in ("large_binary", "binary_view"):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(plain_type(kind.field(i).type)) for i in range(kind.num_fields)])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind


# Text


def _separated(columns: Sequence[Any], separator: str) -> bytes:
    """Return lines with as few quotes as possible: what `formats.join_rows` does, by Arrow."""
    if len(columns) > 1 and (numbers := _numbers(columns)) is not None:
        return _written(numbers, separator)
    try:
        arrays = [_text_array(column, separator) for column in columns]
    except UnicodeEncodeError:  # file names that are not UTF-8
        cells = [[cell_text(value) for value in column.tolist()] for column in columns]
        return formats.encode(formats.join_rows(list(zip(*cells)), len(cells), separator))
    if len(arrays) == 1:  # a blank line would not be read back as a row
        only = pc.fill_null(arrays[0], "")
        arrays = [pc.if_else(pc.equal(only, ""), _scalar('""'), only)]
    lines = pc.binary_join_element_wise(*arrays, _scalar(separator), null_handling="replace", null_replacement="")
    lines = pc.binary_join_element_wise(lines, _NOTHING, _scalar("\n"))
    return bytes(lines.buffers()[2].to_pybytes())  # strings lie back to back: this is the text


def _numbers(columns: Sequence[Any]) -> list[Any] | None:
    """Return columns as Arrow's, if all are plain numbers."""
    if not all(getattr(column.dtype, "kind", "O") in "iuf" for column in columns):
        return None
    try:
        arrays = [_array(column) for column in columns]
    except _REFUSED:
        return None
    plain = all(pa.types.is_integer(one.type) or one.type in (pa.float32(), pa.float64()) for one in arrays)
    return arrays if plain else None


def _written(numbers: list[Any], separator: str) -> bytes:
    """Return lines of numbers, none of which needs quotes. The digits are those of a cast, in 60 % of the time."""
    table = pa.table(numbers, names=list(map(str, range(len(numbers)))))
    sink = pa.BufferOutputStream()
    options = csv.WriteOptions(
        include_header=False, delimiter=separator, quoting_style="none", batch_size=max(1, len(table))
    )
    csv.write_csv(table, sink, options)
    return bytes(sink.getvalue().to_pybytes())


def _array(column: Any) -> Any:
    """Return a column as one of Arrow's, in one piece."""
    array = pa.array(column, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _text_array(column: Any, separator: str) -> Any:
    """Return a column as strings, quoted where needed, null where blank."""
    try:
        array = _array(column)
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        kind = array.type
        if pa.types.is_boolean(kind):  # as Python and pandas print it, and so as a list of bools
            return pc.if_else(array, _scalar("True"), _scalar("False"))
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return array.cast(_TEXT)
        if not (pa.types.is_nested(kind) or pa.types.is_duration(kind) or _is_opaque(kind)):
            return _quoted(array.cast(_TEXT), separator)
    except _REFUSED:
        pass  # a mixed column, most often
    cells = [None if is_missing(value) else cell_text(value) for value in column.tolist()]
    return _quoted(pa.array(cells, _TEXT), separator)


def _is_opaque(kind: pa.DataType) -> bool:
    return "binary" in str(kind) or isinstance(kind, pa.BaseExtensionType)


def _quoted(array: Any, separator: str) -> Any:
    special = pc.match_substring_regex(array, f'[{separator}"\r\n]')
    if not pc.any(special).as_py():
        return array
    doubled = pc.replace_substring(array, '"', '""')
    mark = _scalar('"')
    return pc.if_else(special, pc.binary_join_element_wise(mark, doubled, mark, _NOTHING), array)


def _jsonl(names: list[str], columns: list[Any]) -> bytes:
    keys = [json_text(name).replace("%", "%%") for name in names]
    line = "{" + ",".join(f"{key}:%s" for key in keys) + "}"
    fragments = [_json_column(column) for column in columns]
    return json_bytes("\n".join([line % row for row in zip(*fragments)]) + "\n")


def _json_column(column: Any) -> list[str]:
    """Return each value as JSON. Arrow prints floats as they are: float32 0.1 stays 0.1."""
    if getattr(column.dtype, "kind", "") in "iuf":
        array = pa.array(column, from_pandas=True)
        if pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_finite(array), array, None)
        return pc.fill_null(array.cast(pa.string()), "null").to_pylist()  # type: ignore[no-any-return]
    return [json_text(value) for value in column.tolist()]
