"""Removing what lies below a URL."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from daskbatch.remote.errors import StorageError
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.listing import keys_below
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import delete
from daskbatch.remote.requests import each, request, run
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.urls import split

__all__ = ["delete_below"]

_AT_ONCE = 16
_SOME = 1000
"""URLs in memory at the same time."""


def delete_below(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> int:
    """Delete every object below a folder; how many there were. Nothing is done in one step.

    An object that appears meanwhile may stay: what counts must not hang on it.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    found, count = (one.url for one in keys_below(url, options, limit)), 0
    while some := list(islice(found, _SOME)):
        count += len(some)
        if is_s3(file_system):
            run(file_system, _delete(file_system, some, limit))
            continue
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="daskbatch-delete") as pool:
            futures = [pool.submit(contextvars.copy_context().run, delete, one, options, limit) for one in some]
            for future in futures:
                future.result()
    return count


async def _delete(file_system: Any, urls: list[str], limit: Limit) -> None:
    """Many in one request; those that the store has not taken so, one by one."""
    named = {split(url)[1]: url for url in urls}
    place = urls[0][: len(urls[0]) - len(split(urls[0])[1])]
    objects = {"Objects": [{"Key": key} for key in named], "Quiet": True}
    try:
        answer = await request(file_system, "delete_objects", place, "deleting", limit, Delete=objects)
        left = [named[entry["Key"]] for entry in answer.get("Errors", ()) if entry.get("Key") in named]
    except StorageError:
        left = urls
    await each(left, lambda one: request(file_system, "delete_object", one, "deleting", limit), _AT_ONCE)
