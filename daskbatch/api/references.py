"""Datasets as JSON documents, and what they refer to from the point of view of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.places import is_url
from daskbatch.api.redirect import redirected
from daskbatch.errors import UsageError
from daskbatch.options.tables import column_types
from daskbatch.options.values import local_path

if TYPE_CHECKING:
    from daskbatch.api.data_path import DataPath
    from daskbatch.api.workspace import Workspace

__all__ = ["as_document", "from_document", "localised", "places"]

_TABLE = ("format", "separator", "header", "encoding", "support_multi_line", "include_path", "infer_column_types")
"""Fields of a TabularDataset that are JSON values as they are."""


def as_document(dataset: FileDataset | TabularDataset) -> dict[str, Any]:
    """A dataset as JSON values, for `from_document`; what has its default is left out.

    Raises
    ------
    UsageError
        It is a Dask dataframe, which no file holds.
    """
    if getattr(dataset, "collection", None) is not None:
        raise UsageError(
            "A dataset from a Dask or pandas dataframe lives in this program alone: it can be neither registered nor"
            " given to a pipeline that outlives it. Next: write it down,"
            " Dataset.Tabular.register_pandas_dataframe(frame, (datastore, 'folder'), name)."
        )
    document: dict[str, Any] = {
        "type": "tabular" if isinstance(dataset, TabularDataset) else "file",
        "paths": [_source(source) for source in dataset.references],
    }
    more: dict[str, Any] = {
        "partition_format": dataset.partition_format,
        "take": dataset.taken,
        "skip": dataset.skipped or None,
        "storage_options": dict(dataset.storage_options) or None,
        "name": dataset.name,
        "version": dataset.version,
    }
    if isinstance(dataset, TabularDataset):
        defaults = TabularDataset.__dataclass_fields__
        values = {name: getattr(dataset, name) for name in _TABLE}
        more |= {name: value for name, value in values.items() if value != defaults[name].default}
        more["dtype"] = dict(column_types(dataset.dtype)) if dataset.dtype else None
        more["columns"] = list(dataset.columns) if dataset.columns else None
    return document | {name: value for name, value in more.items() if value is not None}


def _source(source: DataPath | str) -> Any:
    if not isinstance(source, str):
        return {"datastore": source.datastore.name, "path": source.relative}
    return source if is_url(source) else local_path("path", source)


def from_document(document: Mapping[str, Any], workspace: Workspace) -> FileDataset | TabularDataset:
    """The dataset that `as_document` wrote.

    Parameters
    ----------
    document : mapping
    workspace : Workspace
        Where its datastores are registered.

    Raises
    ------
    UsageError
        It is no such document, or a datastore is not registered.
    """
    kind, paths = document.get("type"), document.get("paths")
    if kind not in ("file", "tabular") or not isinstance(paths, list) or not paths:
        raise UsageError(
            'A dataset\'s document must have a "type", "file" or "tabular", and "paths", a list, got'
            f" {dict(document)!r}. Register the dataset again."
        )
    common: dict[str, Any] = {
        "sources": tuple(_from_source(path, workspace) for path in paths),
        "partition_format": document.get("partition_format"),
        "taken": document.get("take"),
        "skipped": document.get("skip", 0),
        "storage_options": document.get("storage_options") or (),
        "name": document.get("name"),
        "version": document.get("version"),
    }
    if kind == "file":
        return FileDataset(**common)
    given = {name: document[name] for name in (*_TABLE, "dtype", "columns") if name in document}
    return TabularDataset(**common, **given)


def _from_source(path: Any, workspace: Workspace) -> DataPath | str:
    if isinstance(path, Mapping):
        return workspace.datastores[str(path["datastore"])].path(path.get("path"))
    return str(path)


def places(dataset: FileDataset | TabularDataset, workspace: Workspace) -> list[str]:
    """Local paths and URLs of a dataset's sources: folders, files and globs, wherever the workspace redirects them to.

    `take` and `skip` are not seen here: see `daskbatch.api.dataset_rows.materialise`.
    """
    return [_place(source, workspace) for source in dataset.references]


def _place(source: DataPath | str, workspace: Workspace) -> str:
    if not isinstance(source, str):
        return source.place()
    return redirected(workspace, source if is_url(source) else local_path("path", source))


def localised(dataset: FileDataset | TabularDataset, workspace: Workspace) -> FileDataset | TabularDataset:
    """The same dataset, with local paths and URLs in the place of what it refers to.

    Raises
    ------
    UsageError
        It lies in several stores that are reached by different options.
    """
    if getattr(dataset, "collection", None) is not None:
        return dataset
    paths = tuple(places(dataset, workspace))
    options = dataset.store_options() if any(map(is_url, paths)) else ()
    return replace(dataset, sources=(), paths=paths, storage_options=options)
