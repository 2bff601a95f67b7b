"""Is a file still what the plan says? Asked by name each time, right before it is used.

Runs inside the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from daskbatch.errors import MiniBatchError

__all__ = ["refuse_changed"]


def refuse_changed(paths: Sequence[str], stamps: Sequence[int]) -> None:
    """Raise unless all files are as they were when the run was planned.

    Parameters
    ----------
    paths
        The files.
    stamps
        Size in bytes and modification time in nanoseconds of each, flat; -1: not checked. Empty: none is.

    Raises
    ------
    MiniBatchError
        Where a file has changed.
    FileNotFoundError
        Where it is gone.
    OSError
        Where nothing can be learned of it.
    """
    stamp = iter(stamps)
    for path, size, mtime_ns in zip(paths, stamp, stamp):
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"{path} is gone: it was there when the run was planned. Next: put it back, or start a new run."
            ) from None
        if found.st_mtime_ns != mtime_ns or found.st_size != size:
            _refuse(path, (("size", size, found.st_size), ("modification time", mtime_ns, found.st_mtime_ns)))


def _refuse(path: str, compared: Iterable[tuple[str, int, int]]) -> None:
    for what, planned, now in compared:
        if planned not in (-1, now):
            raise MiniBatchError(
                f"{path} has changed since the run was planned: its {what} was {planned} and is {now}."
                " Next: start a new run."
            )
