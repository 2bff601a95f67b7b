"""A private local folder that goes when its process is gone, however it went."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["private_folder"]

_SWEEPER = 'cat >/dev/null; rm -rf -- "$0"'
"""Waits until nobody holds the other end of its pipe any more."""


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Give a new folder, readable by this user alone, and remove it at the end.

    If this process is killed, a process that waits for just that removes it.
    """
    folder = Path(tempfile.mkdtemp(prefix="daskbatch-"))
    sweeper = None
    try:
        with contextlib.suppress(OSError):  # without a shell it may be left behind after a kill
            sweeper = subprocess.Popen(
                ["/bin/sh", "-c", _SWEEPER, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # a signal to our whole group is not for it
            )
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if sweeper is not None and sweeper.stdin is not None:
            sweeper.stdin.close()
            sweeper.wait()
