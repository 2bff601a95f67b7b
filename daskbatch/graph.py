"""The plan as a Dask collection, whose partition number *i* is mini-batch number *i*."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.errors import DaskbatchError, InputError
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.plan_copies import copies_in_process
from daskbatch.plan_listing import Storage
from daskbatch.spec import InputSpec
from daskbatch.store.inputs import TableReader, to_frame
from daskbatch.store.inputs_path import PathColumns
from daskbatch.store.inputs_types import arrow_type
from daskbatch.types import OPEN_END, MiniBatch, TableFormat

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_bag", "as_dataframe", "meta_frame"]


def as_dataframe(spec: InputSpec) -> Any:
    """A dask dataframe of a table. A gzip file is one partition; a range without records an empty one.

    Raises
    ------
    InputError
        As `make_plan`; and where the suffixes say that the input is no table.
    """
    import dask
    import dask.dataframe as dd

    plan, mini_batches = _planned(spec)
    if plan.table is None:
        raise InputError(
            f"inputs: {plan.description} are no tables by their suffixes. Next: give TabularDataset a format= such as"
            " 'csv', or use FileDataset."
        )
    # One reader for each partition: tasks run in any order, in threads, and a reader is neither shared nor sent.
    # Without Dask's own conversion of strings: a partition has the dtypes that run() sees.
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_map(
            _partition,
            mini_batches,
            table=plan.table,
            paths=spec.paths[:1],
            storage=plan.storage,
            meta=meta_frame(plan.table),
            label="daskbatch",
        )


def as_bag(spec: InputSpec) -> Any:
    """A bag whose partition *i* holds one element: the list of paths, or URLs, of mini-batch *i*."""
    import dask.bag as db

    _, mini_batches = _planned(spec)
    return db.from_sequence([list(mini_batch.paths) for mini_batch in mini_batches], partition_size=1)


def meta_frame(table: TableFormat) -> pd.DataFrame:
    """A frame without rows, of the dtypes that every mini-batch has."""
    by_path = PathColumns(table)
    return to_frame(TableReader(table).marked(_no_rows((*by_path.front, *table.columns, *by_path.behind))))


def _planned(spec: InputSpec) -> tuple[Plan, list[MiniBatch]]:
    with tempfile.TemporaryDirectory(prefix="daskbatch-") as folder:
        plan = make_plan(spec, Path(folder, "plan.jsonl"))
        return plan, list(read_plan(plan))


def _no_rows(columns: Iterable[tuple[str, str]]) -> Any:
    import pyarrow as pa

    return pa.schema([(name, arrow_type(kind)) for name, kind in columns]).empty_table()


def _partition(mini_batch: MiniBatch, table: TableFormat, paths: tuple[str, ...], storage: Storage) -> pd.DataFrame:
    """The rows of one partition: of one mini-batch, or of all those of a stream."""
    import pyarrow as pa

    copies, names = copies_in_process(paths, table, storage)
    reader = TableReader(table, names)
    parts: list[Any] = []
    try:
        if copies is not None:
            mini_batch = copies.make(mini_batch).batch
        while (rows := reader.read(mini_batch)) is not None:
            parts.append(rows)
            if mini_batch.stop != OPEN_END:
                break
            mini_batch = mini_batch._replace(index=mini_batch.index + 1)
    except DaskbatchError as error:
        if names is None:
            raise
        raise type(error)(names.within(str(error))) from None  # the copy means nothing to anybody
    finally:
        reader.close()
        if copies is not None:
            copies.close()
    return to_frame(pa.concat_tables(parts)) if parts else meta_frame(table)
