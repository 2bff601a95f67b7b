"""``Model`` and ``Run`` of ``azureml.core``, as entry scripts use them, and the SDK's constants.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from daskbatch import __version__ as VERSION  # noqa: N812 - its name in azureml.core
from daskbatch.layout import WORKSPACE_VARIABLE
from daskbatch.worker.entry import EntryScript
from daskbatch.worker.models import get_model_path
from daskbatch.worker.shim import resolve

__all__ = ["DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "VERSION", "Model", "Run"]

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
        """Of the process, such as ``"node-7/process003"``."""

    @classmethod
    def get_context(cls, allow_offline: bool = True) -> Run:  # noqa: ARG003 - scripts give it
        """Return the run; there is always one."""
        return cls(EntryScript().agent_name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the run of an entry script has no {name!r} here. It has experiment, get_context, id, log, log_list,"
            " log_row and log_table. Arguments and side inputs are in sys.argv, folders in EntryScript()."
        )

    @property
    def experiment(self) -> _Experiment:
        """Leads to the workspace."""
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


class _Experiment:
    @property
    def workspace(self) -> Any:
        """The workspace of the step, where the interpreter can import `daskbatch.Workspace`."""
        return resolve("azureml.core", "Workspace", {}).from_config(os.environ.get(WORKSPACE_VARIABLE))
