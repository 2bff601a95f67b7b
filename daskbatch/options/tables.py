"""What a text table is told to be: its separator, its encoding, its columns' types."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping

from daskbatch.errors import UsageError
from daskbatch.options.values import nearest
from daskbatch.store.inputs_types import USER_TYPES, arrow_type, plain_name

__all__ = ["column_names", "column_types", "separator_character", "text_encoding"]

_SEPARATOR_NAMES = {
    "comma": ",",
    "tab": "\t",
    "\\t": "\t",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
}
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "ascii", "latin-1", "cp1252")
"""The usual ones, for messages."""
_COMMA = re.compile(r",(?![^\[(<]*[\])>])")
"""A comma that stands in no bracket: ``timestamp[us, tz=UTC]`` is one type."""


def separator_character(value: object) -> str:
    """One ASCII character, or the name of one: tab, comma, semicolon, pipe, space."""
    text = value if isinstance(value, str) else ""
    character = _SEPARATOR_NAMES.get(text.lower(), text)
    if len(character) == 1 and character.isascii() and character not in '"\n\r\0':
        return character
    raise UsageError(
        "separator must be one ASCII character other than a quote or a newline, or one of"
        f" {', '.join(sorted(_SEPARATOR_NAMES))}, got {value!r}.{nearest(text, _SEPARATOR_NAMES)}"
    )


def text_encoding(value: object) -> str:
    """The codec's own name of an encoding that Python knows."""
    text = value if isinstance(value, str) else ""
    try:
        "a".encode(text)  # says no to codecs that are no text encodings, such as base64
        return codecs.lookup(text).name
    except (LookupError, ValueError):
        raise UsageError(
            "encoding must be a text encoding that Python knows, such as utf-8, utf-16, latin-1 or cp1252,"
            f" got {value!r}.{nearest(text.lower(), _ENCODINGS)}"
        ) from None


def column_names(value: object) -> tuple[str, ...]:
    """Different names, in the order given, from a list or from text such as ``"a,b"``.

    >>> column_names('id,"last, first"')
    ('id', 'last, first')
    """
    if isinstance(value, str):
        value = [name.strip() for name in next(csv.reader([value], skipinitialspace=True), [])]
    names = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"columns must be a list of names such as ['id', 'price'], got {value!r}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"columns must name a column once, got {twice[0]!r} twice. Next: leave one out.")
    return names


def column_types(value: object) -> tuple[tuple[str, str], ...]:
    """(column, type name) pairs from a dict or from ``"a=int64,b=string"``.

    >>> column_types({"id": int, "name": "str"})
    (('id', 'int64'), ('name', 'string'))
    """
    types: dict[str, str] = {}
    for column, given in _columns(value):
        word = _known_type(given)
        if word is None:
            raise UsageError(
                f"dtype of column {column!r} must be one of {', '.join(USER_TYPES)}, or another name of an"
                f" Arrow type, got {given!r}.{nearest(given.lower(), USER_TYPES)}"
            )
        if types.setdefault(column, word) != word:
            raise UsageError(f"dtype must name a column once, got {column!r} as {types[column]} and as {word}.")
    return tuple(types.items())


def _known_type(given: str) -> str | None:
    """The one name of a type, or None. pandas writes some of them with a capital: ``Int64``."""
    for word in (given, given.lower()):
        try:
            arrow_type(word)
        except ValueError:
            continue
        return plain_name(word)
    return None


def _columns(value: object) -> list[tuple[str, str]]:
    """(column, type as given) pairs. A column's name may hold ``=``, a type does not."""
    if isinstance(value, Mapping):
        return [(str(column), _type_name(given)) for column, given in value.items()]
    columns = []
    texts = _COMMA.split(value) if isinstance(value, str) else value
    for text in texts if isinstance(texts, (list, tuple)) else [texts]:
        column, equals, given = _halves(text) if isinstance(text, str) else ("", "", "")
        if not equals or not column:
            raise UsageError(
                'dtype must be given as a dict such as {"id": "int64"} or as text such as'
                f" id=int64,name=string, got {text!r}."
            )
        columns.append((column.strip(), given.strip()))
    return columns


def _halves(text: str) -> tuple[str, str, str]:
    """Column, ``"="`` and type; of a type the ``tz=`` is a part."""
    match = re.fullmatch(r"(.+?)(=)([^=]*(?:\[[^\]]*\])?)", text.strip(), re.DOTALL)
    return (match[1], match[2], match[3]) if match else ("", "", "")


def _type_name(given: object) -> str:
    """``int`` and ``numpy.float32`` by their names; a dtype or a text as text."""
    return given.__name__ if isinstance(given, type) else str(given)
