"""Run your model over more files or rows than one process holds, into one result, on Dask.

The public names are imported when they are first used, so that ``import daskbatch`` costs
milliseconds. This file is also read by the runner's interpreter: Python 3.9, standard library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskbatch.api.again import cancel, resume, retry_failed, status
    from daskbatch.api.dataset import FileDataset, TabularDataset
    from daskbatch.api.run import Run, run
    from daskbatch.api.trial import TryResult, try_
    from daskbatch.engine.status import RunStatus
    from daskbatch.errors import (
        DaskbatchError,
        EntryScriptError,
        InitFailed,
        InputError,
        MiniBatchError,
        MultiLineText,
        NoResult,
        OutputInUse,
        ResultError,
        RunCanceled,
        RunChanged,
        RunFailed,
        SchemaError,
        SegmentDamaged,
        TakenOver,
        ThresholdExceeded,
        UsageError,
    )
    from daskbatch.worker.entry import EntryScript

__all__ = [
    "DaskbatchError",
    "EntryScript",
    "EntryScriptError",
    "FileDataset",
    "InitFailed",
    "InputError",
    "MiniBatchError",
    "MultiLineText",
    "NoResult",
    "OutputInUse",
    "ResultError",
    "Run",
    "RunCanceled",
    "RunChanged",
    "RunFailed",
    "RunStatus",
    "SchemaError",
    "SegmentDamaged",
    "TabularDataset",
    "TakenOver",
    "ThresholdExceeded",
    "TryResult",
    "UsageError",
    "__version__",
    "cancel",
    "resume",
    "retry_failed",
    "run",
    "status",
    "try_",
]

__version__ = "0.1.0"

_HOMES = {
    "EntryScript": "daskbatch.worker.entry",
    "FileDataset": "daskbatch.api.dataset",
    "Run": "daskbatch.api.run",
    "RunStatus": "daskbatch.engine.status",
    "TabularDataset": "daskbatch.api.dataset",
    "TryResult": "daskbatch.api.trial",
    "cancel": "daskbatch.api.again",
    "resume": "daskbatch.api.again",
    "retry_failed": "daskbatch.api.again",
    "run": "daskbatch.api.run",
    "status": "daskbatch.api.again",
    "try_": "daskbatch.api.trial",
}
"""Where the names are that are not errors."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'daskbatch' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES.get(name, "daskbatch.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
