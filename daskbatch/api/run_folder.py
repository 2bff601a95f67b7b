"""The folder of a pipeline's run: what it is, how it is, and whether somebody still works on it.

``run.json`` says what was submitted, ``status.json`` how it is. The coordinator alone writes the second; all others
read.
"""

from __future__ import annotations

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
from daskbatch.engine.owner import is_gone
from daskbatch.errors import UsageError

__all__ = ["CANCELED", "COMPLETED", "ENDED", "FAILED", "NOT_STARTED", "RUNNING", "PipelineFolder", "now", "read_state"]

NOT_STARTED, RUNNING = "NotStarted", "Running"
COMPLETED, FAILED, CANCELED = "Completed", "Failed", "Canceled"
ENDED = (COMPLETED, FAILED, CANCELED)

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
    def status(self) -> Path:
        """How the run and each step is."""
        return self.path / "status.json"

    @property
    def log(self) -> Path:
        """What coordinators have said."""
        return self.path / "coordinator.log"

    @property
    def config(self) -> Path:
        """The workspace as it was at the submission."""
        return self.path / HIDDEN / CONFIG

    @property
    def cancel(self) -> Path:
        """Asks the coordinator for an end."""
        return self.path / "cancel"

    @property
    def launched(self) -> Path:
        """Which process was started as the coordinator, or starts it, and after which other one."""
        return self.path / "launched.json"

    def coordinator(self, number: int) -> Path:
        """That coordinator's sign of life. Who makes the file owns the run from then on."""
        return self.path / f"coordinator-{number}.json"

    def latest_coordinator(self) -> int:
        """The number of the last one that claimed the run, 0 for none."""
        number = 0
        while self.coordinator(number + 1).exists():
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

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write ``status.json``."""
        write_document(self.status, state, overwrite=True)

    def ask_to_cancel(self) -> None:
        """Leave word for the coordinator."""
        os.close(os.open(self.cancel, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def now() -> str:
    """The present time, as files tell it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def read_state(folder: PipelineFolder) -> dict[str, Any]:
    """The content of ``status.json``; where the coordinator was killed, ``"lost"`` is true and the status Failed.

    Takes some seconds where only watching tells, as with a coordinator on another host.

    Raises
    ------
    UsageError
        There is none.
    """
    state = _state(folder)
    if state["status"] in ENDED or not _is_left(folder):
        return state
    state = _state(folder)  # it may have ended meanwhile
    return state if state["status"] in ENDED else _lost(state)


def _state(folder: PipelineFolder) -> dict[str, Any]:
    found = read_document(folder.status)
    if found is None:
        raise UsageError(f"There is no run in {str(folder.path)!r}. 'daskbatch runs' lists those of a workspace.")
    return found


def _is_left(folder: PipelineFolder) -> bool:
    """Whether nobody works on a run that has not ended."""
    number, launched = folder.latest_coordinator(), read_document(folder.launched)
    if launched is not None and launched["after"] >= number:
        return is_gone(launched["owner"])
    if not number:
        return False  # it is being submitted
    path = folder.coordinator(number)
    beat = read_heartbeat(path)
    if beat is not None and is_over(beat):
        return True
    if beat is not None and abs(time.time() - path.stat().st_mtime) < _FRESH:
        return False
    return stands_still(path, lambda: _state(folder)["status"] in ENDED, LOST_AFTER)


def _lost(state: dict[str, Any]) -> dict[str, Any]:
    error = {
        "type": "Lost",
        "message": "The process that coordinated the run is gone: it was killed, or its machine went down. Next:"
        " resume() goes on with the run.",
    }
    steps = {
        name: {**step, "status": FAILED, "error": error} if step["status"] == RUNNING else step
        for name, step in state["steps"].items()
    }
    return {**state, "status": FAILED, "lost": True, "error": error, "steps": steps}
