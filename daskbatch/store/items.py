"""Looking into what ``run()`` returned: items as rows and columns, missing values.

Runs in the runner's interpreter: standard library, Python 3.9. NumPy and pandas are not imported, but
asked for in `sys.modules`: an object of theirs cannot exist before they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from daskbatch.errors import ResultError

__all__ = ["PLAIN", "cell_text", "has_rows", "is_missing", "item_columns", "item_row", "loaded"]

PLAIN = frozenset({str, int, bool})
"""Types whose every value is its ``str``."""


def loaded(module: str, *names: str) -> tuple[Any, ...]:
    """Return types of a module that may not have been imported."""
    found = sys.modules.get(module)
    return tuple(t for t in (getattr(found, name, None) for name in names) if isinstance(t, type))


def item_row(item: Any) -> dict[str, Any]:
    """Return one item as column name -> value.

    >>> item_row(0.5), item_row({"a": 1}), item_row(("x", 2))
    ({'result': 0.5}, {'a': 1}, {'0': 'x', '1': 2})
    """
    if isinstance(item, Mapping):
        row = {key if type(key) is str else str(key): value for key, value in item.items()}
        if len(row) != len(item):
            raise ResultError(f"run() returned a dict with keys that are equal as text: {list(item)}")
        return row
    if isinstance(item, (list, tuple)):
        return {str(i): value for i, value in enumerate(item)}
    if isinstance(item, loaded("pandas", "Series")):
        return item_row(dict(item.items())) if item.index.is_unique else item_row(item.tolist())
    if isinstance(item, loaded("numpy", "ndarray")):
        return item_row(list(item)) if item.ndim else {"result": item[()]}
    if isinstance(item, loaded("pandas", "DataFrame")):
        raise ResultError("run() returned a list of DataFrames. Return one DataFrame: pandas.concat(the_list).")
    return {"result": item}


def item_columns(items: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the items as columns, in order of first appearance; None where an item has no value."""
    rows = [item_row(item) for item in items]
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}


def has_rows(types: set[type]) -> bool:
    """Tell whether any of these types becomes columns of its own rather than ``result``."""
    row_types = (Mapping, list, tuple, *loaded("pandas", "Series", "DataFrame"), *loaded("numpy", "ndarray"))
    return any(issubclass(t, row_types) for t in types)


def cell_text(value: Any) -> str:
    """Return a value as a text format writes it: blank for None, NaN and their relatives."""
    if type(value) in PLAIN:
        return str(value)
    if value is None:
        return ""
    if type(value) is float:
        return str(value) if value == value else ""
    if isinstance(value, loaded("numpy", "ndarray")):
        return str(value.tolist())
    return "" if is_missing(value) else str(value)


def is_missing(value: Any) -> bool:
    """Tell NaN, NaT and NA from values, without importing who made them."""
    if value is None:
        return True
    if type(value).__name__ == "NAType":
        return True
    try:
        return bool(value != value)
    except Exception:  # arrays and anything else that has no truth value is no missing value
        return False
