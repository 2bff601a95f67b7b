"""The scratch folder of one run on one Dask worker."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from daskbatch.failpoints import failpoint
from daskbatch.worker.local_scratch import local_scratch

__all__ = ["Scratch"]


class Scratch:
    """A folder that is made for the first runner and removed with the last.

    A worker that is killed removes nothing: then the supervisors of its runners do.

    Parameters
    ----------
    processes : iterable of str
        Names of the slots; each gets a working folder.
    pickled : bytes or None
        The user's object, for the runners to load.
    package : Path or None
        The package's folder, for runners with another interpreter: beside it may lie packages for this one alone.

    Raises
    ------
    OSError
        No folder can be made there.
    """

    def __init__(self, processes: Iterable[str], pickled: bytes | None, package: Path | None = None) -> None:
        self.folders: list[str] = []
        """Paths of more folders in it."""
        self.files: dict[str, bytes] = {}
        """More files in it: path and content."""
        self.path = tempfile.mkdtemp(prefix="daskbatch-", dir=local_scratch())
        os.rmdir(self.path)  # one could be made; until there is a runner, nobody would remove it after a kill
        self._processes = tuple(processes)
        self._pickled = pickled
        self._package = package
        self._lock = threading.Lock()
        self._made = False

    def working(self, process: str) -> str:
        """Working folder of a slot."""
        return os.path.join(self.path, process)

    @property
    def copies(self) -> str:
        """Folder for copies of what lies in a store."""
        return os.path.join(self.path, "copies")

    @property
    def made(self) -> bool:
        """Whether it is there: then somebody removes it."""
        return self._made

    @property
    def pickle(self) -> str | None:
        """Where the user's object lies, if there is one."""
        return None if self._pickled is None else os.path.join(self.path, "entry.pickle")

    @property
    def package_root(self) -> str | None:
        """Folder with the package and nothing else, if there is one."""
        return None if self._package is None else os.path.join(self.path, "package")

    def make(self) -> None:
        """Make it, unless that was done. Any thread."""
        with self._lock:
            if self._made:
                return
            os.mkdir(self.path, 0o700)
            for process in self._processes:
                os.mkdir(self.working(process))
            for folder in self.folders:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            for path, content in self.files.items():
                Path(path).write_bytes(content)
            if self.package_root is not None and self._package is not None:
                os.mkdir(self.package_root)
                os.symlink(self._package, os.path.join(self.package_root, self._package.name))
            if self.pickle is not None and self._pickled is not None:
                Path(self.pickle).write_bytes(self._pickled)
            self._made = True

    def remove(self) -> None:
        """Remove it with all that is in it."""
        failpoint("scratch.remove.before")
        shutil.rmtree(self.path, ignore_errors=True)
        failpoint("scratch.remove.after")
