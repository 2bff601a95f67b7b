"""A Dask cluster as on other machines: a scheduler, nannies and workers, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil
from lives import PATIENCE, kill, wait_for

__all__ = ["OutsideCluster"]


class OutsideCluster:
    """A scheduler and some nannies with one worker of one thread each. Use it as a context.

    Parameters
    ----------
    folder
        For its files; the scheduler file there is the same after `revive`.
    environment
        Of all its processes, besides this one's.
    """

    def __init__(self, folder: Path, environment: dict[str, str], workers: int = 2) -> None:
        self.file = folder / "scheduler.json"
        self._log = folder / "cluster.txt"
        self._folder = folder
        self._environment = environment
        self._workers = workers
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def scheduler(self) -> int:
        """Process id."""
        return self._processes[0].pid

    @property
    def nannies(self) -> list[int]:
        """Process ids; a worker is a child of its nanny."""
        return [process.pid for process in self._processes[1:]]

    def mend(self) -> None:
        """Start nannies anew that have ended: one whose worker is killed while it starts gives up."""
        for number, process in enumerate(self._processes[1:], 1):
            if process.poll() is not None:
                self._processes[number] = self._worker()

    def revive(self) -> None:
        """What its owner does when it is dead: start it again."""
        self._end()
        self._begin()

    def _begin(self) -> None:
        self.file.unlink(missing_ok=True)
        self._processes.append(self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show"))
        self._processes += [self._worker() for _ in range(self._workers)]
        wait_for(self.file.exists, "the scheduler", self._processes[0])

    def _worker(self) -> subprocess.Popen[bytes]:
        scratch = str(self._folder / "scratch")
        return self._start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--local-directory", scratch)

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        own = ["--scheduler-file", str(self.file), "--no-dashboard"]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *own, *arguments],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end(self) -> None:
        below = [child for process in self._processes for child in _below(process.pid)]
        for process in self._processes:
            process.kill()
            process.wait(PATIENCE)
        for child in below:
            kill(child.pid)
        self._processes.clear()


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
