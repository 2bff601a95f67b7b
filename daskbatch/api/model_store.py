"""Models that lie in a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from daskbatch.api import store_transfer, transfer
from daskbatch.api.dataset_base import located
from daskbatch.api.dataset_sources import sources_of
from daskbatch.api.places import is_url
from daskbatch.errors import NotFound, UsageError
from daskbatch.remote.listing import list_objects
from daskbatch.remote.options import StorageOptions, checked
from daskbatch.remote.retrying import AT_START
from daskbatch.remote.urls import join, protocol_of

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["put_model", "stored_model"]


def stored_model(given: object, child_paths: Iterable[str] | None) -> Mapping[str, object] | None:
    """Where a model lies, for its document; None where that is a local path.

    Raises
    ------
    NotFound
        There is nothing.
    UsageError
        It is no place of one model.
    StorageError
        The store cannot be read from here.
    """
    if isinstance(given, Path) or (isinstance(given, str) and not is_url(given)):
        return None
    (source, *more) = sources_of(given)
    place = located(source)
    if not is_url(place) and not more:
        return None
    if more or child_paths is not None:
        raise UsageError(
            f"model_path must be one object or folder of a store, and without child_paths, got {given!r}. Next: put"
            " what belongs to the model into one folder."
        )
    options = checked((), protocol_of(place)) if isinstance(source, str) else source.storage_options()
    return _document(place.rstrip("/"), options)


def _document(url: str, options: StorageOptions) -> dict[str, object]:
    try:
        first = next(list_objects((url,), options, AT_START))
    except UsageError as error:
        if isinstance(error, NotFound):
            raise
        raise type(error)(f"model_path: {error}") from None
    is_one = first.url == url
    known: dict[str, object] = {"kind": "object", "token": first.token} if is_one else {"kind": "prefix"}
    return {"path": url.rpartition("/")[2], "url": url, **known, "storage_options": dict(options)}


def put_model(workspace: Workspace, source: Path, parts: list[str] | None, name: str) -> Mapping[str, object] | None:
    """Copy a local model into the default datastore where that is a store; where it lies then, else None.

    Raises
    ------
    UsageError
        It cannot be read.
    StorageError
    """
    datastore = workspace.get_default_datastore()
    root = datastore.place(f"azureml-models/{name}")
    if not is_url(root):
        return None
    options = datastore.options_of(root)
    url = join(root, source.name)
    if source.is_file():
        pairs, folder = [(source, source.name)], root
    else:
        below = transfer.below(source) if parts is None else parts
        pairs, folder = [(source / part, part) for part in below], url
    store_transfer.upload(pairs, folder, options, overwrite=True, show=False)
    return _document(url, options)
