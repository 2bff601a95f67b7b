"""Dask as its guide to dataframes has it: ``map_partitions`` over partitions of about the size of a batch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import harness
from models.loaded import loaded
from table_work import TableWork

__all__ = ["score_table"]


def _score(frame: Any, model: str) -> Any:
    return loaded(model).run(frame)


def score_table(out: Path, work: TableWork) -> float:
    """Read, score and write: CSV into one file, Parquet into a folder of parts. Return seconds."""
    import dask.dataframe as dd
    import pandas as pd

    meta = pd.DataFrame({"id": pd.Series(dtype="int64"), "score": pd.Series(dtype="float64")})
    with harness.local_cluster():
        begin = time.perf_counter()
        if work.form == "csv":
            frame = dd.read_csv(str(work.source / "*.csv"), blocksize="1MB")
        else:
            frame = dd.read_parquet(str(work.source / "*.parquet"))
        scored = frame.map_partitions(_score, work.model, meta=meta)
        if work.form == "csv":
            scored.to_csv(str(out / "predictions.csv"), single_file=True, index=False)
        else:
            scored.to_parquet(str(out / "parts"), write_index=False)
        return time.perf_counter() - begin
