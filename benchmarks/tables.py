"""40 CSV files, 120 MB, 1 MB mini-batches, a cheap numpy model, CSV out; and ten times as much, beside the loops.

The pool's loop is what people write by hand: a file per call, read in pieces of 1 MB, a part written per file, the
parts joined at the end. daskbatch, the loops and Dask write one file, the others a folder of parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import agreement
import data
import harness
from models import linear
from peers import by_hand, daft_frames, dask_frames, ray_data, spark
from table_work import TableWork, by_peer


def folder(small: bool) -> Path:
    return data.tables(3, 300_000) if small else data.tables(40, 3_000_000)


def large(small: bool) -> Path:
    return data.tables(2, 500_000) if small else data.tables(200, 6_000_000)


def work(small: bool, folder: Callable[[bool], Path] = folder) -> TableWork:
    """Units are MB of input: the contenders cut it at different places."""
    source = folder(small)
    megabytes = max(1, sum(path.stat().st_size for path in source.glob("*.csv")) // 1_000_000)
    return TableWork(source, "csv", "linear", data.ROWS_PER_MB, megabytes)


def with_daskbatch(out: Path, small: bool, work: Callable[[bool], TableWork] = work) -> harness.Timing:
    given = work(small)
    return harness.daskbatch_timing(Path(linear.__file__), given.source, out / "run", "1MB", given.units)


large_work = partial(work, folder=large)


BENCHMARK = harness.Benchmark(
    name="tables-csv",
    title="tables: 40 CSV files, 120 MB, mini-batches of 1 MB, CSV out",
    unit="MB",
    prepare=folder,
    contenders={
        "daskbatch": with_daskbatch,
        "pandas in a pool": by_peer(by_hand.pool_table, work),
        "Arrow in a pool": by_peer(by_hand.pool_table_with_arrow, work),
        "dask.dataframe": by_peer(dask_frames.score_table, work),
        "joblib": harness.Peer("joblib", by_peer(by_hand.joblib_table, work)),
        "Ray Data": harness.Peer("ray", by_peer(ray_data.score_table, work)),
        "Spark": harness.Peer("pyspark", by_peer(spark.score_table, work), "java"),
        "Daft": harness.Peer("daft", by_peer(daft_frames.score_table, work)),
    },
    check=partial(agreement.same_rows, key="id"),
)

LARGE = harness.Benchmark(
    name="tables-csv-large",
    title="tables: 200 CSV files, 1,200 MB, mini-batches of 1 MB, CSV out",
    unit="MB",
    prepare=large,
    contenders={
        "daskbatch, 1,200 MB": partial(with_daskbatch, work=large_work),
        "pandas in a pool, 1,200 MB": by_peer(by_hand.pool_table, large_work),
        "Arrow in a pool, 1,200 MB": by_peer(by_hand.pool_table_with_arrow, large_work),
    },
    check=partial(agreement.same_rows, key="id"),
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK, LARGE)
