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
    for batch in row:
        if batch.stop == OPEN_END and batch.file == key[0]:
            return batch._replace(index=key[1], start=0 if rest and batch.start == 0 else 1)
        if batch.key == key:
            return batch
    raise LookupError(f"mini-batch {key} is not in the row")


def answered(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> Iterable[Key]:
    """The keys of `row` that a report speaks of."""
    if report["last"] is None:
        return
    last = tuple(report["last"])
    for batch in row:
        if batch.stop == OPEN_END:
            end = last[1] if batch.file == last[0] else batch.index - 1
            for index in range(batch.index, end + 1):
                yield (batch.file, index)
        else:
            yield batch.key
        if batch.file == last[0] and (batch.stop == OPEN_END or batch.index == last[1]):
            return


def rest_of(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> list[MiniBatch]:
    """What of `row` a report leaves undone."""
    if report["whole"]:
        return []
    if report["last"] is None:
        return list(row)
    file, index = report["last"]
    failures = report["failures"]
    unreadable = bool(failures) and tuple(failures[-1]["key"]) == (file, index) and failures[-1].get("rest", False)
    for position, batch in enumerate(row):
        if batch.file != file:
            continue
        if batch.stop == OPEN_END:
            rest = list(row[position + 1 :])
            return rest if batch.start or unreadable else [batch._replace(index=index + 1), *rest]
        if batch.index == index:
            return list(row[position + 1 :])
    raise LookupError(f"mini-batch {(file, index)} is not in the row")


def ended_streams(row: Sequence[MiniBatch], report: Mapping[str, Any]) -> list[int]:
    """Files of `row` whose streams have come to their end: nothing of them is left, nor to be read again."""
    if row[0].stop != OPEN_END:  # a row holds streams or no streams
        return []
    open_still = {batch.file for batch in rest_of(row, report)}
    open_still |= {failure["key"][0] for failure in report["failures"] if failure.get("rest", False)}
    return [batch.file for batch in row if batch.start == 0 and batch.file not in open_still]


def count_items(batch: MiniBatch) -> int | None:
    """Items of a mini-batch as far as its descriptor tells."""
    if batch.stop == 0:
        return len(batch.paths)
    return None
