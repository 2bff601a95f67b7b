"""The rows of a TabularDataset: as one DataFrame, or those that take() and skip() leave as one file."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_files import all_files, listed
from daskbatch.api.references import as_document
from daskbatch.errors import InputError
from daskbatch.graph import meta_frame
from daskbatch.options.values import local_path
from daskbatch.plan_inputs import state_of_inputs
from daskbatch.plan_rows import planned_table, read_rows
from daskbatch.store.inputs import is_marked, to_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "are_written_together",
    "materialise",
    "materialise_together",
    "refuse_nothing_left",
    "tables",
    "to_pandas",
    "write_parquet",
]

Data = FileDataset | TabularDataset

_READ_AT_ONCE = 16 * 2**20
"""Bytes of tables that are read to see whether skip() leaves a row; of more only the run finds that out."""
_LISTED_AT_ONCE = 1000
"""Tables that are looked at for it."""
_NO_ROW = "take() and skip() leave no row of the dataset. Next: take more, or skip fewer."


def whole(dataset: TabularDataset) -> TabularDataset:
    """The dataset before `take` and `skip`."""
    return replace(dataset, taken=None, skipped=0) if dataset.is_part else dataset


def tables(dataset: TabularDataset, block: str | None = None) -> Generator[Any, None, None]:
    """The rows as Arrow tables of one schema, none of them empty.

    Parameters
    ----------
    dataset
    block
        How much is read at once, as a ``mini_batch_size``.
    """
    found = _computed(dataset) if dataset.collection is not None else read_rows(whole(dataset).spec(block))
    left_out, left = dataset.skipped, dataset.taken
    with closing(found):
        while left != 0 and (rows := next(found, None)) is not None:
            passed = min(left_out, rows.num_rows)
            left_out -= passed
            rows = rows.slice(passed, left)
            left = None if left is None else left - rows.num_rows
            if rows.num_rows:
                yield rows


def _computed(dataset: TabularDataset) -> Generator[Any, None, None]:
    import pyarrow as pa

    yield pa.Table.from_pandas(dataset.collection.compute(), preserve_index=False)


def to_pandas(dataset: TabularDataset) -> pd.DataFrame:
    """All rows in one DataFrame, with a plain RangeIndex."""
    import pyarrow as pa

    if dataset.collection is not None:
        stop = None if dataset.taken is None else dataset.skipped + dataset.taken
        frame: pd.DataFrame = dataset.collection.compute().iloc[dataset.skipped : stop]
        return frame.reset_index(drop=True)
    parts = list(tables(dataset))
    return to_frame(pa.concat_tables(parts)) if parts else meta_frame(planned_table(whole(dataset).spec()))


def materialise(dataset: Data, folder: str | os.PathLike[str], *, whole_too: bool = False) -> Data:
    """The dataset as runs can read it: what `take` and `skip` leave of it is listed, or written down.

    Rows that were written before, of the same input, are taken as they are.

    Parameters
    ----------
    dataset
    folder
        For a Parquet file of rows; made where it is missing.
    whole_too
        Whether a table is written down of which nothing was left out.

    Returns
    -------
    dataset
        The same one where nothing was left out.

    Raises
    ------
    InputError
        Nothing is left, or the input cannot be read.
    """
    if not dataset.is_part and not (whole_too and isinstance(dataset, TabularDataset)):
        return dataset
    if isinstance(dataset, FileDataset):
        return replace(dataset, sources=(), paths=dataset.run_paths(), taken=None, skipped=0)
    path = Path(local_path("folder", folder), f"rows-{_digest(dataset)}.parquet")
    if not path.is_file():
        write_parquet(tables(dataset), path)
    import pyarrow.parquet as pq

    booleans = {field.name: "boolean" for field in pq.read_schema(path) if is_marked(field)}
    return TabularDataset(
        str(path),
        "parquet",
        dtype=booleans or None,
        name=dataset.name,
        version=dataset.version,
        description=dataset.description,
        tags=dataset.tags,
    )


def are_written_together(datasets: Sequence[Data]) -> bool:
    """Whether whole tables too must be written down: a run reads all of its inputs in one way, and from one place.

    Parameters
    ----------
    datasets
        The inputs of a run, which are declared in the same way.
    """
    parts = any(one.is_part and isinstance(one, TabularDataset) for one in datasets)
    return parts and len(datasets) > 1 and not all(map(_is_as_if_written, datasets))


def _is_as_if_written(dataset: Data) -> bool:
    """Whether it is read as what `materialise` writes, the part of it or the whole."""
    bare = replace(dataset, sources=(), paths=".", taken=None, skipped=0, storage_options=())
    return bare == TabularDataset(".", "parquet") and (dataset.is_part or not dataset.is_remote())


def materialise_together(datasets: Sequence[Data], folder: str | os.PathLike[str]) -> list[Data]:
    """The inputs of one run as it can read them; see `materialise`.

    Parameters
    ----------
    datasets
        They are declared in the same way.
    folder
        For Parquet files of rows; made where it is missing.

    Raises
    ------
    InputError
        Nothing is left of one, or it cannot be read.
    """
    if not are_written_together(datasets):
        return [materialise(one, folder) for one in datasets]
    found = [one for one in datasets if isinstance(one, TabularDataset)]
    # The types of all together, as the run itself would find them: each alone may look like others.
    spec = whole(found[0]).spec()
    table = planned_table(replace(spec, paths=tuple(path for one in found for path in one.places())))
    types = None if table.format == "parquet" else dict(table.columns)
    given = [replace(one, dtype=types or one.dtype) for one in found]
    return [materialise(one, folder, whole_too=True) for one in given]


def refuse_nothing_left(dataset: Data) -> None:
    """See that `take` and `skip` leave something, as far as that is known soon.

    Raises
    ------
    InputError
        Nothing is left.
    """
    if isinstance(dataset, FileDataset):
        if dataset.is_part:
            next(listed(dataset))
        return
    if dataset.taken == 0:
        raise InputError(_NO_ROW)
    if dataset.skipped and _is_small(dataset):
        with closing(tables(dataset)) as found:
            if next(found, None) is None:
                raise InputError(_NO_ROW)


def _is_small(dataset: TabularDataset) -> bool:
    if dataset.collection is not None or dataset.is_remote():
        return False
    size = 0
    try:
        for number, path in enumerate(all_files(dataset)):
            size += os.path.getsize(path)
            if size > _READ_AT_ONCE or number >= _LISTED_AT_ONCE:
                return False
    except OSError:  # what is wrong with that file is for the run to say
        return False
    return True


def _digest(dataset: TabularDataset) -> str:
    """Of what is read and how, and of its files' sizes and times."""
    if dataset.collection is not None:
        what: Any = [dataset.identity, dataset.skipped, dataset.taken]
    else:
        document = {name: value for name, value in as_document(dataset).items() if name not in ("name", "version")}
        what = [document, state_of_inputs(whole(dataset).spec()).digest]
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()


def write_parquet(found: Iterator[Any], path: Path) -> None:
    """Write tables of one schema into a Parquet file, which appears whole.

    Raises
    ------
    InputError
        There is no row.
    """
    import pyarrow.parquet as pq

    first = next(found, None)
    if first is None:
        raise InputError(_NO_ROW)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with pq.ParquetWriter(temporary, first.schema) as writer:
            writer.write_table(first)
            for rows in found:
                writer.write_table(rows)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
