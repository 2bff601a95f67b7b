"""What the engine is told of a task before it ends: failures at once, progress now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from daskbatch.worker.task_report import TaskReport

__all__ = ["News"]

# A message takes Dask about a millisecond: a script that fails with everything must not drown the engine.
_FAILURES_EVERY = 0.2  # seconds
_PROGRESS_EVERY = 1.0  # seconds


class News:
    """Tells of a report while it grows.

    Parameters
    ----------
    report : TaskReport
    task : int
        The engine's number of the task.
    tell : callable
        Takes one message.
    quiet : float
        Seconds between two messages, at least: where many slots tell the same engine.
    """

    def __init__(
        self, report: TaskReport, task: int, tell: Callable[[dict[str, Any]], None], quiet: float = 0.0
    ) -> None:
        self._report = report
        self._task = task
        self._tell = tell
        self._failures_every, self._progress_every = max(_FAILURES_EVERY, quiet), max(_PROGRESS_EVERY, quiet)
        self._told_at = time.monotonic()  # or begun
        self._quiet_until = self._told_at  # the first failure is told at once
        self._failures = 0
        self._short = 0
        self._done = 0

    def due(self) -> float | None:
        """Tell what is due.

        Returns
        -------
        float or None
            Seconds until something will be; None while there is no news.
        """
        report = self._report
        if len(report.failures) > self._failures or len(report.short) > self._short:
            left = self._quiet_until - time.monotonic()
        elif report.done > self._done:
            left = self._told_at + self._progress_every - time.monotonic()
        else:
            return None
        if left > 0:
            return left
        self._send()
        return None

    def _send(self) -> None:
        report = self._report
        self._tell(
            {
                "task": self._task,
                "node": report.node,
                "process": report.process,
                "failures": report.failures[self._failures :],
                "short": report.short[self._short :],
                "done": report.done,
                "items": report.items,
            }
        )
        self._failures, self._short, self._done = len(report.failures), len(report.short), report.done
        self._told_at = time.monotonic()
        self._quiet_until = self._told_at + self._failures_every
