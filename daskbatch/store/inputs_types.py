"""Names of column types: what people write, what Arrow calls it, the ``dtype=`` to paste.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "FORMAT_MARK",
    "USER_TYPES",
    "arrow_type",
    "column_names",
    "dtype_hint",
    "formats_of",
    "name_of",
    "plain_name",
    "with_formats",
]

FORMAT_MARK = "|"
"""Between the formats of a point in time."""

USER_TYPES = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float32",
    "float64",
    "bool",
    "string",
    "str",
    "object",
    "datetime64[ns]",
)
"""What a user may write as a column's type; Arrow's names of the same and its neighbours are taken too."""

_ALIASES = {
    "int": "int64",
    "float": "float64",
    "double": "float64",
    "str": "string",
    "object": "string",
    "datetime64[ns]": "timestamp[ns]",
    "datetime64[us]": "timestamp[us]",
    "datetime64[ms]": "timestamp[ms]",
    "datetime64[s]": "timestamp[s]",
}
_ARROW_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}
# Arrow's own names, whose "float" has 32 bits; in what users write, as in pandas, it has 64.
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")
_FORMATTED = re.compile(r"timestamp\[(s|ms|us|ns), format=(.+)\]", re.DOTALL)
_DECIMAL = re.compile(r"decimal(128|256)?\((\d+), (-?\d+)\)")
_NESTED = re.compile(r"(struct|list|large_list)<(.*)>", re.DOTALL)


def plain_name(name: str) -> str:
    """One name for each type: ``"str"`` is ``"string"``, ``"double"`` is ``"float64"``."""
    return _ALIASES.get(name, name)


def name_of(kind: Any) -> str:
    """The name of an Arrow type, such that `arrow_type` gives the type again where it can."""
    return _ARROW_NAMES.get(str(kind), str(kind))


def arrow_type(name: str) -> Any:
    """The Arrow type that `name` stands for.

    ``"boolean"``, after pandas' name, is Arrow's bool that may be missing; plain ``"bool"`` may not.

    Raises
    ------
    ValueError
        Where there is no such type, or its name does not say all of it.
    """
    import pyarrow as pa

    name = plain_name(name)
    if name == "boolean":
        return pa.bool_()
    if match := _FORMATTED.fullmatch(name):
        return pa.timestamp(match[1])
    if match := _ZONED.fullmatch(name):
        return pa.timestamp(match[1], tz=match[2])
    if match := _DECIMAL.fullmatch(name):
        make = pa.decimal256 if match[1] == "256" else pa.decimal128
        return make(int(match[2]), int(match[3]))
    if match := _NESTED.fullmatch(name):
        fields = [_field(part) for part in _split(match[2])]
        if match[1] == "struct":
            return pa.struct(fields)
        return (pa.list_ if match[1] == "list" else pa.large_list)(fields[0])
    return pa.type_for_alias(name)


def with_formats(unit: str, formats: Iterable[str]) -> str:
    """The type of points in time that delimited text writes in one of these formats.

    >>> with_formats("us", ["%d/%m/%Y"])
    'timestamp[us, format=%d/%m/%Y]'
    """
    return f"timestamp[{unit}, format={FORMAT_MARK.join(formats)}]"


def formats_of(name: str) -> tuple[str, list[str]] | None:
    """Unit and formats of a type that `with_formats` made; None for any other."""
    match = _FORMATTED.fullmatch(name)
    return (match[1], match[2].split(FORMAT_MARK)) if match else None


def _field(text: str) -> Any:
    import pyarrow as pa

    name, colon, kind = text.partition(": ")
    if not colon:
        raise ValueError(f"no type in {text!r}")
    nullable = not kind.endswith(" not null")
    kind = kind if nullable else kind[: -len(" not null")]
    return pa.field(name, arrow_type(_ARROW_NAMES.get(kind, kind)), nullable)


def _split(text: str) -> list[str]:
    """Parts between the commas that stand in no inner bracket."""
    parts, depth, begin = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "<([") - (character in ">)]")
        if character == "," and depth == 0:
            parts.append(text[begin:place].strip())
            begin = place + 1
    parts.append(text[begin:].strip())
    return [part for part in parts if part]


def column_names(fields: Iterable[str]) -> tuple[str, ...]:
    """Names from the fields of a header, made unique and non-empty in pandas' way.

    >>> column_names(["", "a", "a"])
    ('Unnamed: 0', 'a', 'a.1')
    """
    names: dict[str, None] = {}
    for place, field in enumerate(fields):
        wanted = name = field or f"Unnamed: {place}"
        count = 0
        while name in names:
            count += 1
            name = f"{wanted}.{count}"
        names[name] = None
    return tuple(names)


def dtype_hint(types: Iterable[tuple[str, str]]) -> str:
    """What to paste: ``dtype={'id': 'string'}``."""
    return f"dtype={dict(types)!r}"
