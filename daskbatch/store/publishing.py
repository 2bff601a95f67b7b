"""A file that appears whole or not at all: written under another name, hashed and brought to the disk meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from daskbatch.failpoints import failpoint
from daskbatch.store.early_sync import EarlySync
from daskbatch.store.refusal import naming
from daskbatch.store.segments import sync_folder

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Sink", "Unpublished", "publishing"]

_HASH_APART = 65536  # bytes; less is hashed sooner than handed over
_BEHIND = 8 * 2**20  # bytes that the hash may be behind: the disk takes them in fits and starts


class Sink(io.RawIOBase):
    """A file being written: counts and hashes what passes. The hash has a thread of its own.

    Parameters
    ----------
    write
        Takes all bytes that it is given.
    """

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "daskbatch-hash")
        self._hashing: deque[tuple[Future[None], int]] = deque()
        self._behind = 0
        self.bytes = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Buffer) -> int:
        """Write all of `data`."""
        view = memoryview(data)
        apart = len(view) >= _HASH_APART
        while self._hashing and (not apart or self._behind > _BEHIND):
            hashed, size = self._hashing.popleft()
            hashed.result()
            self._behind -= size
        if apart:
            self._hashing.append((self._thread.submit(self._hash.update, view), len(view)))
            self._behind += len(view)
        else:
            self._hash.update(view)
        self._write(view)
        self.bytes += len(view)
        return len(view)

    def finish(self) -> str:
        """Return the hash of all that was written, in hexadecimal, and end the thread."""
        self._thread.shutdown()
        return self._hash.hexdigest()


class Unpublished:
    """A file under a temporary name: in the end it takes its own, durably and in one step, or is deleted.

    It is written among the segments: if this process is killed nobody sees it there, and who goes on sweeps it up.

    Parameters
    ----------
    folder
        On the filesystem of what it will be called.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{secrets.token_hex(4)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o666)
        self._file = EarlySync(self._fd)
        self.sink = Sink(self._file.write)
        """Where it is written."""
        self.sha256 = ""
        """Once it is published."""

    def publish(self, target: Path, confirm: Callable[[], None] = lambda: None) -> None:
        """Give it its name. On an error it is deleted.

        Parameters
        ----------
        target
            A file of that name is replaced.
        confirm
            Called when all is on the disk, right before: what it raises prevents that.
        """
        try:
            with naming(target):
                failpoint("combine.write.after")
                self._file.finish()
            self._close()
            failpoint("combine.publish.before")
            confirm()
            self._path.replace(target)
            failpoint("combine.publish.after")
        except BaseException:
            self.delete()
            raise
        sync_folder(target.parent)

    @property
    def in_place(self) -> bool:
        """Whether the file still bears its temporary name."""
        with contextlib.suppress(OSError):
            there, here = os.stat(self._path, follow_symlinks=False), os.fstat(self._fd)
            return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        return False

    def delete(self) -> None:
        """It is not going to be published; errors of the disk are of no interest then. A second call does nothing."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self.sha256 = self.sink.finish()
            self._file.wait()
            os.close(fd)


@contextlib.contextmanager
def publishing(folder: Path, target: Path, confirm: Callable[[], None] = lambda: None) -> Iterator[Unpublished]:
    """Give a file to be written; on success it is published, see `Unpublished`."""
    file = Unpublished(folder)
    try:
        with naming(target):
            failpoint("combine.write.before")
            yield file
    except BaseException:
        file.delete()
        raise
    file.publish(target, confirm)
