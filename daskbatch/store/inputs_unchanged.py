"""Is a file still what the plan says? Asked by name each time, right before it is used.

Runs inside the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from daskbatch.errors import MiniBatchError

__all__ = ["refuse_changed"]


def refuse_changed(paths: Sequence[str], stamps: Sequence[Any]) -> None:
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
    if not stamps:
        return
    place = 0
    try:
        for path in paths:
            found = os.stat(path)
            if found.st_mtime_ns != stamps[place + 1] or found.st_size != stamps[place]:
                _refuse(path, stamps[place : place + 2], found)
            place += 2
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{error.filename} is gone: it was there when the run was planned. Next: put it back, or start a new run."
        ) from None


def _refuse(path: str, stamp: Sequence[Any], found: os.stat_result) -> None:
    for what, planned, now in zip(("size", "modification time"), stamp, (found.st_size, found.st_mtime_ns)):
        if planned not in (-1, now):
            raise MiniBatchError(
                f"{path} has changed since the run was planned: its {what} was {planned} and is {now}."
                " Next: start a new run."
            )
