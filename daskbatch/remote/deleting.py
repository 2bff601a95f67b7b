"""Removing what lies below a URL."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.listing import keys_below
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import delete
from daskbatch.remote.requests import each, request, run
from daskbatch.remote.retrying import USUAL, Limit

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
            work = each(some, lambda one: request(file_system, "delete_object", one, "deleting", limit), _AT_ONCE)
            run(file_system, work)
            continue
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="daskbatch-delete") as pool:
            futures = [pool.submit(contextvars.copy_context().run, delete, one, options, limit) for one in some]
            for future in futures:
                future.result()
    return count
