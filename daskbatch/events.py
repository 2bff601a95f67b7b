"""What happens in a run, told to whoever listens. Listeners change nothing.

A listener is any callable that takes one event. Each event is a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

__all__ = [
    "AttemptFailed",
    "Event",
    "FolderListener",
    "Listener",
    "MiniBatchFailed",
    "Notice",
    "Planned",
    "Progress",
    "RunFinished",
    "RunResumed",
    "RunReused",
    "RunStarted",
    "RunTakenOver",
    "RunnerStarted",
    "TaskFinished",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    time: float
    """Wall clock, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The options are valid; nothing has been read yet."""

    run_id: str
    output: str
    """Absolute path of the output folder."""
    options: dict[str, Any]
    """The run's options as JSON values, under their public names."""


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """The run goes on from what earlier engines have left."""

    epoch: int
    """Number of this engine's life in the run: 2 at the first resume."""
    succeeded: int
    """Mini-batches."""
    failures: tuple[dict[str, Any], ...]
    """Lines of ``failed_items.jsonl`` so far."""


@dataclass(frozen=True, slots=True)
class RunReused(Event):
    """Nothing is run: the output folder holds the result of the very same run."""

    output: str
    """Absolute path of the output folder."""
    summary: dict[str, Any]
    """The content of its ``run_summary.json``."""


@dataclass(frozen=True, slots=True)
class RunTakenOver(Event):
    """Another engine goes on with the run, as this one stood still."""

    message: str


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """The input has been cut."""

    files: int
    mini_batches: int | None
    """None where a gzip file or a Dask partition hides the count, or not all is listed; then `estimate` serves."""
    estimate: int
    """Best guess of the number of mini-batches."""
    input_bytes: int
    description: str
    """What was chosen, for people: format, why, mini-batch size."""
    schema: tuple[tuple[str, str], ...]
    """(column, type) of a table; empty for files."""
    skipped: tuple[str, ...]
    """Zero-byte tables that were left out."""
    at_least: bool = False
    """The input is still being listed: counts are of what is found. The event comes again when it is whole."""


@dataclass(frozen=True, slots=True)
class RunnerStarted(Event):
    """A runner process has finished ``init()``."""

    node: str
    process: str
    pid: int
    init_seconds: float


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """One try of one mini-batch failed."""

    mini_batch: str
    """Its key, such as ``"3-17"``."""
    attempt: int
    """From 1."""
    error: str
    """Error type, such as ``"ValueError"`` or ``"RunTimeout"``."""
    message: str
    traceback: str
    node: str
    process: str
    final: bool
    """No further try will be made."""


@dataclass(frozen=True, slots=True)
class MiniBatchFailed(Event):
    """A mini-batch has finally failed. `entry` is its line in ``failed_items.jsonl``."""

    entry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskFinished(Event):
    """A task's report was committed."""

    node: str
    process: str
    mini_batches: int
    items: int
    seconds: float
    """Wall time of the task on its slot."""
    run_seconds: float
    """Of these, inside ``run()``."""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """How far the run is; sent at most a few times a second."""

    elapsed: float
    """Seconds since the start."""
    mini_batches_total: int
    total_is_exact: bool
    mini_batches_done: int
    """Succeeded or finally failed."""
    mini_batches_failed: int
    items_done: int
    items_failed: int
    retries: int
    slots: int
    """Slots that have work at this moment."""
    remaining: float | None
    """Estimated seconds left; None while unknown."""
    total_is_least: bool = False
    """The input is still being listed: there may be more than `mini_batches_total`."""


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something a person should know, once."""

    message: str
    level: str = "INFO"
    """``"INFO"`` or ``"WARNING"``."""


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The end, whatever it was."""

    summary: dict[str, Any]
    """The content of ``run_summary.json``."""
    error: str | None
    """What stopped the run, for people; None for Completed."""
    traceback: str | None
    """The user's own traceback where there is one."""


Listener = Callable[[Event], None]


@runtime_checkable
class FolderListener(Protocol):
    """A listener that writes into the output folder. Told before the first event where that is not what it was made
    for: an output on a store is mirrored by a local folder.
    """

    def write_to(self, output: str) -> None:
        """Write to this folder."""
