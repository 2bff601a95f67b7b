"""Partitions of a dataset: which its paths have, and rows written again in a folder for each."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_base import ReferencedDataset
from daskbatch.api.dataset_files import all_files, listed
from daskbatch.api.dataset_rows import tables
from daskbatch.api.dataset_sources import target_of
from daskbatch.api.places import is_url
from daskbatch.api.store_transfer import folder_at, objects_below
from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.remote.options import StorageOptions
from daskbatch.store.partition_format import Value, parse_format

__all__ = ["chosen_keys", "key_values", "partition_by"]

BLOCK = "64MB"
"""Read at once: each block writes a row group at most for each partition."""

OPEN_FILES = 128

_TIME = "yyyy-MM-dd_HH-mm-ss"
_TIME_DIRECTIVES = "%Y-%m-%d_%H-%M-%S"
_LONGEST_NAME = 200
"""Bytes of a folder's name. File systems take 255."""


def chosen_keys(dataset: ReferencedDataset, partition_keys: Sequence[str] | None) -> list[str]:
    """Some of the keys of the dataset's partition format, or all.

    Raises
    ------
    UsageError
        There is no such key, or no partition format.
    """
    known = dataset.partition_keys
    if not known:
        raise UsageError(
            "The dataset has no partition keys. Make it with partition_format=, such as '/{store}/{year}/*.csv', or by"
            " TabularDataset.partition_by."
        )
    if partition_keys is None:
        return known
    if isinstance(partition_keys, str) or not partition_keys or len(set(partition_keys)) != len(partition_keys):
        raise UsageError(f"partition_keys must be a list of different keys, such as {known}, got {partition_keys!r}.")
    for key in partition_keys:
        if key not in known:
            raise UsageError(
                f"partition_keys must be some of {', '.join(known)}, got {key!r}.{nearest(str(key), known)}"
            )
    return list(partition_keys)


def key_values(dataset: ReferencedDataset, partition_keys: Sequence[str] | None) -> list[dict[str, Value]]:
    """See `ReferencedDataset.get_partition_key_values`."""
    keys = chosen_keys(dataset, partition_keys)
    form = parse_format(dataset.partition_format)
    found: dict[tuple[Value, ...], None] = {}
    for path in listed(dataset) if isinstance(dataset, FileDataset) else all_files(dataset):
        values = form.values(path)
        found.setdefault(tuple(values[key] for key in keys))
    return [dict(zip(keys, values, strict=True)) for values in found]


def partition_by(
    dataset: TabularDataset, partition_keys: Sequence[str], target: object, name: str | None, as_files: bool
) -> TabularDataset | FileDataset:
    """See `TabularDataset.partition_by`."""
    if isinstance(partition_keys, str) or not partition_keys or len(set(partition_keys)) != len(partition_keys):
        raise UsageError(f"partition_keys must be a list of different columns, got {partition_keys!r}.")
    source = target_of("target", target)
    if name is not None and isinstance(source, str):
        raise UsageError(
            f"name={name!r}: a dataset is registered in the workspace of its datastore, but target is the folder"
            f" {source!r}. Give target=(datastore, 'folder'), or call register(workspace, name) afterwards."
        )
    place = source if isinstance(source, str) else source.place()
    if is_url(place):
        assert not isinstance(source, str)
        times = _put(dataset, list(partition_keys), place, source.storage_options())
    else:
        times = _write(dataset, list(partition_keys), Path(place))
    parts = [f"{key}={{{key}:{_TIME}}}" if key in times else f"{key}={{{key}}}" for key in partition_keys]
    form = "/" + "/".join([*parts, "*.parquet"])
    made: TabularDataset | FileDataset
    if as_files:
        made = FileDataset(sources=(source,), partition_format=form)
    else:
        made = TabularDataset(sources=(source,), format="parquet", partition_format=form)
    if name is None or isinstance(source, str):
        return made
    return made.register(source.datastore.workspace, name, create_new_version=True)


