"""Scikit-learn's gradient boosting over 10 CSV files, 30 MB, mini-batches of 1 MB, CSV out.

Work in ``run()`` itself: what an engine costs beside it should not show. Each process has one thread of OpenMP: there
are as many processes as cores. Ray Data, joblib and daskbatch see to that themselves; the pool is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import agreement
import data
import harness
from models import boosted
from peers import by_hand, ray_data
from table_work import TableWork, by_peer


def folder(small: bool) -> Path:
    return data.tables(3, 300_000) if small else data.tables(10, 3_000_000)


def prepare(small: bool) -> None:
    folder(small)
    data.boosted_model()


def work(small: bool) -> TableWork:
    """Units are MB of input."""
    source = folder(small)
    megabytes = max(1, sum(path.stat().st_size for path in source.glob("*.csv")) // 1_000_000)
    return TableWork(source, "csv", "boosted", data.ROWS_PER_MB, megabytes)


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    environment, given = {boosted.PATH: str(data.boosted_model())}, work(small)
    script = Path(boosted.__file__)
    return harness.daskbatch_timing(script, given.source, out / "run", "1MB", given.units, environment)


def over(score: Callable[[Path, TableWork], float], threads: str | None = None) -> harness.Contender:
    """Return the contender that has `score` do the work, its processes told where the model is."""

    def contend(out: Path, small: bool) -> harness.Timing:
        os.environ[boosted.PATH] = str(data.boosted_model())
        if threads:
            os.environ["OMP_NUM_THREADS"] = threads
        return by_peer(score, work)(out, small)

    return contend


BENCHMARK = harness.Benchmark(
    name="tables-boosted",
    title="tables: 10 CSV files, 30 MB, gradient boosting of scikit-learn",
    unit="MB",
    prepare=prepare,
    contenders={
        "daskbatch": with_daskbatch,
        "pool": over(by_hand.pool_table_with_arrow, threads="1"),
        "joblib": harness.Peer("joblib", over(by_hand.joblib_table)),
        "Ray Data": harness.Peer("ray", over(ray_data.score_table)),
    },
    check=partial(agreement.same_rows, key="id"),
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
