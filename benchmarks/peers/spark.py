"""PySpark as its guide to Arrow has it: ``mapInPandas``, whose function loads the model once and takes an iterator."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
from models.loaded import loaded
from table_work import COLUMNS, TableWork

__all__ = ["score_rows", "score_table"]

SCHEMA = ", ".join(f"{name} {'long' if name == 'id' else 'double'}" for name in COLUMNS)


@contextmanager
def _session(rows: int) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # else the first python3 on PATH, which may lack pandas
    session = (
        SparkSession.builder.master(f"local[{harness.SLOTS}]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", rows)
        .getOrCreate()
    )
    try:
        yield session
    finally:
        session.stop()


def score_table(out: Path, work: TableWork) -> float:
    """Read, score and write; the result is a folder of part files, as Spark writes it. Return seconds."""
    model = work.model

    def score(frames: Iterator[Any]) -> Iterator[Any]:
        run = loaded(model).run
        for frame in frames:
            yield run(frame)

    with _session(work.rows) as spark:
        begin = time.perf_counter()
        if work.form == "csv":
            frame = spark.read.csv(str(work.source), header=True, schema=SCHEMA)  # a schema saves a pass over the files
        else:
            frame = spark.read.parquet(str(work.source))
        writer = frame.mapInPandas(score, "id long, score double").write
        if work.form == "csv":
            writer.csv(str(out / "parts"), header=True)
        else:
            writer.parquet(str(out / "parts"))
        return time.perf_counter() - begin


def score_rows(out: Path, paths: list[str], model: str) -> float:
    """Call the model with each path by itself: a row an Arrow batch. Return seconds."""

    def score(frames: Iterator[Any]) -> Iterator[Any]:
        import pandas as pd

        run = loaded(model).run
        for frame in frames:
            yield pd.DataFrame({"result": run(list(frame["path"]))})

    with _session(1) as spark:
        begin = time.perf_counter()
        frame = spark.createDataFrame([(path,) for path in paths], "path string")
        frame.mapInPandas(score, "result long").write.csv(str(out / "parts"), header=True)
        return time.perf_counter() - begin
