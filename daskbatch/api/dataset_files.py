"""The files of a dataset: listed, and copied."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from daskbatch.api import store_transfer, transfer
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_base import ReferencedDataset
from daskbatch.api.places import is_url
from daskbatch.errors import InputError, UsageError
from daskbatch.plan_format import choose_format
from daskbatch.plan_listing import ObjectPath, list_inputs
from daskbatch.plan_rows import planned_table
from daskbatch.remote.errors import StorageError
from daskbatch.remote.listing import Listed
from daskbatch.store.partition_format import parse_format

__all__ = ["all_files", "download", "listed", "relative_paths", "validate", "validate_declared"]


def all_files(dataset: ReferencedDataset) -> Iterator[str]:
    """Absolute paths or URLs of the files, in order, as runs list them; `take` and `skip` are not seen.

    Raises
    ------
    InputError
        A path does not exist, a glob matches nothing, a folder is empty, or tables are of different formats.
    """
    return (os.fsdecode(path) for path in _found(dataset))


def _found(dataset: ReferencedDataset) -> Iterator[bytes]:
    assert isinstance(dataset, (FileDataset, TabularDataset))
    if getattr(dataset, "collection", None) is not None:
        raise UsageError("A dataset from a Dask or pandas dataframe has no files.")
    plain = replace(dataset, taken=None, skipped=0)
    if isinstance(plain, TabularDataset):
        plain = replace(plain, infer_column_types=True)  # else all columns would be looked up first
    spec = plain.spec()
    yield from choose_format(spec, list_inputs(spec.paths, spec.storage_options)).paths


def listed(dataset: FileDataset) -> Iterator[str]:
    """The files that `take` and `skip` leave.

    Raises
    ------
    InputError
        None is left; and as `all_files`.
    """
    return (os.fsdecode(path) for path in _left(dataset))


def _left(dataset: ReferencedDataset) -> Iterator[bytes]:
    if not isinstance(dataset, FileDataset):
        yield from _found(dataset)
        return
    stop = None if dataset.taken is None else dataset.skipped + dataset.taken
    empty = True
    for path in islice(_found(dataset), dataset.skipped, stop):
        empty = False
        yield path
    if empty:
        raise InputError("take() and skip() leave no file of the dataset. Next: take more, or skip fewer.")


def relative_paths(dataset: ReferencedDataset) -> list[tuple[str, str]]:
    """Each file, its path or URL, with its path as seen from the folder that all sources lie in.

    Raises
    ------
    InputError
        As `all_files`.
    """
    return [(os.fsdecode(path), relative) for path, relative in _seen(dataset)]


def _seen(dataset: ReferencedDataset) -> list[tuple[bytes, str]]:
    found = list(_left(dataset))
    names = [os.fsdecode(path) for path in found]
    if dataset.is_remote():
        known = set(names)
        roots = [_base_url(place, known) for place in dataset.places()]
        root = roots[0] if len(roots) == 1 else os.path.commonpath(roots).replace(":/", "://", 1)
        return [(path, name[len(root) :].lstrip("/")) for path, name in zip(found, names, strict=True)]
    root = os.path.commonpath([_base(path) for path in dataset.places()])
    return [(path, os.path.relpath(name, root)) for path, name in zip(found, names, strict=True)]


def _base_url(url: str, found: set[str]) -> str:
    """The same of a URL, whose objects are known."""
    scheme, _, rest = url.partition("://")
    if url in found:
        return url.rpartition("/")[0]
    folder = rest.rstrip("/")
    while glob.has_magic(folder.partition("/")[2]) and not any(
        one.startswith(f"{scheme}://{folder}/") for one in found
    ):
        folder = folder.rpartition("/")[0]
    return f"{scheme}://{folder}"


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
    pairs = [(path, target / relative) for path, relative in _seen(dataset)]
    _refuse_replacing([path for _, path in pairs], overwrite)
    if dataset.is_remote():
        objects = [(_listed(path), at) for path, at in pairs]
        store_transfer.download(objects, dataset.store_options(), overwrite, show_progress)
    else:
        files = [(Path(os.fsdecode(path)), at) for path, at in pairs]
        transfer.copy(files, overwrite, show_progress, "Downloading")
    return [str(at) for _, at in pairs]


def _listed(path: bytes) -> Listed:
    assert isinstance(path, ObjectPath)
    return Listed(os.fsdecode(path), path.size, path.token, False)


def _folder(value: object) -> str:
    return transfer.local("target_path", value)


def _refuse_replacing(paths: list[Path], overwrite: bool) -> None:
    for path in paths:
        if not overwrite and os.path.lexists(path):
            raise UsageError(f"{str(path)!r} is there already. Choose another target_path, or give overwrite=True.")


def validate(dataset: FileDataset | TabularDataset) -> None:
    """Look at the first file.

    Raises
    ------
    InputError
        There is none, or it is not what the dataset says.
    StorageError
        A store cannot be read from here.
    """
    tabular, remote = isinstance(dataset, TabularDataset), dataset.is_remote()
    for found in _found(dataset):
        path = os.fsdecode(found)
        if dataset.partition_format is not None:
            parse_format(dataset.partition_format).values(path)
        if tabular and not (_listed(found).size if remote else os.path.getsize(path)):
            continue  # tables of zero bytes are left out of runs
        if isinstance(dataset, TabularDataset):
            options = dataset.store_options()
            whole = replace(dataset, taken=None, skipped=0, infer_column_types=True)
            alone = replace(whole, sources=(), paths=(path,), storage_options=options)
            planned_table(alone.spec())
        return
    raise InputError(f"path: all tables in {', '.join(map(str, dataset.references))} have zero bytes. Check the path.")


def validate_declared(dataset: FileDataset | TabularDataset) -> None:
    """Look at the first file, where the place can be read from here.

    Raises
    ------
    InputError
        There is none, or it is not what the dataset says.
    StorageError
        The store of a datastore cannot be read. A bare URL may be redirected by a workspace, so it may have none.
    """
    try:
        validate(dataset)
    except InputError:
        raise
    except (StorageError, UsageError):
        if not any(isinstance(source, str) and is_url(source) for source in dataset.references):
            raise
