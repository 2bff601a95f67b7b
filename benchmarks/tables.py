"""40 CSV files, 120 MB, 1 MB mini-batches, a cheap numpy model, one CSV file out.

The pool's loop is what people write by hand: a file per call, read in pieces of 1 MB, a part written per file, the
parts joined at the end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import data
import harness
from models import linear

SCRIPT = Path(linear.__file__)
ROWS_PER_MB = 14_400
"""Rows of these files that make 1 MB."""


def folder(small: bool) -> Path:
    return data.tables(3, 300_000) if small else data.tables(40, 3_000_000)


def megabytes(small: bool) -> int:
    """Return the size of the input in MB, the unit of work here: the contenders cut it at different places."""
    return max(1, sum(path.stat().st_size for path in folder(small).glob("*.csv")) // 1_000_000)


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    return harness.daskbatch_timing(SCRIPT, folder(small), out / "run", "1MB", megabytes(small))


def score_file(parts: Path, path: Path) -> Path:
    import pandas as pd

    part = parts / path.name
    with part.open("w") as file:
        for frame in pd.read_csv(path, chunksize=ROWS_PER_MB):
            linear.run(frame).to_csv(file, header=False, index=False)
    return part


def with_pool(out: Path, small: bool) -> harness.Timing:
    files = sorted(folder(small).glob("*.csv"))
    with harness.pool() as pool:
        begin = time.perf_counter()
        with (out / "predictions.csv").open("wb") as target:
            target.write(b"id,score\n")
            for part in pool.imap(partial(score_file, out), files):
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
                part.unlink()
        return harness.Timing(time.perf_counter() - begin, megabytes(small))


def with_dataframe(out: Path, small: bool) -> harness.Timing:
    import dask.dataframe as dd
    import pandas as pd

    meta = pd.DataFrame({"id": pd.Series(dtype="int64"), "score": pd.Series(dtype="float64")})
    with harness.local_cluster():
        begin = time.perf_counter()
        frame = dd.read_csv(str(folder(small) / "*.csv"), blocksize="1MB")
        scored = frame.map_partitions(linear.run, meta=meta)
        scored.to_csv(str(out / "predictions.csv"), single_file=True, index=False)
        return harness.Timing(time.perf_counter() - begin, megabytes(small))


def check(folders: Mapping[str, Path]) -> None:
    """Compare all rows, in order."""
    import pandas as pd

    frames = {name: pd.read_csv(next(out.rglob("predictions.csv"))) for name, out in folders.items()}
    expected = next(iter(frames.values()))
    for frame in frames.values():
        pd.testing.assert_frame_equal(frame, expected, rtol=1e-12)


BENCHMARK = harness.Benchmark(
    name="tables-csv",
    title="tables: 40 CSV files, 120 MB, mini-batches of 1 MB",
    unit="MB",
    prepare=folder,
    contenders={"daskbatch": with_daskbatch, "pandas in a pool": with_pool, "dask.dataframe": with_dataframe},
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
