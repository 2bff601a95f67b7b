"""Why a run must end before its work is done."""

from __future__ import annotations

from dataclasses import dataclass

from daskbatch import errors

__all__ = ["Stop"]


@dataclass(frozen=True, slots=True)
class Stop:
    """A reason to end, and how it is raised at the end."""

    error: type[errors.DaskbatchError]
    message: str
    traceback: str | None = None
    """The user's own, where there is one."""
    cause: Exception | None = None
    """The error on our side, where there was one."""

    @property
    def taken_over(self) -> bool:
        """The run is another engine's by now: nothing of it may be written any more."""
        return issubclass(self.error, errors.TakenOver)
