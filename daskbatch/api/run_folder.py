"""The folder of a pipeline's run: what it is, how it is, and whether somebody still works on it.

``run.json`` says what was submitted. Coordinators have numbers, and each tells how the run is in a file of its own:
``status-1.json``, ``status-2.json``. Who makes such a file owns the run from then on. All others read the last one, so
that what a coordinator of before still writes, after it has stood still, is read by nobody.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daskbatch.api.documents import read_document, write_document
from daskbatch.api.workspace_config import CONFIG, HIDDEN
from daskbatch.engine.heartbeat import LOST_AFTER, is_over, read_heartbeat, stands_still
from daskbatch.errors import UsageError

__all__ = [
    "CANCELED",
    "COMPLETED",
    "ENDED",
    "FAILED",
    "LAUNCHED_WITHIN",
    "NOT_STARTED",
    "RUNNING",
    "PipelineFolder",
    "now",
    "read_state",
]

NOT_STARTED, RUNNING = "NotStarted", "Running"
COMPLETED, FAILED, CANCELED = "Completed", "Failed", "Canceled"
ENDED = (COMPLETED, FAILED, CANCELED)

LAUNCHED_WITHIN = 60.0
"""Seconds from the claim of a run to the coordinator's first sign of life; without one it is taken to be lost."""
_FRESH = 5.0  # seconds; by the clocks of two hosts, so it only saves watching


@dataclass(frozen=True, slots=True)
class PipelineFolder:
    """Paths of one run of a pipeline."""

    path: Path

    @property
    def document(self) -> Path:
        """What was submitted; never changed."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """What coordinators have said."""
        return self.path / "coordinator.log"

    @property
    def config(self) -> Path:
        """The workspace as it was at the submission."""
        return self.path / HIDDEN / CONFIG

    @property
    def lost(self) -> Path:
        """At which beat the heartbeat of which coordinator was seen to stand still."""
        return self.path / "lost.json"

    def state(self, number: int) -> Path:
        """How the run and each step is, by that coordinator. Who makes the file owns the run from then on."""
        return self.path / f"status-{number}.json"

    def coordinator(self, number: int) -> Path:
        """That coordinator's sign of life; with the beat 0 that of who starts it."""
        return self.path / f"coordinator-{number}.json"

    def cancel(self, number: int) -> Path:
        """Asks that coordinator for an end."""
        return self.path / f"cancel-{number}"

    def latest(self) -> int:
        """The number of the last coordinator that the run was claimed for, 0 for none."""
        number = 0
        while self.state(number + 1).exists():
            number += 1
        return number

    def step(self, name: str) -> Path:
        """The engine's output folder of a step."""
        return self.path / "steps" / name

    def read(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises
        ------
        UsageError
            There is none.
        """
        found = read_document(self.document)
        if found is None:
            raise UsageError(f"There is no run in {str(self.path)!r}. 'daskbatch runs' lists those of a workspace.")
        return found

    def claim(self, number: int, state: Mapping[str, Any]) -> None:
        """Own the run from now on, for a coordinator of that number.

        Raises
        ------
        FileExistsError
            Another process has claimed it.
        """
        write_document(self.state(number), state, overwrite=False)

    def write_state(self, number: int, state: Mapping[str, Any]) -> None:
        """Write how the run is; for its coordinator of that number alone."""
        write_document(self.state(number), state, overwrite=True)

    def ask_to_cancel(self) -> None:
        """Leave word for the coordinator."""
        path = self.cancel(self.latest())
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def now() -> str:
    """The present time, as files tell it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def read_state(folder: PipelineFolder) -> dict[str, Any]:
    """How the run and each step is; where the coordinator was killed, ``"lost"`` is true and the status Failed.

    Takes some seconds where only watching tells, as with a coordinator on another host.

    Raises
    ------
    UsageError
        There is none.
    """
    number = folder.latest()
    state = _state(folder, number)
    if state["status"] in ENDED or not _is_left(folder, number):
        return state
    if folder.latest() != number:  # it was resumed meanwhile
        return read_state(folder)
    state = _state(folder, number)  # it may have ended meanwhile
    return state if state["status"] in ENDED else _lost(state)


def _state(folder: PipelineFolder, number: int) -> dict[str, Any]:
    found = read_document(folder.state(number))
    if found is None:
        raise UsageError(f"There is no run in {str(folder.path)!r}. 'daskbatch runs' lists those of a workspace.")
    return found


def _is_left(folder: PipelineFolder, number: int) -> bool:
    """Whether nobody works on a run that has not ended."""
    path = folder.coordinator(number)
    beat = read_heartbeat(path)
    if beat is not None and is_over(beat):
        return True
    if beat is None or not beat["beat"]:  # it is being launched, or is another user's, whose beats only have times
        return min(_age(one) for one in (path, folder.state(number)) if one.exists()) > LAUNCHED_WITHIN
    if abs(_age(path)) < _FRESH:
        return False
    seen = {"coordinator": number, "beat": beat["beat"]}
    if read_document(folder.lost) == seen:
        return True
    if not stands_still(path, lambda: _state(folder, number)["status"] in ENDED, LOST_AFTER):
        return False
    with contextlib.suppress(UsageError):  # who may only read watches each time
        write_document(folder.lost, seen, overwrite=True)
    return True


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _lost(state: dict[str, Any]) -> dict[str, Any]:
    error = {
        "type": "Lost",
        "message": "The process that coordinated the run is gone: it was killed, or its machine went down. Next:"
        " resume() goes on with the run, and so does 'daskbatch runs --resume ID'.",
    }
    steps = {
        name: {**step, "status": FAILED, "error": error} if step["status"] == RUNNING else step
        for name, step in state["steps"].items()
    }
    return {**state, "status": FAILED, "lost": True, "error": error, "steps": steps}
