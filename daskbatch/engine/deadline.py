"""When what is under way is killed, and when it is given up."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["GRACE_AFTER_FAILURE", "GRACE_AFTER_SIGNAL", "PATIENCE_AFTER_KILL", "STOPPING", "Deadline"]

GRACE_AFTER_FAILURE = 2.0
"""Seconds for mini-batches under way when the run is lost anyway."""
GRACE_AFTER_SIGNAL = 10.0
STOPPING = (
    f"stopping: mini-batches under way get up to {GRACE_AFTER_SIGNAL:g} s to finish; interrupt again to stop at once"
)
PATIENCE_AFTER_KILL = 10.0
"""Seconds; the supervisors take half of that at most."""


@dataclass(slots=True)
class Deadline:
    """One moment that moves: first the kill is due, then, after the kill, giving up is."""

    at: float | None = None
    """``time.monotonic()``; None while nothing is due."""
    killed: bool = False

    def set(self, seconds: float = 0.0) -> None:
        """Be due in that many seconds."""
        self.at = time.monotonic() + seconds

    @property
    def kill_due(self) -> bool:
        """Whether the time of what is under way is over."""
        return not self.killed and self._passed()

    @property
    def given_up(self) -> bool:
        """Whether what is left lies on workers that do not even answer a kill: stopped ones, say."""
        return self.killed and self._passed()

    def _passed(self) -> bool:
        return self.at is not None and time.monotonic() >= self.at
