"""A folder for a cluster's credentials and the list of its jobs, which the jobs' hosts see too."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daskbatch.layout import STATE_FOLDER

__all__ = ["JOBS", "clear", "private_folder"]

JOBS = "jobs"
"""File in it: the ids of jobs, one a line."""

_PREFIX = "cluster-"
_PATIENCE = 60.0  # seconds for the queue to take the end of jobs


@contextmanager
def private_folder(output: str, shared: str | None, cancel_command: str) -> Iterator[Path]:
    """Make the folder, of mode 0700, and remove it at the end.

    What an engine that was killed has left there goes first, its jobs too: nobody is there to give them work.

    Parameters
    ----------
    output : str
        Of the run: its state folder has the place, unless the output is on a store; then it is
        ``~/.daskbatch/clusters``.
    shared : str, optional
        Another place that all hosts see.
    cancel_command : str
        Of the queue; takes the id of a job.
    """
    place = _place(output, shared)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    prefix = f"{_PREFIX}{hashlib.sha256(output.encode()).hexdigest()[:16]}-"
    for left in place.glob(f"{prefix}*"):
        clear(left, cancel_command)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(output: str, shared: str | None) -> Path:
    if shared:
        return Path(os.path.expanduser(os.path.expandvars(shared))).absolute()
    if "://" in output:
        return Path.home() / ".daskbatch" / "clusters"
    return Path(output) / STATE_FOLDER


def clear(folder: Path, cancel_command: str) -> None:
    """End the jobs that are listed there, and remove the folder."""
    for job in _listed(folder / JOBS):
        _cancel([*shlex.split(cancel_command), job])
    shutil.rmtree(folder, ignore_errors=True)


def _listed(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _cancel(command: Sequence[str]) -> None:
    """A job that is gone already is none to end."""
    try:
        subprocess.run(command, timeout=_PATIENCE, capture_output=True, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
