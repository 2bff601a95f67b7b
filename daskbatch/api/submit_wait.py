"""The wait for the end of a run, by who has just submitted it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from daskbatch.api.again import status
from daskbatch.api.run_logs import GOING_ON, LOOK_EVERY, LOST_LOOKS, STATUS_EVERY, LogReader
from daskbatch.api.submit_run import Submitted
from daskbatch.engine.status import RunStatus
from daskbatch.engine.submission import read_submission, state_of
from daskbatch.errors import RunFailed, UsageError
from daskbatch.layout import LOGS
from daskbatch.queues.states import JobState

__all__ = ["wait_for_end"]


def wait_for_end(made: Submitted, say: Callable[[str], None]) -> RunStatus:
    """Wait until a run has ended.

    Parameters
    ----------
    made : Submitted
        By this process.
    say : callable
        Takes what is new: lines of the log; of a run on a store, whose logs come with its end, how it is.

    Returns
    -------
    RunStatus
        ``"Completed"``, ``"Failed"``, ``"Canceled"``, or ``"Lost"`` and nothing goes on with it.

    Raises
    ------
    RunFailed
        Its coordinator has ended without beginning anything.
    """
    wait = _Wait(made)
    logs = None if "://" in made.output else LogReader(Path(made.output) / LOGS)
    told = ""
    over = False
    while not over:
        over = wait.look()
        if logs is None and wait.now is not None and wait.now.state in GOING_ON and told != _but_the_time(wait.now):
            told = _but_the_time(wait.now)
            say(wait.now.text)
        for _ in range(STATUS_EVERY):
            for line in () if logs is None else logs.new_lines(ended=over):
                say(line)
            if over:
                break
            time.sleep(LOOK_EVERY)
            if wait.process_has_ended:
                break
    ended = wait.ended()
    if logs is None and ended.state == "Completed":
        say(ended.text)
    return ended


def _but_the_time(now: RunStatus) -> str:
    progress = None if now.progress is None else {**now.progress, "remaining": None}
    return replace(now, seconds=None, progress=progress).text


class _Wait:
    """Looks at a run until it is over.

    Of one that is submitted again the status is the end that it had before, until its coordinator begins.
    """

    def __init__(self, made: Submitted) -> None:
        self._made = made
        self._submission = read_submission(made.output)
        self._epoch: int | None = None
        self._looks = 0
        self._job: JobState | None = None
        self.now: RunStatus | None = None
        """None: nothing was begun, and nothing is left of it."""

    @property
    def process_has_ended(self) -> bool:
        """Whether the coordinator was a process of this host."""
        return self._made.process is not None and self._made.process.returncode is not None

    def look(self) -> bool:
        """Look at the run, and return whether it is over."""
        self.now = self._status()
        if self._epoch is None:
            self._epoch = 0 if self.now is None else self.now.epoch
        if self.now is not None and self.now.state in GOING_ON:
            self._looks = 0
            return False
        self._job = self._state_of_job()
        is_there = self._job is not None and self._job.state != "ended"
        if is_there and not self._has_begun:
            self._looks = 0
            return False
        self._looks += 1
        may_be_put_back = self.now is not None and self.now.state == "Lost" and self._made.process is None
        if self._looks < LOST_LOOKS and (is_there or self._job is None or may_be_put_back):
            return False
        self.now = self._status()  # what the coordinator has left in the end
        return self.now is None or self.now.state not in GOING_ON

    def ended(self) -> RunStatus:
        """How it has ended.

        Raises
        ------
        RunFailed
            That is an end from before.
        """
        made = self._made
        if self.now is None or (not self._has_begun and self._is_refused(self.now.state)):
            raise RunFailed(f"{made.job} has ended, and has begun nothing. What it said is in {made.log}")
        return self.now

    @property
    def _has_begun(self) -> bool:
        return self.now is not None and self.now.epoch > (self._epoch or 0)

    def _is_refused(self, state: str) -> bool:
        """Whether the coordinator has failed where the run is completed, say: it is another run by now."""
        if self._made.process is None:
            return state == "Completed" and self._job is not None and self._job.reason == "FAILED"
        code = self._made.process.returncode or 0
        return state in ("Completed", "Canceled") and code != 0 and code < 128  # 128 and a signal's: it was canceled

    def _status(self) -> RunStatus | None:
        try:
            return status(self._made.output)
        except UsageError:
            if read_submission(self._made.output) is not None:
                raise
            return None

    def _state_of_job(self) -> JobState | None:
        if self._made.process is not None:
            return JobState("ended" if self.process_has_ended else "running")
        return None if self._submission is None else state_of(self._submission)