def _put(dataset: TabularDataset, keys: list[str], url: str, options: StorageOptions) -> list[str]:
    """The same below a URL, where objects appear one by one."""
    if any(True for _ in objects_below(url, options)):
        raise UsageError(f"target must be a new or an empty folder, but there are objects below {url!r}.")
    with folder_at(url, options) as local:
        return _write_parts(tables(dataset, None if dataset.collection is not None else BLOCK), keys, local)


def _write(dataset: TabularDataset, keys: list[str], folder: Path) -> list[str]:
    """Write all rows below a folder, which appears whole. Returns the keys that are points in time."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"target must be a new or an empty folder, got {str(folder)!r}. Choose another.")
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.partial")
    try:
        temporary.mkdir(parents=True)
        times = _write_parts(tables(dataset, None if dataset.collection is not None else BLOCK), keys, temporary)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise UsageError(f"target must be a new or an empty folder, but {str(folder)!r} was just filled.") from None
        raise UsageError(f"target {str(folder)!r} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return times


def _write_parts(found: Iterator[Any], keys: list[str], root: Path) -> list[str]:
    import pyarrow as pa

    times: list[str] = []
    with _Writers() as writers:
        for rows in found:
            _check_columns(keys, rows.schema.names)
            times = [key for key in keys if pa.types.is_timestamp(rows.schema.field(key).type)]
            texts = pa.table({key: _as_text(key, rows.column(key)) for key in keys}).to_pandas()
            rows = rows.drop_columns(keys)
            for values, places in texts.groupby(keys, sort=False, observed=True).indices.items():
                values = values if isinstance(values, tuple) else (values,)
                names = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
                writers.write(root.joinpath(*names), rows.take(pa.array(places)))
    return times


def _check_columns(keys: list[str], columns: list[str]) -> None:
    for key in keys:
        if key not in columns:
            raise UsageError(
                f"partition_keys must be columns, got {key!r}.{nearest(str(key), columns)} There are:"
                f" {', '.join(columns)}."
            )
        if set(key) & set("/{}:*") or key != key.strip():
            raise UsageError(f"partition_keys: the column {key!r} cannot be part of a folder's name. Rename it first.")
    if len(keys) == len(columns):
        raise UsageError(f"partition_keys must leave a column to be written, got all of them: {', '.join(columns)}.")


def _as_text(key: str, column: Any) -> Any:
    """The values as they stand in names of folders."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        raise UsageError(f"partition_keys: the column {key!r} has missing values, which belong to no partition.")
    if pa.types.is_timestamp(column.type):
        try:
            texts = pc.strftime(column.cast(pa.timestamp("s")), _TIME_DIRECTIVES)
        except pa.ArrowInvalid:
            raise UsageError(
                f"partition_keys: the column {key!r} has fractions of a second, which folders' names do not hold here."
            ) from None
    elif pa.types.is_boolean(column.type):
        texts = pc.if_else(column, "True", "False")
    else:
        try:
            texts = column.cast(pa.string())
        except pa.ArrowException:
            raise UsageError(
                f"partition_keys: the column {key!r} is of type {column.type}, which is no text."
            ) from None
    for value in pc.unique(texts).to_pylist():
        if not value or "/" in value or "\0" in value or len(os.fsencode(f"{key}={value}")) > _LONGEST_NAME:
            raise UsageError(
                f"partition_keys: the column {key!r} holds {value!r}, which cannot be part of a folder's name: it must"
                f" not be empty, hold '/' or be longer than {_LONGEST_NAME} bytes."
            )
    return texts


class _Writers:
    """Parquet files of many folders, of which some are open at a time."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._parts: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def write(self, folder: Path, rows: Any) -> None:
        """Append rows to the folder's last file."""
        import pyarrow.parquet as pq

        writer = self._open.pop(folder, None)
        if writer is None:
            if len(self._open) == OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            part = self._parts[folder] = self._parts.get(folder, -1) + 1
            folder.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(folder / f"part-{part:05}.parquet", rows.schema)
        self._open[folder] = writer
        writer.write_table(rows)
