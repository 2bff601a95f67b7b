"""The files of a dataset: listed, and copied."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from daskbatch.api import transfer
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_base import ReferencedDataset
from daskbatch.api.places import is_url
from daskbatch.errors import InputError, UsageError
from daskbatch.plan_format import choose_format
from daskbatch.plan_rows import planned_table
from daskbatch.store.listing import list_files
from daskbatch.store.partition_format import parse_format

__all__ = ["all_files", "download", "listed", "relative_paths", "validate"]


def all_files(dataset: ReferencedDataset) -> Iterator[str]:
    """Absolute paths of the files, in order, as runs list them; `take` and `skip` are not seen.

    Raises
    ------
    InputError
        A path does not exist, a glob matches nothing, a folder is empty, or tables are of different formats.
    """
    assert isinstance(dataset, (FileDataset, TabularDataset))
    if getattr(dataset, "collection", None) is not None:
        raise UsageError("A dataset from a Dask or pandas dataframe has no files.")
    plain = replace(dataset, taken=None, skipped=0)
    if isinstance(plain, TabularDataset):
        plain = replace(plain, infer_column_types=True)  # else all columns would be looked up first
    spec = plain.spec()
    for path in choose_format(spec, list_files(spec.paths)).paths:
        yield os.fsdecode(path)


def listed(dataset: FileDataset) -> Iterator[str]:
    """The files that `take` and `skip` leave.

    Raises
    ------
    InputError
        None is left; and as `all_files`.
    """
    stop = None if dataset.taken is None else dataset.skipped + dataset.taken
    empty = True
    for path in islice(all_files(dataset), dataset.skipped, stop):
        empty = False
        yield path
    if empty:
        raise InputError("take() and skip() leave no file of the dataset. Next: take more, or skip fewer.")


def relative_paths(dataset: ReferencedDataset) -> list[tuple[str, str]]:
    """Each file with its path as seen from the folder that all sources lie in.

    Raises
    ------
    InputError
        As `all_files`.
    """
    found = list(listed(dataset) if isinstance(dataset, FileDataset) else all_files(dataset))
    root = os.path.commonpath([_base(path) for path in dataset.local_paths()])
    return [(path, os.path.relpath(path, root)) for path in found]


def _base(path: str) -> str:
    """The folder that a source's files are seen from: itself, the one above a glob, or the one above a file."""
    while glob.has_magic(path) and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path if os.path.isdir(path) else os.path.dirname(path)


def download(
    dataset: ReferencedDataset, target_path: str | os.PathLike[str] | None, overwrite: bool, show_progress: bool
) -> list[str]:
    """Copy the files; see `ReferencedDataset.download`."""
    target = Path(tempfile.mkdtemp(prefix="daskbatch-") if target_path is None else _folder(target_path))
    if isinstance(dataset, TabularDataset) and (dataset.is_part or dataset.collection is not None):
        from daskbatch.api.dataset_rows import tables, write_parquet

        path = target / "rows.parquet"
        _refuse_replacing([path], overwrite)
        write_parquet(tables(dataset), path)
        return [str(path)]
    pairs = [(Path(path), target / relative) for path, relative in relative_paths(dataset)]
    _refuse_replacing([path for _, path in pairs], overwrite)
    transfer.copy(pairs, overwrite, show_progress, "Downloading")
    return [str(path) for _, path in pairs]


def _folder(value: object) -> str:
    return transfer.local("target_path", value)


def _refuse_replacing(paths: list[Path], overwrite: bool) -> None:
    for path in paths:
        if not overwrite and os.path.lexists(path):
            raise UsageError(f"{str(path)!r} is there already. Choose another target_path, or give overwrite=True.")


def validate(dataset: FileDataset | TabularDataset) -> None:
    """Look at the first file. A place that cannot be read from here may be redirected by a workspace.

    Raises
    ------
    InputError
        There is none, or it is not what the dataset says.
    """
    if any(is_url(path) for path in dataset.references):
        return
    tabular = isinstance(dataset, TabularDataset)
    for path in all_files(dataset):
        if dataset.partition_format is not None:
            parse_format(dataset.partition_format).values(path)
        if tabular and not os.path.getsize(path):
            continue  # tables of zero bytes are left out of runs
        if isinstance(dataset, TabularDataset):
            planned_table(replace(dataset, sources=(), paths=(path,), infer_column_types=True).spec())
        return
    raise InputError(f"path: all tables in {', '.join(map(str, dataset.references))} have zero bytes. Check the path.")
