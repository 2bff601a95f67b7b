"""What a task tells the engine, while it is being gathered."""

from __future__ import annotations

from typing import Any

from daskbatch.types import Chunk

__all__ = ["TaskReport"]

Key = tuple[int, int]


class TaskReport:
    """Counts and failures of one row of mini-batches.

    Parameters
    ----------
    node, process : str
        Where it ran; empty where it did not.
    """

    def __init__(self, node: str = "", process: str = "") -> None:
        self.node = node
        self.process = process
        self.mini_batches = 0
        """Those that succeeded."""
        self.items = 0
        """Items of those."""
        self.missing = 0
        """Items of those that run() returned nothing for."""
        self.run_seconds = 0.0
        self.start_seconds = 0.0
        """Of the task's time, what a runner took to be ready; the next task is not going to wait for that."""
        self.whole = False
        """The row is done."""
        self.last: Key | None = None
        """The mini-batch that was answered last; rows are answered in order."""
        self.short: list[tuple[int, int, int, int]] = []
        """(file, index, items, returned) where fewer came back than went in."""
        self.empty: list[Key] = []
        """Ranges without records."""
        self.failures: list[dict[str, Any]] = []
        """Failed tries: ``key``, ``items`` (None: not known), ``phase``, ``error``, ``message``, ``traceback``,
        ``retry``."""
        self.init_error: dict[str, Any] | None = None
        """``init()`` failed: nothing of the row was tried."""
        self.refused: str | None = None
        """Why the results could not be written: then nothing of the row counts."""
        self.died: dict[str, Any] | None = None
        """How the runner ended; ``charged`` tells whether somebody is to blame."""
        self.leaving = False
        """The worker's job ends soon: what was not begun is for others, and nothing more is for it."""
        self.cut: tuple[int, int, float] | None = None
        """(file, index, seconds) of the mini-batch that the end of the worker's job has cut, uncharged."""

    @property
    def done(self) -> int:
        """Mini-batches answered."""
        return self.mini_batches + len(self.failures) + len(self.empty)

    def succeed(self, file: int, index: int, items: int, returned: int, seconds: float) -> None:
        """One mini-batch has come back."""
        self.mini_batches += 1
        self.items += items
        self.run_seconds += seconds
        self.last = (file, index)
        if returned < items:
            self.missing += items - returned
            self.short.append((file, index, items, returned))

    def fail(self, failure: dict[str, Any]) -> None:
        """One try has failed."""
        self.failures.append(failure)
        self.last = failure["key"]

    def as_dict(self, chunk: Chunk | None = None, seconds: float = 0.0) -> dict[str, Any]:
        """The report as it travels: plain values.

        Parameters
        ----------
        chunk : Chunk or None
            What was committed to the segment.
        seconds : float
            Wall time of the task.
        """
        return {**vars(self), "chunk": None if chunk is None else tuple(chunk), "seconds": seconds}
