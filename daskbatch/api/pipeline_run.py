"""PipelineRun: a run, seen by its folder alone, from any process and at any time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.documents import names
from daskbatch.api.named import not_found
from daskbatch.api.run_folder import CANCELED, COMPLETED, ENDED, PipelineFolder, read_state
from daskbatch.api.run_tags import RunTags
from daskbatch.api.step_run import PortDataReference, StepRun
from daskbatch.api.submission import go_on, run_folders
from daskbatch.api.submitted import SubmittedRun
from daskbatch.errors import RunCanceled, RunFailed, UsageError

if TYPE_CHECKING:
    from daskbatch.api.experiment import Experiment
    from daskbatch.api.workspace import Workspace

__all__ = ["PipelineRun"]


class PipelineRun(RunTags, SubmittedRun):
    """A run of a pipeline.

    Parameters
    ----------
    experiment : Experiment
    run_id : str

    Raises
    ------
    NotFound
        The experiment has no such run.
    """

    type = "azureml.PipelineRun"

    def __init__(self, experiment: Experiment, run_id: str) -> None:
        root = run_folders(experiment.workspace.folder, experiment.name)
        known = names(root, "")
        if run_id not in known:
            raise not_found(f"run in the experiment {experiment.name!r} with the id", run_id, known[::-1])
        self.experiment = experiment
        self.id = run_id
        self._folder = PipelineFolder(root / run_id)
        self._document = self._folder.read()

    @classmethod
    def get(cls, workspace: Workspace, run_id: str) -> PipelineRun:
        """The run of that id, whatever its experiment.

        Raises
        ------
        NotFound
            There is none.
        """
        from daskbatch.api.experiment import Experiment

        known: list[str] = []
        for name in names(workspace.folder / "experiments", ""):
            found = names(run_folders(workspace.folder, name), "")
            if run_id in found:
                return cls(Experiment(workspace, name), run_id)
            known += found
        raise not_found("run with the id", run_id, sorted(known, reverse=True))

    def __repr__(self) -> str:
        return f"<PipelineRun {self.id} of {self.experiment.name!r}: {self.get_status()}>"

    @property
    def folder(self) -> Path:
        """Where all that is known of it lies."""
        return self._folder.path

    @property
    def workspace(self) -> Workspace:
        """Of the experiment."""
        return self.experiment.workspace

    @property
    def name(self) -> str:
        """The same as `display_name`."""
        return self.display_name

    @property
    def display_name(self) -> str:
        """A name for people."""
        return str(self._document["display_name"])

    @property
    def description(self) -> str | None:
        """The pipeline's."""
        text: str | None = self._document["description"]
        return text

    @property
    def parameters(self) -> dict[str, Any]:
        """Values of the pipeline's parameters; a dataset's document for a dataset."""
        return dict(self._document["parameters"])

    @property
    def parent(self) -> None:
        """None: it is part of no other run."""
        return None

    def get_status(self) -> str:
        """``"NotStarted"``, ``"Running"``, ``"Completed"``, ``"Failed"`` or ``"Canceled"``.

        Failed is too what nobody works on any more, as its process was killed: `get_details` tells, `resume` goes on.
        """
        return str(read_state(self._folder)["status"])

    def get_details(self) -> dict[str, Any]:
        """All that is known of it, as JSON values."""
        state = read_state(self._folder)
        return {
            "runId": self.id,
            "experiment": self.experiment.name,
            "displayName": self.display_name,
            "target": None,
            "status": state["status"],
            "lost": bool(state.get("lost")),
            "createdTimeUtc": self._document["created"],
            "startTimeUtc": state["started"],
            "endTimeUtc": state["ended"],
            "error": state["error"],
            "warnings": list(self._document.get("warnings", ())),
            "properties": {"azureml.runsource": "azureml.PipelineRun", "folder": str(self.folder)},
            "tags": self.tags,
            "parameters": self.parameters,
            "inputDatasets": [],
            "outputDatasets": [],
            "logFiles": {name: str(self.folder / name) for name in self.get_file_names() if "logs" in name},
            "steps": [step.get_details() for step in self._steps(state)],
        }

    def get_steps(self) -> list[StepRun]:
        """The steps, in the order of their data."""
        return self._steps(read_state(self._folder))

    def get_children(self, **_: object) -> Iterator[StepRun]:
        """The steps, one after the other; see `get_steps`."""
        yield from self.get_steps()

    def _steps(self, state: Mapping[str, Any]) -> list[StepRun]:
        return [
            StepRun(self, step["name"], state["steps"][step["name"]]["run_id"], step["compute_target"])
            for step in self._document["pipeline"]["steps"]
        ]

    def find_step_run(self, name: str) -> list[StepRun]:
        """The run of a step, in a list.

        Parameters
        ----------
        name : str
            Of the step.

        Raises
        ------
        NotFound
            There is none of that name.
        """
        steps = {step.name: step for step in self.get_steps()}
        if name not in steps:
            raise not_found("step", name, list(steps))
        return [steps[name]]

    def get_pipeline_output(self, pipeline_output_name: str) -> PortDataReference:
        """Where an output is, or will be, by its name.

        Parameters
        ----------
        pipeline_output_name : str
            The name of the output of one of the steps.

        Raises
        ------
        NotFound
            No step has such an output.
        UsageError
            Several have.
        """
        steps = {step.name: step.get_outputs() for step in self.get_steps()}
        found = [step for step, outputs in steps.items() if pipeline_output_name in outputs]
        if not found:
            known = sorted({name for outputs in steps.values() for name in outputs})
            raise not_found(f"output of the run {self.id}", pipeline_output_name, known)
        if len(found) > 1:
            raise UsageError(
                f"The steps {', '.join(found)} all have an output {pipeline_output_name!r}. Next:"
                f" find_step_run({found[0]!r})[0].get_output_data({pipeline_output_name!r})."
            )
        return steps[found[0]][pipeline_output_name]

    def _logs(self) -> dict[str, Path]:
        """Those of reused steps too, though they lie with another run."""
        reused = [step for step in self.get_steps() if step.is_reused]
        more = {f"steps/{step.name}/{name}": path for step in reused for name, path in step._logs().items()}
        return super()._logs() | more

    def get_metrics(self, name: str | None = None, **_: object) -> dict[str, Any]:
        """Counts of each step, by its name.

        Parameters
        ----------
        name : str, optional
            One of the counts alone.
        """
        found = {step.name: step.get_metrics(name) for step in self.get_steps()}
        return {step: counts for step, counts in found.items() if counts}

    def wait_for_completion(
        self, show_output: bool = False, timeout_seconds: float | None = None, raise_on_error: bool = True
    ) -> str:
        """Wait until it has ended. Ctrl-C ends the waiting, not the run.

        Parameters
        ----------
        show_output : bool
            Print what the coordinator says meanwhile.
        timeout_seconds : float, optional
            By default without end.
        raise_on_error : bool
            Whether a run that has failed or was canceled is an error.

        Returns
        -------
        str
            The status.

        Raises
        ------
        RunFailed, RunCanceled
            As it ended, with `raise_on_error`.
        TimeoutError
            It has not ended in time; it goes on.
        """
        state: dict[str, Any] = {}
        shown = 0

        def is_over() -> bool:
            nonlocal state, shown
            state = read_state(self._folder)
            if show_output:
                shown = self._show(shown)
            return state["status"] in ENDED

        self._wait(is_over, timeout_seconds)
        if raise_on_error and state["status"] != COMPLETED:
            told = (state["error"] or {}).get("message", "")
            if state["status"] == CANCELED:
                raise RunCanceled(
                    f"The run {self.id} was canceled. Next: resume() goes on with it, and so does"
                    f" 'daskbatch runs --resume {self.id}'."
                )
            raise RunFailed(f"{told}\n\nThe run {self.id} failed. What was said is in {self._folder.log}.")
        return str(state["status"])

    def _show(self, since: int) -> int:
        """Print what is new in the log; return how much has been printed."""
        if not self._folder.log.exists():
            return since
        with self._folder.log.open("rb") as log:
            log.seek(since)
            new = log.read()
        sys.stdout.write(new.decode(errors="replace"))
        sys.stdout.flush()
        return since + len(new)

    def cancel(self) -> None:
        """Ask it to end, which it does within seconds. `resume` can go on with it.

        Raises
        ------
        UsageError
            It has ended.
        """
        status = self.get_status()
        if status in ENDED:
            raise UsageError(f"The run {self.id} is {status}: there is nothing to cancel.")
        self._folder.ask_to_cancel()

    def resume(self, environment_variables: Mapping[str, str] | None = None) -> None:
        """Go on with a run that has failed, was canceled, or whose process was killed. What is done is not done again.

        Parameters
        ----------
        environment_variables : mapping, optional
            Values of those that the steps have, which are stored nowhere.

        Raises
        ------
        UsageError
            It is going on, is complete, or needs values that are not given.
        """
        go_on(self._folder, environment_variables)

    def get_portal_url(self) -> str:
        """The URL of its folder."""
        return self.folder.as_uri()
