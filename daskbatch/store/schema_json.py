"""The schema of JSON Lines, from samples. pyarrow's own guess takes texts that look like dates for dates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from daskbatch.errors import InputError
from daskbatch.store.inputs_types import arrow_type
from daskbatch.store.selection import refuse_missing_columns
from daskbatch.types import TableFormat

__all__ = ["json_schema"]

INT64 = 2**63


class _Kind:
    """What the values of one key have been so far."""

    def __init__(self) -> None:
        self.seen = 0
        self.kinds: set[str] = set()
        self.missing = False
        self.largest = 0
        self.past = False
        self.fields: dict[str, _Kind] = {}
        self.item: _Kind | None = None

    def add(self, value: Any) -> None:
        """Look at one value."""
        self.seen += 1
        if value is None:
            self.missing = True
        elif isinstance(value, bool):
            self.kinds.add("bool")
        elif isinstance(value, int):
            self.kinds.add("int64")
            self.largest = max(self.largest, abs(value))
            self.past |= not -INT64 <= value < INT64
        elif isinstance(value, float):
            self.kinds.add("float64")
        elif isinstance(value, str):
            self.kinds.add("string")
        elif isinstance(value, list):
            self.kinds.add("list")
            self.item = self.item or _Kind()
            for item in value:
                self.item.add(item)
        else:
            self.kinds.add("struct")
            for key, item in value.items():
                self.fields.setdefault(key, _Kind()).add(item)

    def name(self, nested: bool = False) -> str:
        """The name of the type that holds all values seen; within a list or struct a gap costs nothing."""
        if self.kinds == {"list"}:
            item = self.item.name(nested=True) if self.item else "string"
            return f"list<item: {item}>"
        if self.kinds == {"struct"} and self.fields:
            return "struct<" + ", ".join(f"{key}: {kind.name(nested=True)}" for key, kind in self.fields.items()) + ">"
        if self.kinds == {"bool"}:
            return "boolean" if self.missing and not nested else "bool"
        if self.kinds == {"float64"}:
            return "float64"
        if not self.kinds or not self.kinds <= {"int64", "float64"}:
            return "string"
        gaps = "float64" in self.kinds or (self.missing and not nested)
        if self.past or (gaps and self.largest > 2**53):
            return "string"
        return "float64" if gaps else "int64"


def json_schema(samples: Sequence[bytes], paths: Sequence[str], table: TableFormat) -> list[tuple[str, str]]:
    """(column, type) of all keys of all samples, in order of first appearance. Keys are optional.

    Where the table has a ``selection``, only of those; they may be keys that ``dtype`` names.
    """
    columns: dict[str, _Kind] = {}
    records = 0
    for sample, path in zip(samples, paths, strict=True):
        for line in filter(None, map(bytes.strip, sample.split(b"\n"))):
            records += 1
            for key, value in _record(line, path).items():
                columns.setdefault(key, _Kind()).add(value)
    if table.selection:
        refuse_missing_columns(table.selection, columns, paths[0], more=[name for name, _ in table.dtype])
        columns = {name: columns[name] for name in table.selection if name in columns}
    named = []
    for key, kind in columns.items():
        kind.missing |= kind.seen < records
        named.append((key, _told(key, kind.name())))
    return named


def _record(line: bytes, path: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}  # the run names it, as the failure of its mini-batch
    if isinstance(record, dict):
        return record
    raise InputError(f"{path} must have a JSON object on each line, got {line[:100]!r}.")


def _told(column: str, name: str) -> str:
    """`name`, where it can be read back."""
    try:
        arrow_type(name)
    except ValueError as error:
        raise InputError(
            f"inputs: the objects in column {column!r} have keys that cannot be told apart in a type: {error}."
            f" Next: read it as text, with dtype={ {column: 'string'}!r}"
        ) from None
    return name
