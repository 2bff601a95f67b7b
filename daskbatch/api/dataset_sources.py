"""What users give as the place of data: paths, URLs, DataPaths, (datastore, path)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset_base import located
from daskbatch.api.datastore import Datastore
from daskbatch.api.places import is_url
from daskbatch.errors import UsageError

__all__ = ["Source", "in_datastore", "sources_of", "target_of"]

Source = DataPath | str

_ALLOWED = "a path or URL, datastore.path('folder/'), (datastore, 'folder/') or a list of them"


def sources_of(path: object) -> tuple[Source, ...]:
    """The places that ``path=`` names, in order; local ones absolute.

    Raises
    ------
    UsageError
        It is no place.
    """
    found = tuple(_each(path))
    if not found:
        raise UsageError(f"path must be {_ALLOWED}, got an empty list.")
    return found


def _each(path: object) -> Iterator[Source]:
    if isinstance(path, (list, tuple)) and not (path and isinstance(path[0], Datastore)):
        for one in path:
            yield from _each(one)
    elif isinstance(path, tuple) and len(path) == 2 and isinstance(path[1], (list, tuple)):
        for relative in path[1]:
            yield _one("path", (path[0], relative))
    else:
        yield _one("path", path)


def _one(name: str, place: object) -> Source:
    if isinstance(place, DataPath):
        return place
    if isinstance(place, Datastore):
        return place.path()
    if isinstance(place, (list, tuple)) and len(place) == 2 and isinstance(place[0], Datastore):
        return place[0].path(place[1])
    if isinstance(place, (str, os.PathLike)):
        return located(os.fspath(place))
    raise UsageError(f"{name} must be {_ALLOWED}, got {place!r}.")


def target_of(name: str, place: object) -> Source:
    """One folder to write to, in a datastore or on this machine.

    Raises
    ------
    UsageError
        It is none.
    """
    source = _one(name, place)
    if isinstance(source, str) and is_url(source):
        raise UsageError(f"{name} must be a folder or (datastore, 'folder'), got {source!r}.")
    return source


def in_datastore(place: object) -> DataPath:
    """A place to write to that is in a datastore.

    Raises
    ------
    UsageError
        It is not.
    """
    source = target_of("target", place)
    if isinstance(source, str):
        raise UsageError(f"target must be (datastore, 'folder') or datastore.path('folder'), got {place!r}.")
    return source
