"""Local folders whose files are put to a store again and again: what has changed, each whole."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from daskbatch.remote.errors import StorageError
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import put_whole_file
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.urls import join

__all__ = ["Uploads", "now_and_then"]

_EVERY = 10.0
"""Seconds."""
_UNFINISHED = re.compile(r"[0-9a-f]{32}\.[0-9]+-[0-9a-f]{8}\.tmp")
"""Names under which `worker.model_pins` writes, beside what it then links there. No others that end in .tmp: a script
may have its own."""


class Uploads:
    """Puts files below some folders to the same names below some URLs. Any thread, one at a time.

    A note of which model is used is put when it is whole, never what it is written to before.

    Parameters
    ----------
    folders
        Absolute path of each folder, and the URL that stands for it. A folder need not be there.
    options, limit
    skip
        Names right below a folder that are left alone.
    """

    def __init__(
        self,
        folders: Mapping[str, str],
        options: StorageOptions = (),
        limit: Limit = USUAL,
        skip: Sequence[str] = (),
    ) -> None:
        self._folders = dict(folders)
        self._options = options
        self.limit = limit
        self._skip = frozenset(skip)
        self._sent: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def send(self) -> None:
        """Put what is new or has changed since it was put last. A file that vanishes meanwhile is left out.

        Raises
        ------
        StorageError
            The files before it are there; the others are put with the next call.
        """
        with self._lock:
            for path, url in self._files():
                try:
                    seen = _state(path)
                    if self._sent.get(path) == seen:
                        continue
                    put_whole_file(url, path, self._options, self.limit)
                except FileNotFoundError:
                    continue
                self._sent[path] = seen

    def take_as_sent(self) -> None:
        """What lies in the folders has come from the store."""
        with self._lock:
            for path, _ in self._files():
                self._sent[path] = _state(path)

    def _files(self) -> Iterator[tuple[str, str]]:
        """Regular files, never through a link, and their URLs."""
        for root, url in self._folders.items():
            for folder, folders, names in os.walk(root):
                if folder == root:
                    folders[:] = [name for name in folders if name not in self._skip]
                    names = [name for name in names if name not in self._skip]
                folders.sort()
                for name in sorted(names):
                    if _UNFINISHED.fullmatch(name):
                        continue
                    path = os.path.join(folder, name)
                    if os.path.isfile(path) and not os.path.islink(path):
                        yield path, join(url, *os.path.relpath(path, root).split(os.sep))


def _state(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def now_and_then(send: Callable[[], None]) -> Iterator[None]:
    """Call it every ten seconds while the context lasts; what it raises, the last call has to raise again."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(_EVERY):
            with contextlib.suppress(StorageError, OSError):
                send()

    thread = threading.Thread(target=go_on, name="daskbatch-uploads", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
