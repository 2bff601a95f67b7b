"""Rows of mini-batches and what a report says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from daskbatch.types import OPEN_END, MiniBatch

__all__ = ["answered", "count_items", "ended_streams", "find", "rest_of"]

Key = tuple[int, int]


def find(row: Sequence[MiniBatch], key: Key, rest: bool = False) -> MiniBatch:
    """The mini-batch of `key`; one of a stream is made from the stream's descriptor.

    Parameters
    ----------
    rest : bool
        It stands for all that follows it in its stream too, where that was wanted.
    """
    batch = row[_position(row, key)]
    if batch.stop != OPEN_END:
        return batch
    return batch._replace(index=key[1], start=0 if rest and batch.start == 0 else 1)


def _position(row: Sequence[MiniBatch], key: Key) -> int:
    """Where in `row` the mini-batch of `key` is, by itself or in a stream; it may hold some parts of one stream."""
    for position, batch in enumerate(row):
        if batch.key == key:
            return position
        in_stream = batch.stop == OPEN_END and batch.file == key[0] and batch.index <= key[1]
        if in_stream and (batch.start == 0 or key[1] < batch.index + batch.start):
            return position
    raise LookupError(f"mini-batch {key} is not in the row")


def answered(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> Iterable[Key]:
    """The keys of `row` that a report speaks of."""
    if report["last"] is None:
        return
    file, index = report["last"]
    position = _position(row, (file, index))
    for batch in row[:position]:
        if batch.stop != OPEN_END or batch.start:  # else: how far it goes is not known here
            yield batch.key
    for answer in range(row[position].index, index + 1):
        yield (file, answer)


def rest_of(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> list[MiniBatch]:
    """What of `row` a report leaves undone."""
    if report["whole"]:
        return []
    if report["last"] is None:
        return list(row)
    file, index = report["last"]
    failures = report["failures"]
    unreadable = bool(failures) and tuple(failures[-1]["key"]) == (file, index) and failures[-1].get("rest", False)
    position = _position(row, (file, index))
    batch, rest = row[position], list(row[position + 1 :])
    if batch.stop != OPEN_END or batch.start or unreadable:
        return rest
    return [batch._replace(index=index + 1), *rest]


def ended_streams(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> list[MiniBatch]:
    """The streams of `row` that have come to their end: nothing of them is left, nor to be read again."""
    if row[0].stop != OPEN_END:  # a row holds streams or no streams
        return []
    open_still = {batch.file for batch in rest_of(row, report)}
    open_still |= {failure["key"][0] for failure in report["failures"] if failure.get("rest", False)}
    return [batch for batch in row if batch.start == 0 and batch.file not in open_still]


def count_items(batch: MiniBatch) -> int | None:
    """Items of a mini-batch as far as its descriptor tells."""
    if batch.stop == 0:
        return len(batch.paths)
    return None
