"""Requests to Azure Blob storage, through the client that adlfs has made.

adlfs finds the credentials and keeps the client. Its own calls are not used: they take ``?`` and ``#`` in a name for
parts of a URL, ask for no etag, and have a loop of retries below ours.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from daskbatch.remote.errors import Kind, ObjectMissing, code_of, kind_of
from daskbatch.remote.requests import each, run
from daskbatch.remote.retrying import Limit, retried
from daskbatch.remote.urls import split

__all__ = ["Child", "children", "create", "delete", "has_below", "look", "put", "put_file", "read"]

Child = tuple[str, int, str]
"""Name, with a slash behind it where it is a folder; bytes; etag."""

T = TypeVar("T")

_ONCE = {"retry_total": 0, "connection_timeout": 10, "read_timeout": 60}
"""One loop decides on retries, ours. Seconds."""
_BLOCK = 32 * 2**20
"""Bytes up to which an object is put in one request, and of a block above it."""
_MAX_BLOCKS = 50_000
_PAGE = 5000
"""Names of one answer: the most that Azure gives."""
_AT_ONCE = 4
"""Blocks in memory at the same time: 128 MiB."""


def put(file_system: Any, url: str, data: bytes, limit: Limit) -> str:
    """Put an object; its etag. Above 64 MiB the client cuts it into blocks, and it still appears in one step."""
    return _plain(_wait(file_system, lambda: _upload(file_system, url, data, overwrite=True), url, "putting", limit))


def create(file_system: Any, url: str, data: bytes, limit: Limit) -> bool:
    """Put an object where there is none; whether it was done. A lost reply makes it seem not to have been."""

    async def attempt() -> bool:
        try:
            await _upload(file_system, url, data, overwrite=False)
        except Exception as error:
            if code_of(error) == "BlobAlreadyExists" or kind_of(error) is Kind.CHANGED:
                return False
            raise
        return True

    return _wait(file_system, attempt, url, "creating", limit)


def put_file(file_system: Any, url: str, path: str, limit: Limit) -> str:
    """Put a file; its etag. A large one goes in blocks; blocks that no list names are removed by the store."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _BLOCK:
            return put(file_system, url, file.read(), limit)
        return run(file_system, _in_blocks(file_system, url, file.fileno(), size, limit))


async def _in_blocks(file_system: Any, url: str, number: int, size: int, limit: Limit) -> str:
    from azure.storage.blob import BlobBlock

    blob, length, mark = _blob(file_system, url), max(_BLOCK, -(-size // _MAX_BLOCKS)), uuid.uuid4().hex
    names = [f"{mark}-{place:05}" for place in range(-(-size // length))]

    async def send(place: int) -> None:
        data = os.pread(number, length, place * length)
        await _tried(
            lambda: blob.stage_block(names[place], data, length=len(data), validate_content=True, **_ONCE),
            url, f"sending block {place + 1}", limit,
        )  # fmt: skip

    await each(range(len(names)), send, _AT_ONCE)
    blocks = [BlobBlock(name) for name in names]
    return _plain(await _tried(lambda: blob.commit_block_list(blocks, **_ONCE), url, "finishing the upload", limit))


def read(file_system: Any, url: str, start: int, end: int, token: str, limit: Limit) -> bytes:
    """Bytes ``[start, end)``, fewer where the object ends before; `ObjectChanged` where its etag is not `token`."""
    if start >= end:
        return b""

    async def attempt() -> bytes:
        try:
            stream = await _blob(file_system, url).download_blob(
                offset=start, length=end - start, max_concurrency=1, **_matching(token), **_ONCE
            )
            data: bytes = await stream.readall()
        except Exception as error:
            if code_of(error) == "InvalidRange":  # the object ends before `start`
                return b""
            raise
        return data

    return _wait(file_system, attempt, url, "reading", limit)


def look(file_system: Any, url: str, limit: Limit) -> tuple[int, str, float]:
    """Bytes and etag of an object, and when it was put, in seconds since 1970 by the store's clock.

    Raises
    ------
    ObjectMissing
        Where there is none; a folder of an account with a hierarchy is none.
    StorageError
    """
    found = _wait(
        file_system, lambda: _blob(file_system, url).get_blob_properties(**_ONCE), url, "asking for it", limit
    )
    if _is_folder(found):
        raise ObjectMissing(f"{url}: there is no such object, but a folder of that name. Next: check the path.")
    return int(found["size"]), _plain(found), found["last_modified"].timestamp()


def delete(file_system: Any, url: str, limit: Limit) -> None:
    """Delete an object; `ObjectMissing` where there is none."""
    _wait(file_system, lambda: _blob(file_system, url).delete_blob(**_ONCE), url, "deleting", limit)


def has_below(file_system: Any, url: str, limit: Limit) -> bool:
    """Whether any object lies below the folder."""

    async def attempt() -> bool:
        container, key = _place(file_system, url)
        found = container.list_blobs(name_starts_with=key.rstrip("/") + "/", results_per_page=1, **_ONCE)
        async for _ in found:
            return True
        return False

    return _wait(file_system, attempt, url, "asking for it", limit)


def children(file_system: Any, root: str, limit: Limit) -> list[Child]:
    """What lies in a folder, in no order: one folder's names are in memory. `root` ends in a slash."""
    container, prefix = _place(file_system, root)

    async def page(token: str | None) -> tuple[list[Child], str | None]:
        listing = container.walk_blobs(prefix, include=["metadata"], delimiter="/", results_per_page=_PAGE, **_ONCE)
        pages = listing.by_page(token)
        found: list[Child] = []
        async for entry in await anext(pages):
            name = entry["name"].removeprefix(prefix)
            if name and not _is_folder(entry):
                found.append((name, int(entry.get("size") or 0), _plain(entry)))
        return found, pages.continuation_token or None

    listed, token = _wait(file_system, lambda: page(None), root, "listing", limit)
    while token is not None:
        more, token = _wait(file_system, partial(page, token), root, "listing", limit)
        listed += more
    return listed


def _wait(file_system: Any, ask: Callable[[], Awaitable[T]], url: str, doing: str, limit: Limit) -> T:
    return run(file_system, _tried(ask, url, doing, limit))


async def _tried(ask: Callable[[], Awaitable[T]], url: str, doing: str, limit: Limit) -> T:
    async def attempt(_: int) -> T:
        async with asyncio.timeout(limit.seconds):  # a body that comes byte by byte never times out by itself
            return await ask()

    return await retried(attempt, url, doing, limit)


def _place(file_system: Any, url: str) -> tuple[Any, str]:
    """The container's client, and the object's name in it."""
    container, key = split(url)
    # abfs://container@account.dfs.core.windows.net/name: the account is the filesystem's own
    return file_system.service_client.get_container_client(container.partition("@")[0]), key


def _blob(file_system: Any, url: str) -> Any:
    container, key = _place(file_system, url)
    return container.get_blob_client(key)


async def _upload(file_system: Any, url: str, data: bytes, *, overwrite: bool) -> Any:
    return await _blob(file_system, url).upload_blob(
        data, length=len(data), overwrite=overwrite, validate_content=True, max_concurrency=_AT_ONCE, **_ONCE
    )


def _matching(token: str) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": f'"{token}"', "match_condition": MatchConditions.IfNotModified} if token else {}


def _is_folder(found: Any) -> bool:
    """Whether it is the mark of a folder: accounts with a hierarchy list them as objects of no bytes."""
    said = {name.lower(): value for name, value in (found.get("metadata") or {}).items()}
    return said.get("hdi_isfolder") == "true"


def _plain(found: Any) -> str:
    return str(found.get("etag") or "").strip('"')
