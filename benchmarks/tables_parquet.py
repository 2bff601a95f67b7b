"""The rows of ``tables.py`` as Parquet files: row groups of about 1 MB, a cheap numpy model, Parquet out.

daskbatch and the loop by hand write one file. "parts" is the same loop without that: a file of its own for each of the
input, as Ray Data, Spark, Daft and Dask do it too.
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
    return data.parquet_tables(3, 300_000) if small else data.parquet_tables(40, 3_000_000)


def large(small: bool) -> Path:
    return data.parquet_tables(2, 500_000) if small else data.parquet_tables(200, 6_000_000)


def work(small: bool) -> TableWork:
    """Units are thousands of rows."""
    thousands = 12 if small else 1_643
    return TableWork(folder(small), "parquet", "linear", data.ROWS_PER_MB, thousands)


def large_work(small: bool) -> TableWork:
    """Units are thousands of rows."""
    thousands = 13 if small else 16_438
    return TableWork(large(small), "parquet", "linear", data.ROWS_PER_MB, thousands)


def with_daskbatch(out: Path, small: bool, work: Callable[[bool], TableWork] = work) -> harness.Timing:
    script, given = Path(linear.__file__), work(small)
    return harness.daskbatch_timing(script, given.source, out / "run", "1MB", given.units, result="predictions.parquet")


BENCHMARK = harness.Benchmark(
    name="tables-parquet",
    title="tables: 40 Parquet files, 1,643,000 rows, mini-batches of 1 MB, Parquet out",
    unit="1000 rows",
    prepare=folder,
    contenders={
        "daskbatch": with_daskbatch,
        "Arrow in a pool": by_peer(by_hand.pool_table_with_arrow, work),
        "Arrow in a pool, parts": by_peer(by_hand.pool_arrow_parts, work),
        "dask.dataframe": by_peer(dask_frames.score_table, work),
        "Ray Data": harness.Peer("ray", by_peer(ray_data.score_table, work)),
        "Spark": harness.Peer("pyspark", by_peer(spark.score_table, work), "java"),
        "Daft": harness.Peer("daft", by_peer(daft_frames.score_table, work)),
    },
    check=partial(agreement.same_rows, key="id"),
)

LARGE = harness.Benchmark(
    name="tables-parquet-large",
    title="tables: 200 Parquet files, 16,438,000 rows, mini-batches of 1 MB, Parquet out",
    unit="1000 rows",
    prepare=large,
    contenders={
        "daskbatch, 200 files": partial(with_daskbatch, work=large_work),
        "Arrow in a pool, 200 files": by_peer(by_hand.pool_table_with_arrow, large_work),
    },
    check=partial(agreement.same_rows, key="id"),
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK, LARGE)
