"""Throughput against the size of a mini-batch: tables by bytes, pictures by how many; cheap numpy models.

Every contender is daskbatch. What a mini-batch costs shows where the sizes are small; memory and the tail where they
are large.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import data
import harness
from models import linear, pixels

TABLES = ("1MB", "64KB", "256KB", "4MB", "16MB")
"""The default comes first: ratios are to it."""
PICTURES = (10, 1, 100, 1_000)


def table(small: bool) -> Path:
    return data.tables(2, 500_000) if small else data.tables(8, 32_000_000)


def with_table(out: Path, small: bool, size: str) -> harness.Timing:
    megabytes = max(1, sum(path.stat().st_size for path in table(small).glob("*.csv")) // 1_000_000)
    return harness.daskbatch_timing(Path(linear.__file__), table(small), out / "run", size, megabytes)


def pictures(small: bool) -> Path:
    return data.pictures(200 if small else 10_000)


def with_pictures(out: Path, small: bool, size: int) -> harness.Timing:
    folder = pictures(small)
    count = sum(1 for _ in folder.iterdir())
    return harness.daskbatch_timing(Path(pixels.__file__), folder, out / "run", size, count)


def check(folders: Mapping[str, Path]) -> None:
    """Compare all rows, in order. BLAS adds in another order where a mini-batch has another length."""
    import pandas as pd

    frames = [pd.read_csv(out / "run" / "predictions.csv") for out in folders.values()]
    for frame in frames:
        pd.testing.assert_frame_equal(frame, frames[0], rtol=1e-12)


BENCHMARKS = (
    harness.Benchmark(
        name="mini-batch-bytes",
        title="throughput of tables against the size of a mini-batch",
        unit="MB",
        prepare=table,
        contenders={size: partial(with_table, size=size) for size in TABLES},
        check=check,
    ),
    harness.Benchmark(
        name="mini-batch-files",
        title="throughput of pictures against how many a mini-batch has",
        unit="pictures",
        prepare=pictures,
        contenders={f"{size:,}": partial(with_pictures, size=size) for size in PICTURES},
        check=check,
    ),
)

if __name__ == "__main__":
    harness.main(__file__, *BENCHMARKS)
