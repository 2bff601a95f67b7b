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
    """

    def __init__(self, report: TaskReport, task: int, tell: Callable[[dict[str, Any]], None]) -> None:
        self._report = report
        self._task = task
        self._tell = tell
        self._told_at = time.monotonic() - _FAILURES_EVERY
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
            left = self._told_at + _FAILURES_EVERY - time.monotonic()
        elif report.done > self._done:
            left = self._told_at + _PROGRESS_EVERY - time.monotonic()
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
