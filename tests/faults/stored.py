"""Results in segments, as a slot writes them."""

from __future__ import annotations

from typing import Any

from daskbatch.store.formats import format_result
from daskbatch.store.segments import SegmentWriter
from daskbatch.types import Record

__all__ = ["append"]


def append(writer: SegmentWriter, number: int, result: Any, suffix: str) -> None:
    """Write what ``run()`` returned for mini-batch ``(number // 3, number % 3)``."""
    payload = format_result(result, suffix, "append_row")
    record = Record(number // 3, number % 3, len(result), payload.returned, payload.rows, 0, 0, 0, 0.5)
    writer.append(record, payload.data, payload.columns)
