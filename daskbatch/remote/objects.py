"""Small objects, whole: what a run's state is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from daskbatch.remote import others
from daskbatch.remote.errors import ObjectMissing, StorageError, code_of
from daskbatch.remote.fetch import AT_ONCE, read_into_memory, read_range
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.listing import keys_below
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.requests import each, plain_etag, request, run
from daskbatch.remote.retrying import USUAL, Limit

__all__ = ["ObjectState", "fetch_below", "object_state", "read_many", "read_object"]

_MOST = 2**40
"""Bytes; no object of a run's state is as long."""


class ObjectState(NamedTuple):
    """What a store tells of an object."""

    size: int
    """Bytes."""
    token: str
    """Its etag, else what changes with its content."""
    changed: float
    """When it was put, in seconds since 1970 by the store's clock; 0: not told."""


def object_state(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> ObjectState | None:
    """Ask for an object; None where there is none.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    try:
        if not is_s3(file_system):
            return ObjectState(*others.look(file_system, url, limit))
        head = run(file_system, request(file_system, "head_object", url, "asking for it", limit))
    except ObjectMissing:
        return None
    return ObjectState(int(head["ContentLength"]), plain_etag(head), head["LastModified"].timestamp())


def read_object(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> bytes | None:
    """All bytes of an object; None where there is none.

    Raises
    ------
    StorageError
    """
    try:
        return read_range(url, 0, _MOST, options, limit=limit)
    except ObjectMissing:
        return None


def read_many(urls: Sequence[str], options: StorageOptions = (), limit: Limit = USUAL) -> list[bytes | None]:
    """All bytes of each, many at the same time; None for those that are not there.

    Raises
    ------
    StorageError
    """
    if not urls:
        return []
    file_system = filesystem(urls[0], options)
    if not is_s3(file_system):
        return [read_object(url, options, limit) for url in urls]
    found: list[bytes | None] = [None] * len(urls)

    async def get(place: int) -> None:
        try:
            found[place] = await read_into_memory(file_system, urls[place], 0, _MOST, "", limit)
        except ObjectMissing:
            return
        except StorageError as error:
            if code_of(error) not in ("InvalidRange", "416"):
                raise
            found[place] = b""  # no range lies inside an object of zero bytes

    run(file_system, each(range(len(urls)), get, min(AT_ONCE, len(urls))))
    return found


def fetch_below(url: str, folder: Path, options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Write small objects below a prefix to files below a folder; never outside of it.

    Names that end in a slash are left out: they stand for folders, and are made by browsers of a store.

    Raises
    ------
    StorageError
    """
    root = url.rstrip("/") + "/"
    urls = [one.url for one in keys_below(url, options, limit) if not one.url.endswith("/")]
    for found, data in zip(urls, read_many(urls, options, limit), strict=True):
        path = folder.joinpath(*found.removeprefix(root).split("/"))
        if data is not None and path.resolve().is_relative_to(folder.resolve()):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(data)
