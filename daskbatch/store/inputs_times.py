"""Points in time that are written in a format of their own, such as ``31/12/2020``.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["read_times"]


def read_times(texts: Any, formats: Collection[str], unit: str, missing: Collection[str]) -> tuple[Any, Any]:
    """A column of texts as timestamps, by the first format that fits each.

    Parameters
    ----------
    texts
        An Arrow column of strings.
    formats
        As for `time.strptime`.
    unit
        ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.
    missing
        Texts that mean no value.

    Returns
    -------
    column, misfit
        The timestamps; and the first text that is of no format, or None.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(texts)
    blank = pc.fill_null(pc.is_in(trimmed, value_set=pa.array(list(missing), pa.string())), True)
    values = pc.if_else(blank, pa.scalar(None, trimmed.type), trimmed)
    times = pa.nulls(len(values), pa.timestamp(unit))
    for text in formats:
        times = pc.coalesce(times, pc.strptime(values, format=text, unit=unit, error_is_null=True))
    wrong = pc.and_(pc.is_null(times), pc.is_valid(values))
    place = pc.index(wrong, True).as_py()
    return times, None if place < 0 else texts[place].as_py()
