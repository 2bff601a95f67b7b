"""What scripts need as local files: each fetched once for a host and run, whoever asks first.

Several Dask workers of a host share a folder. Who fetches holds a lock of the kernel: the others wait for it, and one
of them takes over where that process ends before it has fetched all. On local scratch alone: such a lock on a shared
filesystem is slow, or is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import stat
import sys
import threading
import zipfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from daskbatch.errors import DaskbatchError, InputError
from daskbatch.remote.fetch import Wanted, fetch, fetch_many
from daskbatch.remote.listing import Listed, list_objects
from daskbatch.remote.options import StorageOptions, from_json
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.urls import shown, split
from daskbatch.worker.shared_folder import SharedFolder, found_at, place_of

__all__ = ["KINDS", "BadArchive", "NodeFiles"]

KINDS = ("object", "prefix", "zip", "any", "folder")
"""One object; all below a prefix or of a glob; an object that is unpacked; an object if there is one, else a prefix; a
folder of a filesystem that the node sees."""

_LOT = 1000


class BadArchive(DaskbatchError):
    """Raised when a zip object is none, or names files outside of its folder."""


class NodeFiles:
    """Fetches objects into a folder that processes of a host share. Any thread.

    Parameters
    ----------
    folder : str
        On local scratch, the same for all processes that share; made with the first, removed with the last.
    options : StorageOptions
        How the store is reached.
    limit : Limit
        Of each request.
    """

    def __init__(self, folder: str, options: StorageOptions = (), limit: Limit = USUAL) -> None:
        self.folder = folder
        self._options = options
        self._limit = limit
        self._shared: SharedFolder | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def join(self) -> None:
        """Make the folder, or use the one that is there.

        Raises
        ------
        OSError
        """
        with self._lock:
            if self._shared is None:
                self._shared = SharedFolder(self.folder)

    def close(self) -> None:
        """Use the files no more; the last one of the host removes them."""
        with self._lock:
            if self._shared is not None:
                self._shared.close()
                self._shared = None

    def get(self, url: str, kind: str, token: str = "", options: StorageOptions | None = None) -> str:
        """Local path of an object, or of a folder with objects; fetched unless it is there.

        Parameters
        ----------
        url : str
        kind : str
            One of `KINDS`.
        token : str
            Etag of the one object; empty: whatever is there when it is fetched.
        options : StorageOptions, optional
            How its store is reached, where it is another one.

        Raises
        ------
        InputError
            There is nothing.
        StorageError, BadArchive, OSError
        """
        self.join()
        place = place_of(self.folder, url, kind, token)
        with _alone(f"{place}.lock"):
            if not os.path.isdir(place):
                part = f"{place}.part"
                shutil.rmtree(part, ignore_errors=True)  # of one that was killed
                os.mkdir(part, 0o700)
                try:
                    self._fetch(part, url, kind, token, self._options if options is None else options)
                except BaseException:
                    shutil.rmtree(part, ignore_errors=True)  # the disk may be full of it
                    raise
                os.rename(part, place)
        return found_at(place)

    def _fetch(self, part: str, url: str, kind: str, token: str, options: StorageOptions) -> None:
        if kind == "folder":
            shutil.copytree(url, os.path.join(part, os.path.basename(url)))
            return
        name = split(url)[1].rstrip("/").rpartition("/")[2] or "files"
        inner = os.path.join(part, name if not glob.has_magic(name) else "files")
        if kind == "any":
            kind, token = self._kind_of(url, options)
        if kind == "prefix":
            os.mkdir(inner)
            self._below(inner, url, options)
            return
        fetch(Wanted(url, inner, None, token), options, self._limit)
        if kind == "zip":
            os.rename(inner, archive := os.path.join(part, ".zip"))
            os.mkdir(inner)
            _unpack(archive, inner, url)
            os.unlink(archive)

    def _kind_of(self, url: str, options: StorageOptions) -> tuple[str, str]:
        first = next(list_objects((url,), options, self._limit))
        return ("object", first.token) if first.url == url else ("prefix", "")

    def _below(self, folder: str, url: str, options: StorageOptions) -> None:
        """All objects of a prefix or a glob, under the names that they have below it."""
        root = url.rstrip("/")
        lot: list[Wanted] = []
        for listed in list_objects((url,), options, self._limit):
            while not listed.url.startswith(root + "/"):
                root = root.rpartition("/")[0]
            lot.append(_wanted(listed, folder, listed.url[len(root) + 1 :]))
            if len(lot) == _LOT:
                self._many(lot, options)
                lot = []
        self._many(lot, options)

    def _many(self, lot: list[Wanted], options: StorageOptions) -> None:
        if error := next(filter(None, fetch_many(lot, options, limit=self._limit)), None):
            raise error


def _wanted(listed: Listed, folder: str, relative: str) -> Wanted:
    if ".." in relative.split("/"):
        raise InputError(
            f"{shown(listed.url)} cannot be a file: '..' in a key leads out of its folder. Next: leave it out."
        )
    path = os.path.join(folder, relative)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return Wanted(listed.url, path, listed.size, listed.token)


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """No other thread or process of the host is in here with that name."""
    number = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _unpack(archive: str, folder: str, url: str) -> None:
    """Unpack, keeping what may be executed so; names that lead out of the folder, and links, are refused."""
    try:
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                parts = info.filename.split("/")
                mode = info.external_attr >> 16
                if (
                    info.filename.startswith(("/", "\\"))
                    or ".." in parts
                    or "\\" in info.filename
                    or stat.S_ISLNK(mode)
                ):
                    raise BadArchive(
                        f"{shown(url)}: the archive names {info.filename!r}, which leads out of its folder, or is a"
                        " link. Next: make the archive anew."
                    )
                path = file.extract(info, folder)
                if mode and not info.is_dir():
                    os.chmod(path, 0o600 | (mode & 0o777))
    except zipfile.BadZipFile as error:
        raise BadArchive(f"{shown(url)} is no zip archive: {error}. Next: put it again.") from error


def main() -> None:
    """Fetch for a runner, whose interpreter may know no store: ``FOLDER URL KIND TOKEN OPTIONS``. Prints the path."""
    folder, url, kind, token, options = sys.argv[1:]
    try:
        files = NodeFiles(folder, from_json(options))
        print(files.get(url, kind, token))  # never closed: the run's worker uses the folder too
    except (DaskbatchError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
