"""When the system refuses to write: which file, and what its user can do about it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

__all__ = ["naming", "refusal"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the system name the file: those of writing and syncing do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def refusal(error: OSError) -> str:
    """What to tell the user of an error of the system."""
    if error.errno not in _NO_ROOM:
        return f"{type(error).__name__}: {error}"
    where = f" {error.filename!r}" if error.filename else ""
    return f"the output folder cannot be written{where}: {error.strerror}. Next: make room, then repeat the command"
