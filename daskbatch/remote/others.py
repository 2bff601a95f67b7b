"""What is asked of a store that is no S3: Azure by requests of its own, all others by what fsspec has for all.

The promises of each are in ``docs/storage.md``.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from typing import Any

from daskbatch.remote import azure
from daskbatch.remote.errors import ObjectChanged, ObjectMissing
from daskbatch.remote.filesystem import is_azure, is_memory, time_of, token_of
from daskbatch.remote.retrying import Limit, retried_sync
from daskbatch.remote.urls import shown

__all__ = ["can_create", "children", "create", "delete", "is_folder", "look", "put", "put_file", "read"]

_IN_MEMORY = threading.Lock()
"""The memory filesystem looks whether there is one and makes it in two steps."""


def put(file_system: Any, url: str, data: bytes, limit: Limit) -> str:
    """Put an object, whole or not at all; its token, empty where the store tells none."""
    if is_azure(file_system):
        return azure.put(file_system, url, data, limit)
    return _placed(file_system, url, lambda where: file_system.pipe_file(where, data), limit)


def put_file(file_system: Any, url: str, path: str, limit: Limit) -> str:
    """Put a local file, whole or not at all; its token."""
    if is_azure(file_system):
        return azure.put_file(file_system, url, path, limit)
    return _placed(file_system, url, lambda where: file_system.put_file(path, where), limit)


def _placed(file_system: Any, url: str, write: Callable[[str], object], limit: Limit) -> str:
    """Write it under another name and rename it, where a filesystem renames; elsewhere it appears with its last byte.

    A store of objects has no renaming, but shows no object before it is whole.
    """
    from fsspec import AbstractFileSystem

    def attempt() -> None:
        if type(file_system).mv is AbstractFileSystem.mv:
            write(url)
            return
        folder = url.rpartition("/")[0]
        file_system.makedirs(folder, exist_ok=True)
        partial = f"{folder}/.partial-{uuid.uuid4().hex}"
        try:
            write(partial)
            file_system.mv(partial, url)
        except BaseException:
            with contextlib.suppress(Exception):
                file_system.rm_file(partial)
            raise

    retried_sync(attempt, url, "putting", limit)
    return look(file_system, url, limit)[1]


def can_create(file_system: Any) -> bool:
    """Whether `create` can be asked for."""
    return is_azure(file_system) or is_memory(file_system)


def create(file_system: Any, url: str, data: bytes, limit: Limit) -> bool:
    """Put an object where there is none; whether it was done."""
    if is_azure(file_system):
        return azure.create(file_system, url, data, limit)
    with _IN_MEMORY:
        if file_system.exists(url):
            return False
        file_system.pipe_file(url, data)
        return True


def read(file_system: Any, url: str, start: int, end: int, token: str, limit: Limit) -> bytes:
    """Bytes ``[start, end)``, fewer where the object ends before.

    Only Azure checks the token with the read; elsewhere it is asked for behind it.

    Raises
    ------
    ObjectChanged
        Where its token is not `token`, unless that is empty.
    StorageError
    """
    if is_azure(file_system):
        return azure.read(file_system, url, start, end, token, limit)
    data: bytes = retried_sync(lambda: file_system.cat_file(url, start=start, end=end), url, "reading", limit)
    if token and (seen := look(file_system, url, limit)[1]) != token:
        raise ObjectChanged(
            f"{shown(url)}: the object has changed since it was listed: its token was {token} and is {seen}. Next:"
            " start a new run, or bring the object back."
        )
    return data


def look(file_system: Any, url: str, limit: Limit) -> tuple[int, str, float]:
    """Bytes and token of an object, and when it was put, in seconds since 1970 by the store's clock; 0: not told.

    Raises
    ------
    ObjectMissing
        Where there is none, or a folder.
    StorageError
    """
    if is_azure(file_system):
        return azure.look(file_system, url, limit)
    info = retried_sync(lambda: file_system.info(url), url, "asking for it", limit)
    if info["type"] == "directory":
        raise ObjectMissing(f"{shown(url)}: there is no such object, but a folder. Next: check the path.")
    return int(info["size"] or 0), token_of(info), time_of(info)


def delete(file_system: Any, url: str, limit: Limit) -> None:
    """Delete an object; well too where there is none."""
    with contextlib.suppress(ObjectMissing):
        if is_azure(file_system):
            azure.delete(file_system, url, limit)
        else:
            retried_sync(lambda: file_system.rm_file(url), url, "deleting", limit)


def is_folder(file_system: Any, url: str, limit: Limit) -> bool:
    """Whether objects lie below."""
    if is_azure(file_system):
        return azure.has_below(file_system, url, limit)
    return bool(retried_sync(lambda: file_system.isdir(url), url, "asking for it", limit))


def children(file_system: Any, root: str, limit: Limit) -> list[azure.Child]:
    """What lies in a folder, in no order; nothing where it is none. `root` ends in a slash."""
    if is_azure(file_system):
        return azure.children(file_system, root, limit)
    try:
        entries = retried_sync(lambda: file_system.ls(root.rstrip("/"), detail=True), root, "listing", limit)
    except ObjectMissing:
        return []
    found = []
    for entry in entries:
        name = entry["name"].rstrip("/").rpartition("/")[2]
        if name:
            folder = "/" if entry["type"] == "directory" else ""
            found.append((name + folder, int(entry["size"] or 0), token_of(entry)))
    return found
