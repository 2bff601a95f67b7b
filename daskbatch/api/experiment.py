"""Experiment: a name for runs that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskbatch.api.documents import check_name, names
from daskbatch.api.ignored import accept
from daskbatch.api.pipeline import Pipeline
from daskbatch.api.pipeline_run import PipelineRun
from daskbatch.api.published import PublishedPipeline
from daskbatch.api.run_folder import PipelineFolder
from daskbatch.api.step import ParallelRunStep
from daskbatch.api.submission import begin_run, run_folders

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Experiment"]


class Experiment:
    """Runs of one purpose. It is there once it has a run.

    Parameters
    ----------
    workspace : Workspace
    name : str

    Raises
    ------
    UsageError
        The name is none.
    """

    def __init__(self, workspace: Workspace, name: str, **ignored: object) -> None:
        accept("Experiment", ignored, ("_create_in_cloud", "_skip_name_validation", "_experiment_dto"))
        self.workspace = workspace
        self.name = check_name("name of an Experiment", name)

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r}, workspace={self.workspace.name!r})"

    @staticmethod
    def list(workspace: Workspace) -> list[Experiment]:
        """All experiments of a workspace that have a run."""
        return [Experiment(workspace, name) for name in names(workspace.folder / "experiments", "")]

    def submit(
        self,
        config: Pipeline | PublishedPipeline | ParallelRunStep | Sequence[ParallelRunStep],
        tags: Mapping[str, str] | None = None,
        *,
        pipeline_parameters: Mapping[str, Any] | None = None,
        regenerate_outputs: bool = False,
        continue_on_step_failure: bool | None = None,
        display_name: str | None = None,
        **ignored: object,
    ) -> PipelineRun:
        """Begin a run, and return at once. A process of its own does the work: it outlives this one.

        Parameters
        ----------
        config : Pipeline, PublishedPipeline, ParallelRunStep or list of ParallelRunStep
        tags : mapping, optional
        pipeline_parameters : mapping, optional
            Values by name; those left out have their default values.
        regenerate_outputs : bool
            Do all steps anew, whatever earlier runs have done.
        continue_on_step_failure : bool, optional
            After a step has failed, still begin those that do not need it. By default what the pipeline says: no.
        display_name : str, optional
            Shown in the place of the run's id.

        Returns
        -------
        PipelineRun

        Raises
        ------
        UsageError
            Something is wrong or not there; nothing was started.
        """
        accept("Experiment.submit", ignored, ("credential_passthrough", "parent_run_id"))
        if isinstance(config, PublishedPipeline):
            config.check_active()
            config = config.pipeline()
        pipeline = config if isinstance(config, Pipeline) else Pipeline(self.workspace, config)  # type: ignore[arg-type]
        folder = begin_run(
            pipeline,
            self.name,
            parameters=pipeline_parameters,
            tags=tags,
            display_name=display_name,
            regenerate_outputs=regenerate_outputs,
            continue_on_step_failure=continue_on_step_failure,
        )
        return PipelineRun(self, folder.path.name)

    def get_runs(
        self,
        type: str | None = None,  # noqa: A002 - the argument's name in Azure
        tags: Mapping[str, str] | str | None = None,
        properties: Mapping[str, str] | str | None = None,
        status: str | None = None,
        include_children: bool = False,
    ) -> Iterator[Any]:
        """The runs, the latest first.

        Parameters
        ----------
        type : str, optional
            ``"azureml.PipelineRun"``, which all are; or ``"azureml.StepRun"``, with `include_children`.
        tags, properties : mapping or str, optional
            Those alone that have these, or one of this name.
        status : str, optional
            Those alone that are so.
        include_children : bool
            After each run its steps, where they are so too.

        Returns
        -------
        iterator of PipelineRun, and of StepRun with `include_children`
        """
        root = run_folders(self.workspace.folder, self.name)
        for run_id in reversed(names(root, "")):
            if not PipelineFolder(root / run_id).document.exists():
                continue  # it is being submitted
            run = PipelineRun(self, run_id)
            for one in (run, *(run.get_children() if include_children else ())):
                if type not in (None, one.type) or not _has(one.tags, tags):
                    continue
                if properties is not None and not _has(one.properties, properties):
                    continue
                if status is None or one.get_status() == status:
                    yield one


def _has(own: Mapping[str, str], wanted: Mapping[str, str] | str | None) -> bool:
    if isinstance(wanted, str):
        return wanted in own
    return all(own.get(name) == value for name, value in (wanted or {}).items())
