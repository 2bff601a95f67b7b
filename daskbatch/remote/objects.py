"""Small objects, whole: what a run's state is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from daskbatch.remote.errors import ObjectMissing, StorageError, explained
from daskbatch.remote.fetch import AT_ONCE, read_into_memory, read_range
from daskbatch.remote.filesystem import filesystem, is_s3, token_of
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.requests import each, plain_etag, request, run
from daskbatch.remote.retrying import USUAL, Limit, retried_sync
from daskbatch.remote.urls import split

__all__ = [
    "ObjectState",
    "delete_below",
    "delete_many",
    "fetch_below",
    "keys_below",
    "object_state",
    "read_many",
    "read_object",
]

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
            info = retried_sync(lambda: file_system.info(url), url, "asking for it", limit)
            return ObjectState(int(info["size"] or 0), token_of(info), _seconds(info)) if _is_file(info) else None
        head = run(file_system, request(file_system, "head_object", url, "asking for it", limit))
    except ObjectMissing:
        return None
    return ObjectState(int(head["ContentLength"]), plain_etag(head), _seconds(head))


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
    """All bytes of each, many at the same time; None for those that are not there. No object of zero bytes.

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

    run(file_system, each(range(len(urls)), get, min(AT_ONCE, len(urls))))
    return found


def keys_below(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> list[str]:
    """URLs of all objects below a prefix, names that begin with a dot too, in the store's order.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    root = url.rstrip("/") + "/"
    if is_s3(file_system):
        return run(file_system, _keys(file_system, root, limit))
    try:
        names = retried_sync(lambda: file_system.find(root), root, "listing", limit)
    except ObjectMissing:
        return []
    return [file_system.unstrip_protocol(name) for name in names]


async def _keys(file_system: Any, root: str, limit: Limit) -> list[str]:
    prefix = split(root)[1]
    place = root[: len(root) - len(prefix)]
    found: list[str] = []
    where: dict[str, str] = {}
    while True:
        answer = await request(file_system, "list_objects_v2", place, "listing", limit, Prefix=prefix, **where)
        found += [place + entry["Key"] for entry in answer.get("Contents", ())]
        if not answer.get("IsTruncated"):
            return found
        where = {"ContinuationToken": answer["NextContinuationToken"]}


def delete_many(urls: Iterable[str], options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Delete objects of one bucket; well too where they are not there.

    Raises
    ------
    StorageError
    """
    source = iter(urls)
    while some := list(islice(source, 1000)):  # the most that S3 takes
        file_system = filesystem(some[0], options)
        if is_s3(file_system):
            run(file_system, _delete(file_system, some, limit))
            continue
        for url in some:
            try:
                file_system.rm_file(url)
            except FileNotFoundError:
                continue
            except Exception as error:
                raise explained(error, url, "deleting") from error


async def _delete(file_system: Any, urls: Sequence[str], limit: Limit) -> None:
    """Many in one request; those that the store has not taken, one by one."""
    named = {split(url)[1]: url for url in urls}
    key = split(urls[0])[1]
    place = urls[0][: len(urls[0]) - len(key)]
    objects = {"Objects": [{"Key": name} for name in named], "Quiet": True}
    try:
        answer = await request(file_system, "delete_objects", place, "deleting", limit, Delete=objects)
        left = [named[entry["Key"]] for entry in answer.get("Errors", ()) if entry.get("Key") in named]
    except StorageError:
        left = list(urls)

    async def delete(url: str) -> None:
        await request(file_system, "delete_object", url, "deleting", limit)

    await each(left, delete, AT_ONCE)


def delete_below(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Delete all objects below a prefix.

    Raises
    ------
    StorageError
    """
    delete_many(keys_below(url, options, limit), options, limit)


def fetch_below(url: str, folder: Path, options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Write small objects below a prefix to files below a folder; never outside of it.

    Raises
    ------
    StorageError
    """
    urls, root = keys_below(url, options, limit), url.rstrip("/") + "/"
    for found, data in zip(urls, read_many(urls, options, limit), strict=True):
        path = folder.joinpath(*found.removeprefix(root).split("/"))
        if data is not None and path.resolve().is_relative_to(folder.resolve()):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(data)


def _is_file(info: dict[str, Any]) -> bool:
    return bool(info["type"] == "file")


def _seconds(info: dict[str, Any]) -> float:
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0
