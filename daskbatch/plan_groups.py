"""One mini-batch for each combination of the values that paths say of some keys. Knows no Dask."""

from __future__ import annotations

import json
import mmap
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.store.partition_format import PartitionFormat
from daskbatch.types import NO_ROW, MiniBatch

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["cut_groups", "group_plan"]


def group_plan(path: Path, form: PartitionFormat, keys: Sequence[str], counts: Sequence[int]) -> int:
    """Write a plan file again: a line for each combination, in the order in which they first appear.

    In memory are some 24 bytes for each file, and each combination once.

    Parameters
    ----------
    path
        The plan file, a line for each file.
    form
        What paths say.
    keys
        Some of its names.
    counts
        Files of each dataset: combinations are told apart in each.

    Returns
    -------
    int
        The number of combinations.

    Raises
    ------
    InputError
        A path is not of the format.
    """
    import numpy as np

    numbers, places = array("I"), array("Q", [0])
    known: dict[tuple[Any, ...], int] = {}
    with path.open("rb") as file:
        for dataset, count in enumerate(counts):
            for line in islice(file, count):
                values = form.values(json.loads(line)[0])
                numbers.append(known.setdefault((dataset, *[values[key] for key in keys]), len(known)))
                places.append(places[-1] + len(line))
    found = np.frombuffer(numbers, dtype=f"u{numbers.itemsize}")
    order = np.argsort(found, kind="stable")
    ends = (np.flatnonzero(np.diff(found[order])) + 1).tolist()
    part = path.with_name(f"{path.name}.groups.tmp")
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines,
            part.open("wb") as grouped,
        ):
            for begin, end in pairwise([0, *ends, len(order)]):
                grouped.write(b"[%b]\n" % b",".join(_lines(lines, places, order[begin:end])))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return len(known)


def _lines(lines: mmap.mmap, places: Sequence[int], numbers: Numbers) -> Iterator[bytes]:
    """The lines of these numbers, without their newlines."""
    for number in numbers.tolist():
        yield lines[places[number] : places[number + 1] - 1]


def cut_groups(path: str, stop: int) -> Iterator[MiniBatch]:
    """The mini-batches of a plan file that `group_plan` has written.

    Parameters
    ----------
    path
        The plan file.
    stop
        That of each: 0 for files, `WHOLE_FILES` for tables.
    """
    first = 0
    with open(path, encoding="ascii") as file:
        for line in file:
            entries = json.loads(line)
            paths = tuple([entry[0] for entry in entries])
            stamps = tuple([stamp for entry in entries for stamp in entry[1:3]])
            yield MiniBatch(first, 0, paths, 0, 0, stop, NO_ROW, stamps=stamps)
            first += len(paths)
