"""What is to be done with a folder of pictures, and the contenders that do it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
from models.loaded import loaded

__all__ = ["COLUMNS", "PictureWork", "with_bag", "with_joblib", "with_partitions", "with_pool"]

COLUMNS = ("file", "digit", "score")
PARTITIONS = 20
"""For each slot: enough that the last one is not long waited for."""


@dataclass(frozen=True)
class PictureWork:
    """Score all pictures of a folder, into CSV."""

    source: Path
    model: str
    """A module of ``models``: its ``run`` takes paths; its ``score`` paths and an array of pictures."""
    size: int
    """Pictures of a mini-batch."""

    @property
    def mini_batches(self) -> list[list[str]]:
        """All paths, in order, a list a mini-batch."""
        paths = sorted(str(path) for path in self.source.iterdir())
        return [paths[i : i + self.size] for i in range(0, len(paths), self.size)]


def _score(paths: list[str], model: str) -> Any:
    return loaded(model).run(paths)


def _make_ready(model: str) -> None:
    loaded(model)
    time.sleep(0.1)  # or one process of a pool would be faster than the other, and take its call too


def _rows(scored: Iterable[list[dict[str, object]]]) -> Iterator[Sequence[object]]:
    for result in scored:
        for item in result:
            yield [item[column] for column in COLUMNS]


def _write(out: Path, scored: Iterable[list[dict[str, object]]]) -> None:
    harness.write_rows(out / "predictions.csv", COLUMNS, _rows(scored))


def with_pool(out: Path, work: PictureWork) -> harness.Timing:
    """By hand: a mini-batch a call."""
    batches = work.mini_batches
    with harness.pool() as pool:
        pool.map(_make_ready, [work.model] * harness.SLOTS, chunksize=1)  # daskbatch's run phase begins then too
        begin = time.perf_counter()
        _write(out, pool.imap(partial(_score, model=work.model), batches))
        return harness.Timing(time.perf_counter() - begin, len(batches))


def with_joblib(out: Path, work: PictureWork) -> harness.Timing:
    """By hand: as joblib's documentation has it; the start of its processes counts."""
    from joblib import Parallel, delayed

    batches = work.mini_batches
    begin = time.perf_counter()
    parallel = Parallel(n_jobs=harness.SLOTS, return_as="generator")
    _write(out, parallel(delayed(_score)(paths, work.model) for paths in batches))
    return harness.Timing(time.perf_counter() - begin, len(batches))


def with_bag(out: Path, work: PictureWork, partitions: int | None = None) -> harness.Timing:
    """Use a Dask bag, by default with a partition a mini-batch: what Dask schedules, retries and blames."""
    import dask.bag as db

    batches = work.mini_batches
    with harness.local_cluster():
        begin = time.perf_counter()
        bag = db.from_sequence(batches, npartitions=min(partitions or len(batches), len(batches)))
        _write(out, bag.map(_score, work.model).compute())
        return harness.Timing(time.perf_counter() - begin, len(batches))


def with_partitions(out: Path, work: PictureWork) -> harness.Timing:
    """Use a Dask bag as its documentation has it: few partitions, of many mini-batches each."""
    return with_bag(out, work, PARTITIONS * harness.SLOTS)
