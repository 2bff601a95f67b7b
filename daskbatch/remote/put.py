"""From local bytes to an object: whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
from enum import Enum
from typing import Any

from daskbatch.remote import others
from daskbatch.remote.errors import Kind, code_of, kind_of
from daskbatch.remote.fetch import read_range
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.multipart import MAX_PARTS, Sent, begun
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.requests import each, md5_for, md5_header, once, plain_etag, request, run
from daskbatch.remote.retrying import USUAL, Limit, retried

__all__ = ["ONE_REQUEST", "Created", "create", "delete", "put_bytes", "put_file", "put_whole_file"]

ONE_REQUEST = 32 * 2**20
"""Bytes up to which an object is put in one request, and of a part above it."""

PARTS_AT_ONCE = 4
"""Parts in memory at the same time: 128 MiB."""


class Created(Enum):
    """What came of `create`."""

    MADE = "made"
    """There was none; now there is, with these bytes."""
    EXISTS = "exists"
    """There is one, of other bytes; it was left alone."""
    UNSUPPORTED = "unsupported"
    """The store has no conditional put; nothing was done."""


def put_bytes(url: str, data: bytes | memoryview, options: StorageOptions = (), limit: Limit = USUAL) -> str:
    """Put an object, in one request; its etag. A second put of the same bytes is harmless, so a lost reply is.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    if not is_s3(file_system):
        return others.put(file_system, url, bytes(data), limit)
    return plain_etag(run(file_system, _put(file_system, url, bytes(data), limit)))


async def _put(file_system: Any, url: str, data: bytes, limit: Limit) -> Any:
    md5 = await md5_for(file_system, data)
    return await request(file_system, "put_object", url, "putting", limit, Body=data, ContentMD5=md5)


def put_file(url: str, path: str, options: StorageOptions = (), limit: Limit = USUAL) -> str:
    """Put a local file; its etag. Larger ones go in parts, and appear in one step.

    Raises
    ------
    StorageError
        No part of the file is published then, and no upload left pending.
    """
    file_system = filesystem(url, options)
    if not is_s3(file_system):
        return others.put_file(file_system, url, path, limit)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= ONE_REQUEST:
            return plain_etag(run(file_system, _put(file_system, url, file.read(), limit)))
        return run(file_system, _in_parts(file_system, url, file.fileno(), size, limit))


def put_whole_file(url: str, path: str, options: StorageOptions = (), limit: Limit = USUAL) -> str:
    """Put a local file as it is now, and of an S3 store in one request whatever its size; its etag.

    A kill in the middle leaves nothing pending there, which nobody would have noted. It takes up to 5 GiB, as stores
    do. Other stores clear up by themselves, or have no such thing: there it goes as by `put_file`.

    Raises
    ------
    StorageError
    FileNotFoundError
    """
    file_system = filesystem(url, options)
    if not is_s3(file_system):
        return others.put_file(file_system, url, path, limit)
    if os.stat(path).st_size <= ONE_REQUEST:
        with open(path, "rb") as file:
            return put_bytes(url, file.read(), options, limit)

    with open(path, "rb") as file:

        async def attempt(_: int) -> Any:
            file.seek(0)
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
            file.seek(0)
            body = {"Body": file, "ContentMD5": base64.b64encode(digest).decode()}
            return await once(file_system, "put_object", url, **body)

        return plain_etag(run(file_system, retried(attempt, url, "putting", limit)))


async def _in_parts(file_system: Any, url: str, number: int, size: int, limit: Limit) -> str:
    length = max(ONE_REQUEST, -(-size // MAX_PARTS))
    async with begun(file_system, url, limit=limit) as upload:
        sent: list[Sent] = []

        async def send(part: int) -> None:
            data = os.pread(number, length, part * length)
            sent.append(await upload.send(file_system, part + 1, data, limit))

        await each(range(-(-size // length)), send, PARTS_AT_ONCE)
        return await upload.finish(file_system, sent, limit)


def create(url: str, data: bytes, options: StorageOptions = (), limit: Limit = USUAL) -> Created:
    """Put an object only where there is none, decided by the store in one step.

    The bytes must be the caller's own, such as with a random name in them: by them it knows after a lost reply
    that the object there is its.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    if not is_s3(file_system) and not others.can_create(file_system):
        return Created.UNSUPPORTED

    async def attempt(_: int) -> Created:
        try:
            await once(file_system, "put_object", url, Body=data, ContentMD5=md5_header(data), IfNoneMatch="*")
        except Exception as error:
            if code_of(error) in ("NotImplemented", "InvalidArgument", "InvalidRequest", "EINVAL", "501"):
                return Created.UNSUPPORTED
            if kind_of(error) is Kind.CHANGED:
                return Created.EXISTS
            raise
        return Created.MADE

    if is_s3(file_system):
        made = run(file_system, retried(attempt, url, "creating", limit))
    else:
        made = Created.MADE if others.create(file_system, url, data, limit) else Created.EXISTS
    if made is Created.EXISTS and read_range(url, 0, len(data) + 1, options, limit=limit) == data:
        return Created.MADE
    return made


def delete(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Delete an object; well too where there is none.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    if is_s3(file_system):
        run(file_system, request(file_system, "delete_object", url, "deleting", limit))
    else:
        others.delete(file_system, url, limit)
