"""Daft as its guide to stateful functions has it: ``@daft.cls`` with a batch method, on its own local runner."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import harness
from models.loaded import loaded
from picture_work import PictureWork
from table_work import COLUMNS, TableWork

__all__ = ["score_pictures", "score_rows", "score_table"]


def _table_scorer(model: str, rows: int) -> Any:
    import daft

    dtype = daft.DataType.struct({"id": daft.DataType.int64(), "score": daft.DataType.float64()})

    @daft.cls(max_concurrency=harness.SLOTS)
    class Scorer:
        def __init__(self, model: str) -> None:
            self.run = loaded(model).run

        @daft.method.batch(return_dtype=dtype, unnest=True, batch_size=rows)
        def score(self, *columns: Any) -> Any:
            import pandas as pd
            import pyarrow as pa

            named = zip(COLUMNS, columns, strict=True)
            frame = pd.DataFrame({name: column.to_arrow().to_numpy() for name, column in named})
            return pa.RecordBatch.from_pandas(self.run(frame), preserve_index=False).to_struct_array()

    return Scorer(model)


def score_table(out: Path, work: TableWork) -> float:
    """Read, score and write; the result is a folder of part files, as Daft writes it. Return seconds."""
    import daft

    scorer = _table_scorer(work.model, work.rows)
    begin = time.perf_counter()
    read = daft.read_csv if work.form == "csv" else daft.read_parquet
    frame = read(str(work.source / f"*.{work.form}"))
    scored = frame.select(scorer.score(*(frame[name] for name in COLUMNS)))
    (scored.write_csv if work.form == "csv" else scored.write_parquet)(str(out / "parts"))
    return time.perf_counter() - begin


def score_pictures(out: Path, work: PictureWork) -> harness.Timing:
    """Read, score and write; the result is a folder of part files, as Daft writes it."""
    import daft
    from daft.functions import decode_image, download

    fields = {"file": daft.DataType.string(), "digit": daft.DataType.int64(), "score": daft.DataType.float64()}

    @daft.cls(max_concurrency=harness.SLOTS)
    class Scorer:
        def __init__(self, model: str) -> None:
            self.score_all = loaded(model).score

        @daft.method.batch(return_dtype=daft.DataType.struct(fields), unnest=True, batch_size=work.size)
        def score(self, paths: Any, pictures: Any) -> Any:
            import numpy as np

            return self.score_all(paths.to_pylist(), np.stack(pictures.to_pylist()))

    batches, scorer = work.mini_batches, Scorer(work.model)
    begin = time.perf_counter()
    frame = daft.from_glob_path(str(work.source / "*.png"))
    frame = frame.with_column("picture", decode_image(download(frame["path"]), mode="L"))
    frame.select(scorer.score(frame["path"], frame["picture"])).write_csv(str(out / "parts"))
    return harness.Timing(time.perf_counter() - begin, len(batches))


def score_rows(out: Path, paths: list[str], model: str) -> float:
    """Call the model with each path by itself. Return seconds."""
    import daft

    @daft.cls(max_concurrency=harness.SLOTS)
    class Scorer:
        def __init__(self, model: str) -> None:
            self.run = loaded(model).run

        @daft.method.batch(return_dtype=daft.DataType.int64(), batch_size=1)
        def score(self, column: Any) -> Any:
            return self.run(column.to_pylist())

    scorer = Scorer(model)
    begin = time.perf_counter()
    frame = daft.from_pydict({"path": paths})
    frame.select(scorer.score(frame["path"]).alias("result")).write_csv(str(out / "parts"))
    return time.perf_counter() - begin
