"""No-op mini-batches a second: what the engines themselves cost.

daskbatch twice: a file a mini-batch, and a row of a table a mini-batch. Every contender writes a line for every
mini-batch. Peers that are much slower get fewer; the rates compare. Dask and Ray Data know no smaller thing to
schedule, retry or blame than a partition and a block: "a block each" gives each mini-batch its own, as the bag does.
Where Ray Data, Spark and Daft cut larger ones into batches of one row, a mini-batch is nothing they could retry.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import agreement
import data
import harness
from models import noop
from peers import daft_frames, ray_data, spark

SCRIPT = Path(noop.__file__)


def count(small: bool) -> int:
    return 1_000 if small else 100_000


FEWER = {"dask.bag": 2_000, "Ray Data, a block each": 500, "Ray Data": 20_000, "Spark": 5_000, "Daft": 20_000}
"""Mini-batches of the contenders that get fewer."""
FEWER_OF_SMALL = 200
"""Mini-batches of each of them where the data is small."""


def fewer(name: str, small: bool) -> int:
    return FEWER_OF_SMALL if small else FEWER[name]


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


def with_joblib(out: Path, small: bool) -> harness.Timing:
    from joblib import Parallel, delayed

    work = files(small)
    begin = time.perf_counter()
    parallel = Parallel(n_jobs=harness.SLOTS, return_as="generator")
    done = write(out, parallel(delayed(noop.run)(paths) for paths in work))
    return harness.Timing(time.perf_counter() - begin, done)


def with_bag(out: Path, small: bool) -> harness.Timing:
    import dask.bag as db

    work = files(small)[: fewer("dask.bag", small)]
    with harness.local_cluster():
        begin = time.perf_counter()
        done = write(out, db.from_sequence(work, npartitions=len(work)).map(noop.run).compute())
        return harness.Timing(time.perf_counter() - begin, done)


def peer(
    package: str, name: str, score: Callable[[Path, list[str], str], float], program: str = ""
) -> tuple[str, harness.Peer]:
    """Return a peer under its name; `score` takes paths, each a mini-batch, and returns its run phase's seconds."""

    def contend(out: Path, small: bool) -> harness.Timing:
        work = files(small)[: fewer(name, small)]
        seconds = score(out, [path for paths in work for path in paths], "noop")
        return harness.Timing(seconds, len(work))

    return name, harness.Peer(package, contend, program)


def check(folders: Mapping[str, Path]) -> None:
    """Every contender wrote one zero a mini-batch."""
    sizes = {}
    for name, out in folders.items():
        found = agreement.rows_of(out)["result"]
        if set(found) != {0}:
            raise SystemExit(f"{name} wrote something else than zeros: {found[:3]}")
        told = json.loads((out / "timing.json").read_text())["work"]
        if len(found) != told:
            raise SystemExit(f"{name} wrote {len(found)} lines for {told} mini-batches")
        sizes[name] = told
    same = {size for name, size in sizes.items() if name not in FEWER}
    if len(same) > 1:
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
        "joblib": harness.Peer("joblib", with_joblib),
        "dask.bag": with_bag,
        **dict(
            [
                peer("ray", "Ray Data, a block each", ray_data.score_blocks),
                peer("ray", "Ray Data", ray_data.score_rows),
                peer("pyspark", "Spark", spark.score_rows, "java"),
                peer("daft", "Daft", daft_frames.score_rows),
            ]
        ),
    },
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
