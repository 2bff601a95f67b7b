"""The result of one ``run()`` call becomes bytes; the suffix of the output's name chooses how.

Runs in the runner's interpreter: standard library, Python 3.9. A result that is a list or an array
is formatted without pandas or Arrow; what needs them goes to `daskbatch.store.tables`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from daskbatch.errors import ResultError
from daskbatch.store.items import PLAIN, cell_text, has_rows, item_columns, loaded
from daskbatch.store.json_lines import json_lines

__all__ = ["Payload", "array_items", "encode", "format_result", "join_rows", "quote_row", "signature", "suffix_of"]

_EMPTY = b""
_NUMBERS = PLAIN | {float}
_SPECIAL = {",": re.compile('[,"\r\n]'), " ": re.compile('[ "\r\n]')}


class Payload(NamedTuple):
    """What one mini-batch adds to the combined result."""

    data: bytes
    """Text without header, or an Arrow IPC stream for ``.parquet``."""
    returned: int
    """Elements that ``run()`` returned."""
    rows: int
    """Lines or rows that `data` adds to the combined result."""
    columns: str
    """JSON text of ``[[name, type], ...]``; types are only given for ``.parquet``. Empty without
    rows, and for ``.txt`` and ``.jsonl``, which have no header."""


def suffix_of(name: str) -> str:
    """Return which format the output's file name asks for.

    >>> suffix_of("predictions.CSV"), suffix_of("parallel_run_step.txt"), suffix_of("scores")
    ('.csv', '.txt', '.txt')
    """
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in (".csv", ".jsonl", ".parquet") else ".txt"


def format_result(result: Any, suffix: str, action: str) -> Payload:
    """Count and format what ``run()`` returned.

    Parameters
    ----------
    result
        A list, tuple, NumPy array, pandas Series or DataFrame.
    suffix
        As `suffix_of` returns it.
    action
        ``"append_row"``, or ``"summary_only"``: count and write nothing.

    Raises
    ------
    ResultError
        The result is of another type, or something in it cannot be written.
    """
    kind = _kind(result)
    returned = len(result)
    if action == "summary_only" or returned == 0:
        return Payload(_EMPTY, returned, 0, "")
    if suffix == ".parquet" or kind in ("frame", "series"):
        from daskbatch.store import tables

        if suffix == ".parquet":
            return tables.parquet_payload(result, kind)
        if suffix in (".csv", ".jsonl") or kind == "frame":
            return tables.text_payload(result, kind, suffix)
        return _format_items(list(result), suffix)
    return _format_items(array_items(result) if kind == "array" else result, suffix)


def _format_items(items: Sequence[Any], suffix: str) -> Payload:
    if suffix == ".csv":
        text, columns = _csv(items)
        return Payload(encode(text), len(items), len(items), columns)
    if suffix == ".jsonl":
        return Payload(json_lines(items), len(items), len(items), "")
    text = "\n".join(_lines(items)) + "\n"
    return Payload(encode(text), len(items), text.count("\n"), "")


# What was returned


def _kind(result: Any) -> str:
    if isinstance(result, (list, tuple)):
        return "list"
    if isinstance(result, loaded("pandas", "DataFrame")):
        return "frame"
    if isinstance(result, loaded("pandas", "Series")):
        return "series"
    got = type(result).__name__
    if isinstance(result, loaded("numpy", "ndarray")):
        if result.ndim:
            return "array"
        got = "an array without dimensions"
    message = f"run() must return a list or a DataFrame, it returned {got}"
    if result is not None:
        message += ". Allowed are list, tuple, NumPy array, pandas Series, DataFrame and generators."
    raise ResultError(message)


def array_items(array: Any) -> Sequence[Any]:
    """Return an array's items; Python numbers only where they print as the array's would."""
    if array.dtype.names:
        return [dict(zip(array.dtype.names, row)) for row in array.tolist()]
    if array.ndim == 1 and (array.dtype.kind in "iubU" or array.dtype == "float64"):
        items: list[Any] = array.tolist()
        return items
    return list(array)


@lru_cache(maxsize=256)
def signature(names: tuple[str, ...], types: tuple[str, ...] = ()) -> str:
    """Return the JSON text of a column signature."""
    pairs = [[name, types[i] if types else ""] for i, name in enumerate(names)]
    return json.dumps(pairs, separators=(",", ":"))


# Text


def encode(text: str) -> bytes:
    """Return UTF-8; file names that are not UTF-8 come out as the bytes they are on disk."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise ResultError(f"run() returned text that is no valid Unicode: {error}") from None


def _lines(items: Sequence[Any]) -> list[str]:
    """Return ``str(item)`` each; but an array stays one line, and whole, however long it is."""
    arrays = loaded("numpy", "ndarray")
    if not arrays or not any(issubclass(t, arrays) for t in set(map(type, items))):
        return list(map(str, items))
    whole = {"max_line_width": sys.maxsize, "threshold": sys.maxsize}
    to_text = sys.modules["numpy"].array2string
    return [to_text(item, **whole).replace("\n", "") if isinstance(item, arrays) else str(item) for item in items]


def quote_row(cells: Sequence[str], separator: str) -> str:
    """Return one line, quoted where needed, without its newline.

    A blank line would not be read back as a row, so a lone empty cell is written as ``""``.
    A carriage return is quoted too: readers take it for a line's end, and Python's csv module
    before 3.13 would not quote it.
    """
    if len(cells) == 1 and not cells[0]:
        return '""'
    special = _SPECIAL[separator].search
    return separator.join([f'"{c.replace(chr(34), chr(34) * 2)}"' if special(c) else c for c in cells])


def join_rows(rows: Sequence[Sequence[str]], width: int, separator: str) -> str:
    """Return lines of equal width. Most text needs no quotes, and one look at it all is cheapest."""
    text = "\n".join([separator.join(row) for row in rows]) + "\n"
    if (
        '"' not in text
        and "\r" not in text
        and text.count("\n") == len(rows)
        and text.count(separator) == len(rows) * (width - 1)
        and not (width == 1 and (text[0] == "\n" or "\n\n" in text))
    ):
        return text
    return "\n".join([quote_row(row, separator) for row in rows]) + "\n"


def _join_cells(cells: Sequence[str]) -> str:
    """Return lines of one cell each: what `join_rows` does, without a list for each."""
    text = "\n".join(cells) + "\n"
    plain = '"' not in text and "," not in text and "\r" not in text and text.count("\n") == len(cells)
    return text if plain and "" not in cells else join_rows([(cell,) for cell in cells], 1, ",")


def _csv(items: Sequence[Any]) -> tuple[str, str]:
    types = set(map(type, items))
    if types <= PLAIN:
        cells = list(map(str, items))
    elif types <= _NUMBERS:
        cells = [str(item) if item == item else "" for item in items]
    elif not has_rows(types):
        cells = list(map(cell_text, items))
    else:
        columns = item_columns(items)
        if not columns:
            raise ResultError("run() returned items without any column, such as {} or [].")
        rows = list(zip(*[map(cell_text, values) for values in columns.values()]))
        return join_rows(rows, len(columns), ","), signature(tuple(columns))
    return _join_cells(cells), signature(("result",))
