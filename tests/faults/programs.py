"""A Dask cluster of programs on this machine whose workers count as nodes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lives import wait_for

__all__ = ["nodes"]


@contextlib.contextmanager
def nodes(folder: Path, *environments: Mapping[str, str]) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler, and a worker of two threads with each of the environments; kill them at the end.

    The workers are at 127.0.0.1, 127.0.0.2 and so on, without nannies. Returns the scheduler's file and the workers.
    """
    file, log = folder / "scheduler.json", folder / "programs.txt"
    with contextlib.ExitStack() as stack:

        def program(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", str(file), "--no-dashboard"]
            with log.open("ab") as out:
                process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = program("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show")
        wait_for(file.exists, "the scheduler", scheduler)
        worker = ("worker", "--nthreads", "2", "--no-nanny", "--local-directory", str(folder), "--host")
        yield (
            str(file),
            [
                program(*worker, f"127.0.0.{number}", **environment)
                for number, environment in enumerate(environments, 1)
            ],
        )
