"""A command that dies and is started again; the processes around it, and how to kill any of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

__all__ = ["PATIENCE", "Command", "descendants", "kill", "parent_of", "wait_for"]

PATIENCE = 60.0
"""Seconds after which something that should have happened has not."""
_MOST_LIVES = 200

Watch = Callable[["subprocess.Popen[bytes]"], None]


@dataclass
class Command:
    """``daskbatch run`` as a user types it, in a session of its own. The same again goes on where it stopped."""

    arguments: list[str]
    log: Path
    """Takes what all its lives write to stdout and stderr."""
    environment: dict[str, str] = field(default_factory=dict)
    """Beside this process's own."""
    prefix: tuple[str, ...] = ()
    """A program that starts it."""
    prelude: str = ""
    """Python that comes before it, in its process."""
    codes: list[int] = field(default_factory=list)
    """How each life ended; a kill is -9."""

    def start(self) -> subprocess.Popen[bytes]:
        """Begin a life."""
        program = (
            ["-c", f"{self.prelude}\nfrom daskbatch.cli import main\nmain()"] if self.prelude else ["-m", "daskbatch"]
        )
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.prefix, sys.executable, *program, "run", *self.arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def live(self, watch: Watch = lambda _: None) -> int:
        """Live once, with somebody watching; return the exit code."""
        process = self.start()
        try:
            watch(process)
            self.codes.append(process.wait(PATIENCE))
        finally:
            process.kill()
            process.wait()
        return self.codes[-1]

    def again_and_again(self, watch: Watch = lambda _: None) -> list[int]:
        """Live until an end that is no kill; return all exit codes. `watch` gets the process of each life."""
        while self.live(watch) < 0:
            assert len(self.codes) < _MOST_LIVES, "it is killed for ever"
        return self.codes

    def said(self) -> str:
        """What all lives wrote."""
        return self.log.read_text(errors="replace")


def wait_for(condition: Callable[[], Any], what: str, process: subprocess.Popen[bytes] | None = None) -> Any:
    """Wait until `condition` holds and return what it gave; fail where it does not, or `process` ends before."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"never came: {what}"
        assert process is None or process.poll() is None, f"it ended, with {process.returncode}, before {what}"
        time.sleep(0.005)
    return found


def kill(pid: int) -> None:
    """SIGKILL, to this process alone; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def parent_of(pid: int) -> int:
    """Process id of the parent."""
    return psutil.Process(pid).ppid()


def descendants(mark: str, value: str) -> list[psutil.Process]:
    """Processes that have an environment variable `mark` of that value; orphans too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(mark) == value:
                found.append(process)
    return found
