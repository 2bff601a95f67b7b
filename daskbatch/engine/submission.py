"""A run whose coordinator is a job of a batch queue, or a process of its own: what is known before it begins."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskbatch.engine.owner import is_gone, is_here
from daskbatch.layout import STATE_FOLDER
from daskbatch.queues.states import JobState, states_of

__all__ = ["LOCAL", "Submission", "forget_submission", "read_submission", "state_of", "write_submission"]

LOCAL = "local"
"""In the place of a queue: a process on this host."""

_NAME = "submitted.json"


@dataclass(frozen=True, slots=True)
class Submission:
    """What is written beside the run."""

    run_id: str
    queue: str
    """Type of the compute target, or `LOCAL`."""
    job: str
    """The queue's id of the coordinator's job, or a process id."""
    cancel_command: str
    """Of the queue; the job's id follows."""
    options: Mapping[str, Any]
    """Of the run; see `daskbatch.options.restore`."""
    owner: Mapping[str, Any] | None = None
    """What tells the process from any other of the same number; see `daskbatch.engine.owner`."""

    @property
    def text(self) -> str:
        """Who does the run, for people."""
        return f"process {self.job}" if self.queue == LOCAL else f"job {self.job} of {self.queue}"


def _path(place: str) -> Path:
    """In the state folder; for an output on a store in the user's own: the queue knows nothing of stores either."""
    if "://" in place:
        return Path.home() / ".daskbatch" / "submitted" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    return Path(place) / STATE_FOLDER / _NAME


def write_submission(place: str, submission: Submission) -> None:
    """Keep it, for this user alone.

    Parameters
    ----------
    place : str
        The output folder, or its URL.
    submission : Submission
    """
    path = _path(place)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(submission), file)
    temporary.replace(path)


def read_submission(place: str) -> Submission | None:
    """The last one; None where the run was begun by a command of the user."""
    try:
        return Submission(**json.loads(_path(place).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def forget_submission(place: str) -> None:
    """It came to nothing."""
    _path(place).unlink(missing_ok=True)


def state_of(submission: Submission) -> JobState | None:
    """How the coordinator's job is, by the queue; None where it does not tell, or is a process elsewhere."""
    if not submission.job:  # it is about to be begun
        return None
    if submission.queue != LOCAL:
        return states_of(submission.queue, [submission.job]).get(submission.job)
    if submission.owner is None:
        return None
    if is_gone(submission.owner):
        return JobState("ended")
    return JobState("running") if is_here(submission.owner) else None
