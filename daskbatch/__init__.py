"""Run your model over more files or rows than one process holds, into one result, on Dask.

The public names are imported when they are first used, so that ``import daskbatch`` costs
milliseconds. This file is also read by the runner's interpreter: Python 3.9, standard library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskbatch.api.dataset import FileDataset, TabularDataset
    from daskbatch.api.run import Run, run, try_
    from daskbatch.errors import (
        DaskbatchError,
        EntryScriptError,
        InitFailed,
        InputError,
        MiniBatchError,
        MultiLineText,
        NoResult,
        ResultError,
        RunCanceled,
        RunFailed,
        SchemaError,
        SegmentDamaged,
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
    "ResultError",
    "Run",
    "RunCanceled",
    "RunFailed",
    "SchemaError",
    "SegmentDamaged",
    "TabularDataset",
    "ThresholdExceeded",
    "UsageError",
    "__version__",
    "run",
    "try_",
]

__version__ = "0.1.0"

_HOMES = {
    "EntryScript": "daskbatch.worker.entry",
    "FileDataset": "daskbatch.api.dataset",
    "Run": "daskbatch.api.run",
    "TabularDataset": "daskbatch.api.dataset",
    "run": "daskbatch.api.run",
    "try_": "daskbatch.api.run",
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
