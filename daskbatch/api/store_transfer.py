"""Copying files between this machine and a store: whole objects alone, many at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from daskbatch.api.places import is_url
from daskbatch.api.transfer import below
from daskbatch.errors import InputError, UsageError
from daskbatch.remote.fetch import Wanted, fetch_many
from daskbatch.remote.listing import Listed, list_objects
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import put_file
from daskbatch.remote.retrying import AT_START
from daskbatch.remote.urls import join

__all__ = ["download", "folder_at", "objects_below", "upload"]

_AT_ONCE = 8
_LOT = 256
"""Objects that are fetched before the next ones are looked at."""


def objects_below(root: str, options: StorageOptions, prefix: str = "") -> Iterator[tuple[Listed, str]]:
    """Objects of a store's folder with their paths as seen from it, that begin so.

    Names that begin with a dot are left out, as wherever objects are listed.

    Raises
    ------
    StorageError
    """
    above = prefix.rpartition("/")[0]
    place = join(root, above, "") if above else join(root, "")
    begin = len(join(root, ""))
    try:
        for found in list_objects((place,), options, AT_START):
            relative = found.url[begin:]
            if relative.startswith(prefix):
                yield found, relative
    except InputError:  # there is none, which is no error here
        return


def upload(pairs: Sequence[tuple[Path, str]], root: str, options: StorageOptions, overwrite: bool, show: bool) -> int:
    """Put files below a store's folder, and return how many were put. Each object appears whole.

    Parameters
    ----------
    pairs : sequence
        A file, and its path below `root`.
    root : str
        URL.

    Raises
    ------
    UsageError
        A file cannot be read.
    StorageError
    """
    there = set() if overwrite else {relative for _, relative in objects_below(root, options)}
    wanted = []
    for source, relative in pairs:
        if relative in there:
            if show:
                print(f"{join(root, relative)} is there already: passed over. Give overwrite=True to replace it.")
        else:
            wanted.append((source, join(root, relative)))

    def put(pair: tuple[Path, str]) -> None:
        source, url = pair
        if show:
            print(f"Uploading {source} to {url}")
        try:
            put_file(url, str(source), options)
        except OSError as error:
            raise UsageError(f"{str(source)!r} cannot be read: {error.strerror or error}.") from None

    with ThreadPoolExecutor(_AT_ONCE, "daskbatch-upload") as pool:
        for _ in pool.map(put, wanted):
            pass
    return len(wanted)


def download(found: Iterable[tuple[Listed, Path]], options: StorageOptions, overwrite: bool, show: bool) -> int:
    """Fetch objects to local paths, and return how many were fetched. Each file appears whole.

    Raises
    ------
    UsageError
        A folder cannot be written.
    StorageError
    """
    fetched = 0
    waiting = iter(found)
    while lot := list(islice(waiting, _LOT)):
        wanted = []
        for listed, path in lot:
            if not overwrite and os.path.lexists(path):
                if show:
                    print(f"{path} is there already: passed over. Give overwrite=True to replace it.")
                continue
            if show:
                print(f"Downloading {listed.url} to {path}")
            wanted.append(Wanted(listed.url, str(path), listed.size, listed.token))
        try:
            for one in wanted:
                os.makedirs(os.path.dirname(one.path), exist_ok=True)
            errors = fetch_many(wanted, options)
        except OSError as error:
            raise UsageError(
                f"{error.filename!r} cannot be written: {error.strerror or error}. Choose a folder that you may write"
                " to, with room left."
            ) from None
        if bad := next(filter(None, errors), None):
            raise bad
        fetched += len(wanted)
    return fetched


@contextmanager
def folder_at(place: str, options: StorageOptions) -> Iterator[Path]:
    """A folder to write into: the place itself, or a temporary one whose files are put below the URL at the end."""
    if not is_url(place):
        yield Path(place)
        return
    with TemporaryDirectory(prefix="daskbatch-upload-") as name:
        local = Path(name)
        yield local
        upload([(local / relative, relative) for relative in below(local)], place, options, overwrite=True, show=False)
