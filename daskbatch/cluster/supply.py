"""Who brings the workers of a run and looks after them, as the engine sees it."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

__all__ = ["Happening", "Supply"]


class Happening(NamedTuple):
    """What the engine is to know."""

    text: str
    """A sentence for the user."""
    worker: str = ""
    """Name of a worker that is lost."""
    blame: bool = False
    """Nobody else has ended its job: what it was doing may be the cause."""
    fatal: bool = False
    """No worker will come any more."""


class Supply(Protocol):
    """The jobs of a batch queue, or the hosts that are reached over SSH."""

    @property
    def word(self) -> str:
        """What there are: ``"jobs"`` or ``"hosts"``."""

    @property
    def advice(self) -> str:
        """What the user may do where too few workers have come."""

    def seen(self, workers: Collection[str]) -> None:
        """Tell which workers there are, by name."""

    def leave(self, worker: str) -> None:
        """A worker goes before its time ends: that is no loss, and another one is wanted."""

    def happenings(self) -> list[Happening]:
        """What has happened since the last call."""

    def reason(self) -> str:
        """Why workers are missing, in a sentence."""

    def counts(self) -> dict[str, int]:
        """For the summary."""
