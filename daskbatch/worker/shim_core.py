"""``Model`` and ``Run`` of ``azureml.core``, as entry scripts use them, and the SDK's constants.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from daskbatch import __version__ as VERSION  # noqa: N812 - its name in azureml.core
from daskbatch.layout import (
    EXPERIMENT_VARIABLE,
    ROOT_RUN_VARIABLE,
    RUN_VARIABLE,
    SIDE_INPUT_VARIABLE,
    WORKSPACE_VARIABLE,
)
from daskbatch.worker.entry import EntryScript
from daskbatch.worker.models import get_model_path
from daskbatch.worker.shim import resolve

__all__ = ["DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "VERSION", "Model", "Run", "_OfflineRun"]

DEFAULT_CPU_IMAGE = "default-cpu-image"
"""Of a container, which there is none of here: `Environment.docker` ignores it, and says so."""
DEFAULT_GPU_IMAGE = "default-gpu-image"


class Model:
    """A registered model. `get_model_path` needs no package; all else is `daskbatch.Model`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a `daskbatch.Model`."""
        return resolve("azureml.core", "Model", {})(*args, **kwargs)

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: Any = None) -> str:
        """Path of a model's file or folder.

        Parameters
        ----------
        model_name : str
        version : int, optional
            By default the latest.

        Raises
        ------
        UsageError
            There is no such model, or no workspace.
        """
        return get_model_path(model_name, version, None if _workspace is None else str(_workspace.root))


class Run:
    """The run that a script is in. What a script logs as a metric goes to its log."""

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        """Of the step's run; outside of a pipeline of the process, such as ``"node-7/process003"``."""

    @classmethod
    def get_context(cls, allow_offline: bool = True) -> Run:  # noqa: ARG003 - scripts give it
        """Return the run; there is always one."""
        return cls(os.environ.get(RUN_VARIABLE) or EntryScript().agent_name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the run of an entry script has no {name!r} here. It has experiment, flush, get_context, get_details,"
            " id, input_datasets, log, log_image, log_list, log_row, log_table, parent and tag. Arguments are in"
            " sys.argv, folders in EntryScript()."
        )

    @property
    def input_datasets(self) -> dict[str, str]:
        """Paths of the step's side inputs of files, by name."""
        start = len(SIDE_INPUT_VARIABLE)
        found = {name[start:]: path for name, path in os.environ.items() if name.startswith(SIDE_INPUT_VARIABLE)}
        return _Paths(found)

    @property
    def parent(self) -> Run:
        """The pipeline's run; outside of a pipeline the same. What it logs goes to the script's log too."""
        root = os.environ.get(ROOT_RUN_VARIABLE)
        return self if root in (None, "", self.id) else Run(str(root))

    def get_details(self) -> dict[str, Any]:
        """What is known of it: ``runId``, ``status``, ``inputDatasets``."""
        return {"runId": self.id, "status": "Running", "inputDatasets": dict(self.input_datasets)}

    @property
    def experiment(self) -> _Experiment:
        """Its name, and the way to the workspace."""
        return _Experiment()

    def log(self, name: str, value: Any, description: str = "", step: Any = None) -> None:
        """Write a value to the script's log."""
        logger: logging.Logger = EntryScript().logger
        logger.info("%s: %s", name, value)

    def log_list(self, name: str, value: Any, description: str = "") -> None:
        """Write a list to the script's log."""
        self.log(name, value)

    def log_row(self, name: str, description: str = "", **values: Any) -> None:
        """Write a row to the script's log."""
        self.log(name, values)

    def log_table(self, name: str, value: Any, description: str = "") -> None:
        """Write a table to the script's log."""
        self.log(name, value)

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Write where an image is to the script's log; a plot is not kept: scripts save it where they like."""
        self.log(name, path if plot is None else plot)

    def tag(self, key: str, value: Any = None) -> None:
        """Write a tag to the script's log."""
        self.log(key, value)

    def flush(self, timeout_seconds: float = 300) -> None:
        """Nothing is left to be written: each line of the log is, as soon as it is logged."""


class _Paths(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise KeyError(
            f"the step has no side input {name!r} of files; it has: {', '.join(self) or 'none'}. What is in inputs"
            " comes to run(), a mini-batch at a time."
        )


class _OfflineRun:
    """What ``Run.get_context()`` gives outside of a run in Azure. Nothing is one here."""


class _Experiment:
    @property
    def name(self) -> str:
        """Of the experiment; empty outside of a pipeline."""
        return os.environ.get(EXPERIMENT_VARIABLE, "")

    @property
    def workspace(self) -> Any:
        """The workspace of the step, where the interpreter can import `daskbatch.Workspace`."""
        return resolve("azureml.core", "Workspace", {}).from_config(os.environ.get(WORKSPACE_VARIABLE))
