"""The rows of a table, one mini-batch after the other, by the plan and the reader that runs have. Knows no Dask."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from daskbatch.errors import InputError
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.plan_copies import copies_in_process
from daskbatch.spec import InputSpec
from daskbatch.store.inputs import TableReader
from daskbatch.types import OPEN_END, TableFormat

__all__ = ["columns_of", "planned_table", "read_rows"]


def planned_table(spec: InputSpec) -> TableFormat:
    """How the input is read, its columns filled in.

    Raises
    ------
    InputError
        As `make_plan`; and where the suffixes say that the input is no table.
    """
    with tempfile.TemporaryDirectory(prefix="daskbatch-") as folder:
        return _table(make_plan(spec, Path(folder, "plan.jsonl")))


def columns_of(spec: InputSpec) -> list[str]:
    """The names of the columns that the files have."""
    return [name for name, _ in planned_table(spec).columns]


def read_rows(spec: InputSpec) -> Generator[Any, None, None]:
    """The rows of each mini-batch in order, as Arrow tables of one schema; those without rows are left out.

    Raises
    ------
    InputError
        As `planned_table`.
    MiniBatchError, MultiLineText
        A mini-batch cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="daskbatch-") as folder:
        plan = make_plan(spec, Path(folder, "plan.jsonl"))
        table = _table(plan)
        copies, names = copies_in_process(spec.paths, table, spec.storage_options)
        reader = TableReader(table, names)
        try:
            for mini_batch in read_plan(plan):
                copy = None if copies is None else copies.make(mini_batch)
                mini_batch = mini_batch if copy is None else copy.batch
                while (rows := reader.read(mini_batch)) is not None:
                    yield rows
                    if mini_batch.stop != OPEN_END:
                        break
                    mini_batch = mini_batch._replace(index=mini_batch.index + 1)
                if copies is not None and copy is not None:
                    copies.drop(copy)
        finally:
            reader.close()
            if copies is not None:
                copies.close()


def _table(plan: Plan) -> TableFormat:
    if plan.table is None:
        raise InputError(
            f"inputs: {plan.description} are no tables by their suffixes. Next: give TabularDataset a format= such as"
            " 'csv', or use FileDataset."
        )
    return plan.table
