"""Writing a big file that must be on the disk at the end: the disk begins before."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

from daskbatch.store.segments import write_all

__all__ = ["EarlySync"]

_EVERY = 16 * 2**20
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class EarlySync:
    """Writes to a file, and has what is written brought to the disk meanwhile, in a thread of its own.

    One ``fsync`` at the end would wait for all of it, with the processors idle: Linux begins by itself only when a
    tenth of the memory waits to be written.

    Parameters
    ----------
    fd
        Stays the caller's, who calls `wait` before closing it.
    every
        Bytes after which it begins, if it is not at work.
    """

    def __init__(self, fd: int, every: int = _EVERY) -> None:
        self._fd = fd
        self._every = every
        self._waiting = 0
        self._thread: ThreadPoolExecutor | None = None
        self._sync: Future[None] | None = None

    def write(self, data: memoryview) -> None:
        """Write all of `data`.

        Raises
        ------
        OSError
            Also where the disk has refused something written before.
        """
        write_all(self._fd, data)
        self._waiting += len(data)
        if self._waiting < self._every or (self._sync is not None and not self._sync.done()):
            return
        self._hear()
        self._waiting = 0
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "daskbatch-sync")
        self._sync = self._thread.submit(_fdatasync, self._fd)

    def finish(self) -> None:
        """Have all on the disk.

        Raises
        ------
        OSError
        """
        self.wait()
        self._hear()
        os.fsync(self._fd)

    def wait(self) -> None:
        """Let the thread end: from here on the file may be closed."""
        if self._thread is not None:
            self._thread.shutdown()

    def _hear(self) -> None:
        """The system tells each error once: the ``fsync`` at the end would not hear of this one."""
        if self._sync is not None:
            self._sync.result()
