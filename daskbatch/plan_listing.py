"""The files or objects of an input, whichever it is made of."""

from __future__ import annotations

from collections.abc import Iterator

from daskbatch.errors import InputError
from daskbatch.store.listing import Found, list_files

__all__ = ["Entry", "ObjectPath", "Storage", "is_object", "list_inputs", "refuse_mixed", "scheme_of"]

Entry = tuple[str, int, int | str]
"""Path, size in bytes, modification time in nanoseconds; or URL, size and etag."""

Storage = tuple[tuple[str, str | bool], ...]


class ObjectPath(bytes):
    """The URL of an object, with what its listing told: to ask for each again would take a request."""

    size: int
    """Bytes."""
    token: str
    """Its etag, or what else changes with its content."""


def is_object(path: str) -> bool:
    """Whether an absolute path or URL of an input is that of an object."""
    return "://" in path and not path.startswith("/")


def scheme_of(paths: tuple[str, ...]) -> str:
    """Such as ``"s3://"``, where an input lies in a store; empty where it does not."""
    return paths[0].partition("://")[0] + "://" if paths and is_object(paths[0]) else ""


def list_inputs(paths: tuple[str, ...], storage: Storage = ()) -> Iterator[Found]:
    """Files or objects of an input in order, by the same rules; see `list_files`.

    Raises
    ------
    InputError
        As `list_files`.
    StorageError
        The store cannot be asked.
    """
    return _objects(paths, storage) if paths and is_object(paths[0]) else list_files(paths)


def refuse_mixed(paths: tuple[str, ...]) -> None:
    """See that an input is either all files or all objects of one kind of store.

    Raises
    ------
    InputError
    """
    kinds = {path.partition("://")[0] if is_object(path) else "": path for path in paths}
    if len(kinds) > 1:
        raise InputError(
            f"inputs: {' and '.join(kinds.values())} do not lie in the same place. The inputs of a run are all files,"
            " or all objects of one kind of store. Next: copy some of them, or make a run for each."
        )


def _objects(paths: tuple[str, ...], storage: Storage) -> Iterator[Found]:
    from daskbatch.remote.listing import list_objects
    from daskbatch.remote.retrying import AT_START

    for listed in list_objects(paths, storage, AT_START):
        path = ObjectPath(listed.url, "utf-8", "surrogateescape")
        path.size, path.token = listed.size, listed.token
        yield path, listed.underscored
