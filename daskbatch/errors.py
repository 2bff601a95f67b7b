"""Every error that daskbatch raises on purpose.

::

    DaskbatchError
    ├── UsageError              an option, script or output folder is wrong; nothing was started
    │   ├── InputError          the input is missing, empty or unreadable; nothing was started
    │   ├── EntryScriptError    the entry script cannot be used; nothing was started
    │   │   └── ScriptChanged   it has changed since the run began
    │   ├── OutputInUse         another run is going on in the output folder
    │   ├── RunChanged          the output folder holds a run of another script, option or input
    │   └── NotFound            a workspace holds nothing of that name; a KeyError too
    │       └── ComputeTargetException   that is a compute target's name
    ├── RunFailed               the run ended without a complete result
    │   ├── InitFailed          init() failed on so many slots that the run stopped
    │   ├── ThresholdExceeded   more items or mini-batches failed than allowed
    │   ├── NoResult            append_row, and run() returned no item at all
    │   ├── MultiLineText       quoted newlines were met without support_multi_line
    │   ├── SegmentDamaged      stored results are not the bytes that were committed
    │   └── TakenOver           this engine stood still, and another has taken the run over
    ├── RunCanceled             Ctrl-C, SIGTERM or cancel
    └── MiniBatchError          one mini-batch cannot be read or written; costs that mini-batch alone
        ├── SchemaError         a file's columns or a value differ from the input's schema
        └── ResultError         run() returned what cannot be taken or written

Messages say what is wrong, what was got, what is allowed and the next step.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ComputeTargetException",
    "DaskbatchError",
    "EntryScriptError",
    "InitFailed",
    "InputError",
    "MiniBatchError",
    "MultiLineText",
    "NoResult",
    "NotFound",
    "OutputInUse",
    "ResultError",
    "RunCanceled",
    "RunChanged",
    "RunFailed",
    "SchemaError",
    "ScriptChanged",
    "SegmentDamaged",
    "TakenOver",
    "ThresholdExceeded",
    "UsageError",
]


class DaskbatchError(Exception):
    """Base of all errors of daskbatch."""

    @property
    def message(self) -> str:
        """What ``str`` gives, as Azure's exceptions have it."""
        return str(self)

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: in a notebook the message is what helps, not the way through this package."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(DaskbatchError):
    """Raised when an option, the entry script or the output folder is wrong, before anything starts."""


class InputError(UsageError):
    """Raised when the input does not exist, is empty or cannot be read, before anything starts."""


class EntryScriptError(UsageError):
    """Raised when the entry script has a syntax error or no ``run``, before anything starts."""


class ScriptChanged(EntryScriptError):
    """Raised where a process starts and the entry script is not the one that the run was planned with."""


class OutputInUse(UsageError):
    """Raised when another engine is at work in the output folder."""


class RunChanged(UsageError):
    """Raised when the output folder holds a run of another script, option or input: neither resumed nor reused."""

    changes: str = ""
    """What is not as it was, a line each."""


class NotFound(UsageError, KeyError):
    """Raised when a workspace holds nothing of that name or version."""

    def __str__(self) -> str:  # KeyError's own puts the message in quotes
        return str(self.args[0]) if self.args else ""


class ComputeTargetException(NotFound):
    """Raised when a workspace has no compute target of that name."""


class RunFailed(DaskbatchError):
    """Raised when a run ended without a complete result. Partial results stay under a partial name."""

    summary: dict[str, Any] | None = None
    """The content of ``run_summary.json``."""


class InitFailed(RunFailed):
    """Raised when ``init()`` failed before it had succeeded anywhere."""


class ThresholdExceeded(RunFailed):
    """Raised when more items or mini-batches failed than the thresholds allow."""


class NoResult(RunFailed):
    """Raised when the output action is append_row and no item at all was returned."""


class MultiLineText(RunFailed):
    """Raised when a table has newlines inside quotes and ``support_multi_line`` is off."""


class SegmentDamaged(RunFailed):
    """Raised when stored results are gone or are not the bytes that were committed."""


class TakenOver(RunFailed):
    """Raised when this engine stood still for long, as on a laptop that slept, and another has taken its run over."""


class RunCanceled(DaskbatchError):
    """Raised when a run was stopped by a signal or by its user."""

    summary: dict[str, Any] | None = None
    """The content of ``run_summary.json``."""
    exit_code: int = 130
    """What the process should end with: 128 + the signal's number."""


class MiniBatchError(DaskbatchError):
    """Raised when one mini-batch cannot be read or its result cannot be written."""

    items: int | None = None
    """Items of the mini-batch, where reading got far enough to count them."""


class SchemaError(MiniBatchError):
    """Raised when a file's columns, or a value in it, differ from the input's schema. Not retried."""


class ResultError(MiniBatchError):
    """Raised when ``run()`` returned something that cannot be counted or written. Not retried."""
