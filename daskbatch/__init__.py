"""Run your model over more files or rows than one process holds, into one result, on Dask.

The public names are imported when they are first used, so that ``import daskbatch`` costs
milliseconds. This file is also read by the runner's interpreter: Python 3.9, standard library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskbatch.api.again import cancel, resume, retry_failed, status
    from daskbatch.api.compute import AmlCompute, ComputeTarget
    from daskbatch.api.conda import CondaDependencies
    from daskbatch.api.config import ParallelRunConfig
    from daskbatch.api.consumption import DatasetConsumptionConfig
    from daskbatch.api.data_path import DataPath
    from daskbatch.api.data_types import DataType, PromoteHeadersBehavior
    from daskbatch.api.dataset import FileDataset, TabularDataset
    from daskbatch.api.dataset_factory import Dataset
    from daskbatch.api.datastore import Datastore
    from daskbatch.api.environment import Environment
    from daskbatch.api.experiment import Experiment
    from daskbatch.api.ignored import IgnoredWarning
    from daskbatch.api.model import Model
    from daskbatch.api.outputs import OutputFileDatasetConfig, PipelineData
    from daskbatch.api.parameters import PipelineParameter
    from daskbatch.api.pipeline import Pipeline
    from daskbatch.api.pipeline_run import PipelineRun
    from daskbatch.api.published import PublishedPipeline
    from daskbatch.api.run import Run, run
    from daskbatch.api.step import ParallelRunStep
    from daskbatch.api.step_run import StepRun
    from daskbatch.api.store_path import StorePath
    from daskbatch.api.submit_run import Submitted, submit
    from daskbatch.api.trial import TryResult, try_
    from daskbatch.api.widget import RunDetails
    from daskbatch.api.workspace import Workspace
    from daskbatch.engine.status import RunStatus
    from daskbatch.errors import (
        ComputeTargetException,
        DaskbatchError,
        EntryScriptError,
        InitFailed,
        InputError,
        MiniBatchError,
        MultiLineText,
        NoResult,
        NotFound,
        OutputInUse,
        ResultError,
        RunCanceled,
        RunChanged,
        RunFailed,
        SchemaError,
        ScriptChanged,
        SegmentDamaged,
        TakenOver,
        ThresholdExceeded,
        UsageError,
    )
    from daskbatch.worker.entry import EntryScript

__all__ = [
    "AmlCompute",
    "ComputeTarget",
    "ComputeTargetException",
    "CondaDependencies",
    "DaskbatchError",
    "DataPath",
    "DataType",
    "Dataset",
    "DatasetConsumptionConfig",
    "Datastore",
    "EntryScript",
    "EntryScriptError",
    "Environment",
    "Experiment",
    "FileDataset",
    "IgnoredWarning",
    "InitFailed",
    "InputError",
    "MiniBatchError",
    "Model",
    "MultiLineText",
    "NoResult",
    "NotFound",
    "OutputFileDatasetConfig",
    "OutputInUse",
    "ParallelRunConfig",
    "ParallelRunStep",
    "Pipeline",
    "PipelineData",
    "PipelineParameter",
    "PipelineRun",
    "PromoteHeadersBehavior",
    "PublishedPipeline",
    "ResultError",
    "Run",
    "RunCanceled",
    "RunChanged",
    "RunDetails",
    "RunFailed",
    "RunStatus",
    "SchemaError",
    "ScriptChanged",
    "SegmentDamaged",
    "StepRun",
    "StorePath",
    "Submitted",
    "TabularDataset",
    "TakenOver",
    "ThresholdExceeded",
    "TryResult",
    "UsageError",
    "Workspace",
    "__version__",
    "cancel",
    "resume",
    "retry_failed",
    "run",
    "status",
    "submit",
    "try_",
]

__version__ = "0.1.0"

_HOMES = {
    "AmlCompute": "daskbatch.api.compute",
    "ComputeTarget": "daskbatch.api.compute",
    "CondaDependencies": "daskbatch.api.conda",
    "DataPath": "daskbatch.api.data_path",
    "DataType": "daskbatch.api.data_types",
    "Dataset": "daskbatch.api.dataset_factory",
    "DatasetConsumptionConfig": "daskbatch.api.consumption",
    "Datastore": "daskbatch.api.datastore",
    "EntryScript": "daskbatch.worker.entry",
    "Environment": "daskbatch.api.environment",
    "Experiment": "daskbatch.api.experiment",
    "FileDataset": "daskbatch.api.dataset",
    "IgnoredWarning": "daskbatch.api.ignored",
    "Model": "daskbatch.api.model",
    "OutputFileDatasetConfig": "daskbatch.api.outputs",
    "ParallelRunConfig": "daskbatch.api.config",
    "ParallelRunStep": "daskbatch.api.step",
    "Pipeline": "daskbatch.api.pipeline",
    "PipelineData": "daskbatch.api.outputs",
    "PipelineParameter": "daskbatch.api.parameters",
    "PipelineRun": "daskbatch.api.pipeline_run",
    "PromoteHeadersBehavior": "daskbatch.api.data_types",
    "PublishedPipeline": "daskbatch.api.published",
    "Run": "daskbatch.api.run",
    "RunDetails": "daskbatch.api.widget",
    "RunStatus": "daskbatch.engine.status",
    "StepRun": "daskbatch.api.step_run",
    "StorePath": "daskbatch.api.store_path",
    "TabularDataset": "daskbatch.api.dataset",
    "TryResult": "daskbatch.api.trial",
    "Workspace": "daskbatch.api.workspace",
    "cancel": "daskbatch.api.again",
    "resume": "daskbatch.api.again",
    "retry_failed": "daskbatch.api.again",
    "run": "daskbatch.api.run",
    "status": "daskbatch.api.again",
    "Submitted": "daskbatch.api.submit_run",
    "submit": "daskbatch.api.submit_run",
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
