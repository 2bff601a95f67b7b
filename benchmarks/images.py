"""10,000 PNG files of 28x28, 10 a mini-batch, a cheap numpy model, one CSV file out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import data
import harness
from models import pixels

SCRIPT = Path(pixels.__file__)
COLUMNS = ("file", "digit", "score")
SIZE = 10


def folder(small: bool) -> Path:
    return data.pictures(200 if small else 10_000)


def mini_batches(small: bool) -> list[list[str]]:
    paths = sorted(str(path) for path in folder(small).iterdir())
    return [paths[i : i + SIZE] for i in range(0, len(paths), SIZE)]


def rows(results: Iterable[list[dict[str, object]]]) -> Iterator[Sequence[object]]:
    for result in results:
        for item in result:
            yield [item[column] for column in COLUMNS]


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    return harness.daskbatch_timing(SCRIPT, folder(small), out / "run", SIZE)


def with_pool(out: Path, small: bool) -> harness.Timing:
    work = mini_batches(small)
    with harness.pool() as pool:
        begin = time.perf_counter()
        harness.write_rows(out / "predictions.csv", COLUMNS, rows(pool.imap(pixels.run, work)))
        return harness.Timing(time.perf_counter() - begin, len(work))


def with_bag(out: Path, small: bool) -> harness.Timing:
    import dask.bag as db

    work = mini_batches(small)
    with harness.local_cluster():
        begin = time.perf_counter()
        results = db.from_sequence(work, npartitions=len(work)).map(pixels.run).compute()
        harness.write_rows(out / "predictions.csv", COLUMNS, rows(results))
        return harness.Timing(time.perf_counter() - begin, len(work))


def check(folders: Mapping[str, Path]) -> None:
    """Compare all rows, in order."""
    import pandas as pd

    frames = {name: pd.read_csv(next(out.rglob("predictions.csv"))) for name, out in folders.items()}
    for frame in frames.values():
        pd.testing.assert_frame_equal(frame, next(iter(frames.values())))


BENCHMARK = harness.Benchmark(
    name="images-numpy",
    title="images: 10,000 PNG files of 28x28, 10 a mini-batch",
    unit="mini-batches",
    prepare=folder,
    contenders={"daskbatch": with_daskbatch, "pool": with_pool, "dask.bag": with_bag},
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
