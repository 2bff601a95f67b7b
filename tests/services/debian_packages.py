"""Servers of the tests from Debian's packages."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Unavailable", "have_programs", "which"]


class Unavailable(Exception):
    """Raised where a server cannot be installed or started here; the message is the reason."""


def which(program: str) -> str | None:
    """Path of a program, of those for root too."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def have_programs(name: str, programs: Sequence[str], packages: Sequence[str]) -> None:
    """Have the programs, from apt-get where they are missing.

    Raises
    ------
    Unavailable
        Where there is no apt-get, no root, or the packages cannot be had.
    """
    if all(map(which, programs)):
        return
    if not shutil.which("apt-get") or os.getuid() != 0:
        raise Unavailable(f"{name} is not installed, and only root with apt-get installs it: {', '.join(packages)}")
    how: dict[str, Any] = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdin": subprocess.DEVNULL}
    with Path(tempfile.gettempdir(), "daskbatch-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of several servers begin at once, and apt-get waits for nobody
        for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", *command], capture_output=True, text=True, check=False, **how)
            if done.returncode:
                raise Unavailable(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")
