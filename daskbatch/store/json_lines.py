"""JSON Lines: one object a line, whatever ``run()`` returned.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from daskbatch.errors import ResultError
from daskbatch.store.items import has_rows, is_missing, item_row, loaded

__all__ = ["json_bytes", "json_lines", "json_text"]


def _json_default(value: Any) -> Any:
    if isinstance(value, loaded("numpy", "ndarray")):
        return [_json_number(v) for v in value] if value.ndim else _json_number(value[()])
    if isinstance(value, loaded("numpy", "generic")):
        return _json_number(value)
    if is_missing(value):
        return None
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise ResultError(
        f"run() returned a {type(value).__name__}, which JSON cannot hold. "
        "Return numbers, strings, booleans, None, lists and dicts of them."
    )


def _json_number(value: Any) -> Any:
    """Return a NumPy scalar as Python's, float32 by the digits that it prints."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "f" and value.dtype.itemsize < 8:
        return float(str(value))
    if kind in "mM" and kind:
        return None if value != value else str(value)
    return value.item() if kind and not getattr(value, "ndim", 0) else value


def _json_clean(value: Any) -> Any:
    """Return a value that JSON can hold: null for NaN and infinities, text for keys."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {k if isinstance(k, str) else str(k): _json_clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_clean(v) for v in value]
    return _json_clean(_json_default(value))


_encode_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_default
).encode


def json_text(value: Any) -> str:
    """Return a value as JSON; null where JSON has no number for it.

    Raises
    ------
    ResultError
        Naming the type that JSON cannot hold.
    """
    try:
        return _encode_json(value)
    except (TypeError, ValueError):
        pass  # NaN, or a key that is no text: rare enough to be looked for only now
    try:
        return _encode_json(_json_clean(value))
    except RecursionError:
        raise ResultError("run() returned an item that contains itself.") from None


def json_bytes(line: str) -> bytes:
    """Return a line's bytes; JSON must be UTF-8, so what is not goes as escapes."""
    try:
        return line.encode()
    except UnicodeEncodeError:
        return "".join(c if c < "\ud800" or c > "\udfff" else f"\\u{ord(c):04x}" for c in line).encode()


def json_lines(items: Sequence[Any]) -> bytes:
    """Format a list of items."""
    if has_rows(set(map(type, items))):
        lines = [json_text(item_row(item)) for item in items]
    else:
        lines = [f'{{"result":{json_text(item)}}}' for item in items]
    return json_bytes("\n".join(lines) + "\n")
