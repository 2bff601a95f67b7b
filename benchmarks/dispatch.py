"""No-op mini-batches a second: what the engines themselves cost.

daskbatch twice: a file a mini-batch, and a row of a table a mini-batch. Every contender writes a line for every
mini-batch. The bag is so much slower that it gets fewer; the rates compare.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import data
import harness
from models import noop

SCRIPT = Path(noop.__file__)


def count(small: bool) -> int:
    return 1_000 if small else 100_000


def bag_count(small: bool) -> int:
    return 200 if small else 2_000


def prepare(small: bool) -> None:
    data.empty_files(count(small))
    data.number_lines(count(small))


def files(small: bool) -> list[list[str]]:
    return [[str(path)] for path in sorted(data.empty_files(count(small)).iterdir())]


def write(out: Path, results: Iterable[list[int]]) -> int:
    return harness.write_rows(out / "predictions.csv", ["result"], iter(results))


def daskbatch_files(out: Path, small: bool) -> harness.Timing:
    return harness.daskbatch_timing(SCRIPT, data.empty_files(count(small)), out / "run", 1)


def daskbatch_rows(out: Path, small: bool) -> harness.Timing:
    return harness.daskbatch_timing(SCRIPT, data.number_lines(count(small)) / "numbers.csv", out / "run", "1rows")


def with_pool(out: Path, small: bool, chunksize: int = 1) -> harness.Timing:
    work = files(small)
    with harness.pool() as pool:
        begin = time.perf_counter()
        done = write(out, pool.imap(noop.run, work, chunksize))
        return harness.Timing(time.perf_counter() - begin, done)


def with_chunked_pool(out: Path, small: bool) -> harness.Timing:
    return with_pool(out, small, chunksize=100)


def with_bag(out: Path, small: bool) -> harness.Timing:
    import dask.bag as db

    work = files(small)[: bag_count(small)]
    with harness.local_cluster():
        begin = time.perf_counter()
        done = write(out, db.from_sequence(work, npartitions=len(work)).map(noop.run).compute())
        return harness.Timing(time.perf_counter() - begin, done)


def check(folders: Mapping[str, Path]) -> None:
    """Every contender wrote one zero a mini-batch."""
    sizes = {}
    for name, out in folders.items():
        lines = next(out.rglob("predictions.csv")).read_text().splitlines()
        if set(lines[1:]) != {"0"}:
            raise SystemExit(f"{name} wrote something else than zeros: {lines[:3]}")
        sizes[name] = len(lines)
    sizes.pop("dask.bag", None)
    if len(set(sizes.values())) != 1:
        raise SystemExit(f"the contenders wrote different numbers of lines: {sizes}")


BENCHMARK = harness.Benchmark(
    name="dispatch",
    title="dispatch: no-op mini-batches",
    unit="mini-batches",
    prepare=prepare,
    contenders={
        "daskbatch, files": daskbatch_files,
        "daskbatch, rows": daskbatch_rows,
        "pool": with_pool,
        "pool, chunksize 100": with_chunked_pool,
        "dask.bag": with_bag,
    },
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
