"""What a good engineer would write by hand: a pool of processes or joblib, a file a call, the parts joined in order.

The variants differ in who writes: pandas, or Arrow.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import harness
from models.loaded import loaded
from table_work import TableWork

__all__ = ["joblib_table", "pool_arrow_parts", "pool_table", "pool_table_with_arrow"]


def _frames(path: Path, work: TableWork) -> Iterator[Any]:
    """Yield the batches of one file, scored."""
    import pandas as pd

    run = loaded(work.model).run
    if work.form == "csv":
        for frame in pd.read_csv(path, chunksize=work.rows):
            yield run(frame)
    else:
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(work.rows):
            yield run(batch.to_pandas())


def _arrow_tables(path: Path, work: TableWork) -> Iterator[Any]:
    import pyarrow as pa

    for frame in _frames(path, work):
        yield pa.Table.from_pandas(frame, preserve_index=False)


def _csv_part(parts: Path, work: TableWork, path: Path) -> Path:
    part = parts / path.name
    with part.open("w") as file:
        for frame in _frames(path, work):
            frame.to_csv(file, header=False, index=False)
    return part


def _arrow_csv_part(parts: Path, work: TableWork, path: Path) -> Path:
    import pyarrow.csv

    part, headless = parts / path.name, pyarrow.csv.WriteOptions(include_header=False)
    with part.open("wb") as file:
        for table in _arrow_tables(path, work):
            pyarrow.csv.write_csv(table, file, headless)
    return part


def _parquet_part(parts: Path, work: TableWork, path: Path) -> Path:
    import pyarrow.parquet as pq

    writer = None
    for table in _arrow_tables(path, work):
        writer = writer or pq.ParquetWriter(parts / path.name, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    return parts / path.name


def _scored(path: Path, work: TableWork) -> Any:
    """Return all scores of one file as an Arrow table, a batch a chunk."""
    import pyarrow as pa

    return pa.concat_tables(_arrow_tables(path, work))


def _join(parts: Iterable[Path], out: Path) -> None:
    with (out / "predictions.csv").open("wb") as target:
        target.write(b"id,score\n")
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)
            part.unlink()


def _write_parquet(tables: Iterable[Any], out: Path, rows: int) -> None:
    import pyarrow.parquet as pq

    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(out / "predictions.parquet", table.schema)
        writer.write_table(table, row_group_size=rows)
    if writer:
        writer.close()


def _by_pool(out: Path, work: TableWork, write: Callable[[Path, TableWork, Path], Path]) -> float:
    with harness.pool() as pool:
        begin = time.perf_counter()
        _join(pool.imap(partial(write, out, work), work.files), out)
        return time.perf_counter() - begin


def pool_table(out: Path, work: TableWork) -> float:
    """CSV: pandas writes. Return seconds."""
    return _by_pool(out, work, _csv_part)


def pool_table_with_arrow(out: Path, work: TableWork) -> float:
    """CSV: Arrow writes the parts. Parquet: the scores come back as Arrow, and one file is written. Return seconds."""
    if work.form == "csv":
        return _by_pool(out, work, _arrow_csv_part)
    with harness.pool() as pool:
        begin = time.perf_counter()
        _write_parquet(pool.imap(partial(_scored, work=work), work.files), out, work.rows)
        return time.perf_counter() - begin


def pool_arrow_parts(out: Path, work: TableWork) -> float:
    """Parquet: a part a file stays, nothing is joined: less than daskbatch does. Return seconds."""
    with harness.pool() as pool:
        begin = time.perf_counter()
        for _ in pool.imap(partial(_parquet_part, out, work), work.files):
            pass
        return time.perf_counter() - begin


def joblib_table(out: Path, work: TableWork) -> float:
    """CSV: joblib's processes in place of a pool's, Arrow writes. Return seconds, with the start of the processes."""
    from joblib import Parallel, delayed

    begin = time.perf_counter()
    parallel = Parallel(n_jobs=harness.SLOTS, return_as="generator")
    _join(parallel(delayed(_arrow_csv_part)(out, work, path) for path in work.files), out)
    return time.perf_counter() - begin
