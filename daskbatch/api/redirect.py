"""``"redirect"`` in a workspace's ``config.json``: data that is registered in one place, and read from another.

So code written for a cloud runs against local copies::

    {"workspace_name": "w", "redirect": {"myaccount/mycontainer": "copies/mnist", "s3://bucket/photos": "/data/photos"}}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daskbatch.api.places import is_url, place
from daskbatch.errors import UsageError

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["check_redirects", "redirected"]

_AZURE_HOST = re.compile(r"([a-z0-9-]+)\.(?:blob|dfs)\.[a-z0-9.-]+", re.IGNORECASE)


def redirected(workspace: Workspace, place: str) -> str:
    """Where the data of a place is to be found.

    Parameters
    ----------
    workspace : Workspace
    place : str
        A URL, ``"account/container"`` of Azure Blob Storage, or an absolute path; below it too, globs included.

    Returns
    -------
    str
        What the longest entry of ``"redirect"`` that is the place, or is above it, puts in its stead: an absolute path
        or a URL. The place itself where there is none.
    """
    wanted = _parts(place)
    best: tuple[int, str] | None = None
    for prefix, target in workspace.redirects.items():
        parts = _parts(prefix)
        if wanted[: len(parts)] == parts and (best is None or len(parts) > best[0]):
            best = (len(parts), target)
    if best is None:
        return place
    length, target = best
    rest = "/".join(wanted[length:])
    return f"{target.rstrip('/')}/{rest}" if rest else target


def check_redirects(value: object, base: str) -> dict[str, str]:
    """The entries of ``"redirect"``; relative folders are below `base`.

    Raises
    ------
    UsageError
    """
    if not isinstance(value, Mapping):
        raise UsageError(
            f'"redirect" of config.json must be an object such as {{"account/container": "folder"}}, got {value!r}.'
        )
    found = {}
    for prefix, target in value.items():
        if not isinstance(target, str) or not target or not _parts(prefix):
            raise UsageError(
                '"redirect" of config.json must lead from "account/container" or a URL to a folder or URL, got'
                f" {prefix!r}: {target!r}."
            )
        where = target if "://" in target else os.path.join(base, os.path.expanduser(target))
        found[prefix] = place(f'"redirect" of config.json for {prefix!r}', where)
    return found


def _parts(place: str) -> list[str]:
    """A place as the list of its parts. All the names of an Azure container have the same two first parts."""
    if not is_url(place):
        path = place.removeprefix("file://")
        parts = [part for part in path.split("/") if part]
        if path.startswith("/"):
            return ["/", *parts]
        return [*(account.lower() for account in parts[:1]), *parts[1:]]
    url = urlsplit(place)
    inside = [part for part in url.path.split("/") if part]
    container, at, host = url.netloc.rpartition("@")
    if azure := _AZURE_HOST.fullmatch(host):
        return [azure[1].lower(), *([container] if at else []), *inside]
    return [f"{url.scheme}://{url.netloc}", *inside]
