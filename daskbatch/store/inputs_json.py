"""JSON Lines to Arrow: fast where the text fits the schema, slow and exact about what does not.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

import json
from typing import Any

from daskbatch.errors import SchemaError
from daskbatch.store.inputs_csv import decoded, misfit, refuse_missing
from daskbatch.store.inputs_types import arrow_type
from daskbatch.types import TableFormat

__all__ = ["JsonParser"]


class _Number(str):
    """A number as it is written: an id of 20 digits in a string column stays what it is."""

    __slots__ = ()


class JsonParser:
    """Parses the lines of one input's mini-batches."""

    def __init__(self, table: TableFormat) -> None:
        import pyarrow as pa
        from pyarrow import json as arrow_json

        self._table = table
        self._json = arrow_json
        self._types = {name: arrow_type(kind) for name, kind in table.columns}
        self._schema = pa.schema(list(self._types.items()))
        others = "ignore" if table.selection else "error"
        self._parse = arrow_json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior=others)

    def names(self, header: bytes, path: str, stream_is_utf8: bool) -> tuple[str, ...]:
        """Keys stand in each line; there is nothing to learn from a header."""
        return ()

    def parse(self, data: bytes, begin: int, names: tuple[str, ...], path: str, stream_is_utf8: bool) -> Any:
        """Rows of these lines, or None where there are none."""
        import pyarrow as pa

        data = decoded(data, self._table, path, stream_is_utf8)
        if not data.strip():
            return None
        read = self._json.ReadOptions(use_threads=False, block_size=min(max(len(data), 64) + 1, 1 << 30))
        try:
            rows = self._json.read_json(pa.BufferReader(data), read_options=read, parse_options=self._parse)
        except pa.ArrowInvalid:
            rows = self._slowly(data, begin, path)
        rows = rows.select(self._schema.names)
        refuse_missing(rows, self._table, path)
        return rows

    def _slowly(self, data: bytes, begin: int, path: str) -> Any:
        """Line by line: takes numbers for strings where the column is one, and names what does not fit."""
        import pyarrow as pa

        values: dict[str, list[Any]] = {name: [] for name in self._types}
        place = begin
        for line in data.split(b"\n"):
            if line.strip():
                record = self._record(line, place, path)
                for name, column in values.items():
                    column.append(self._value(name, record.get(name), path))
            place += len(line) + 1
        arrays = [pa.array(column, self._types[name]) for name, column in values.items()]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _record(self, line: bytes, place: int, path: str) -> dict[str, Any]:
        try:
            record = json.loads(line, parse_int=_Number, parse_float=_Number)
        except (ValueError, RecursionError) as error:
            raise SchemaError(
                f"{path}: the line at byte {place} is no JSON: {error}. JSON Lines has one object a line."
            ) from None
        if not isinstance(record, dict):
            raise SchemaError(f"{path}: the line at byte {place} must be a JSON object, got {line[:100]!r}.")
        for name in record:
            if name not in self._types and not self._table.selection:
                raise SchemaError(
                    f"{path}: the line at byte {place} has the key {name!r}, which the sampled lines of"
                    f" {self._table.schema_from} and the other files have not. Next: drop it from the file,"
                    f" or run again with dtype={dict([*self._table.dtype, (name, 'string')])!r}"
                )
        return record

    def _value(self, name: str, value: Any, path: str) -> Any:
        """What Arrow shall take for `value` in this column."""
        import pyarrow as pa

        declared = self._types[name]
        if value is None:
            return None
        try:
            if pa.types.is_string(declared):
                return value if isinstance(value, str) else _text(value)
            plain = _plain(value)
            if pa.types.is_floating(declared) and isinstance(plain, int) and not isinstance(plain, bool):
                plain = float(plain)
            if pa.types.is_timestamp(declared):
                return pa.scalar(value, pa.string()).cast(declared)
            if not _fits(plain, declared):
                raise ValueError
            return pa.scalar(plain, declared)
        except (ValueError, TypeError, OverflowError, pa.ArrowException):
            kind = dict(self._table.columns)[name]
            small = isinstance(value, _Number) and pa.types.is_integer(declared) and abs(float(value)) < 2**53
            shown = value if isinstance(value, _Number) else json.dumps(_plain(value))
            raise misfit(self._table, path, name, kind, shown, "float64" if small else "string") from None


def _plain(value: Any) -> Any:
    """Numbers as numbers, all the way down."""
    if isinstance(value, _Number):
        try:
            return int(value)
        except ValueError:
            return float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    """What a string column holds of a value that is none: its JSON."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _fits(value: Any, declared: Any) -> bool:
    """Whether Arrow would keep all of the value: it drops unknown keys and cuts 1.5 to 1 without a word."""
    import pyarrow as pa

    kinds = pa.types
    if value is None:
        return True
    if kinds.is_struct(declared):
        types = {declared.field(place).name: declared.field(place).type for place in range(declared.num_fields)}
        return isinstance(value, dict) and all(key in types and _fits(item, types[key]) for key, item in value.items())
    if kinds.is_list(declared):
        return isinstance(value, list) and all(_fits(item, declared.value_type) for item in value)
    if kinds.is_boolean(declared) or isinstance(value, bool):
        return kinds.is_boolean(declared) and isinstance(value, bool)
    if kinds.is_integer(declared):
        return isinstance(value, int)
    if kinds.is_string(declared):
        return isinstance(value, str)
    return not isinstance(value, (dict, list))
