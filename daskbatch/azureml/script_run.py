"""``azureml.core.Run``: a way to a run that was submitted, and to the one that a script is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daskbatch.api.experiment import Experiment
from daskbatch.api.pipeline_run import PipelineRun
from daskbatch.api.step_run import StepRun
from daskbatch.worker.shim_core import Run as ScriptRun

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Run"]


class _AnyRun(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (PipelineRun, StepRun, ScriptRun))


class Run(metaclass=_AnyRun):
    """``Run(experiment, run_id)`` is a `PipelineRun`; ``Run.get_context()`` is what entry scripts get.

    All of them are instances of this. Not `daskbatch.Run`, which is a run of one entry script over one input.
    """

    def __new__(cls, experiment: Experiment, run_id: str) -> Any:
        """Return the `PipelineRun`.

        Raises
        ------
        NotFound
            The experiment has no such run.
        """
        return PipelineRun(experiment, run_id)

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> PipelineRun:
        """The run of that id, whatever its experiment.

        Raises
        ------
        NotFound
            There is none.
        """
        return PipelineRun.get(workspace, run_id)

    @staticmethod
    def get_context(allow_offline: bool = True) -> ScriptRun:
        """The run that the script is in; there is always one. What it logs goes to the script's log."""
        return ScriptRun.get_context(allow_offline)

    @staticmethod
    def list(experiment: Experiment, type: str | None = None, tags: Any = None, status: str | None = None) -> Any:  # noqa: A002 - the argument's name in Azure
        """As `Experiment.get_runs`."""
        return experiment.get_runs(type, tags, status=status)
