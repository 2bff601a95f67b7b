"""Pipeline: steps, and what they hand each other."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.datastore import Datastore
from daskbatch.api.ignored import accept, ignore
from daskbatch.api.output_places import refuse_overlaps
from daskbatch.api.outputs import StepOutput
from daskbatch.api.parameter_values import data_value
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.pipeline_document import VERSION, bound, checked_document
from daskbatch.api.pipeline_steps import all_steps, parameters_of, writers_of
from daskbatch.api.references import from_document
from daskbatch.api.step import ParallelRunStep
from daskbatch.api.step_inputs import data_document
from daskbatch.api.yaml_files import read_yaml, write_yaml
from daskbatch.engine.persisted import refuse_persisted_elsewhere
from daskbatch.errors import UsageError
from daskbatch.options.entry import entry_point
from daskbatch.options.values import nearest

if TYPE_CHECKING:
    from daskbatch.api.pipeline_run import PipelineRun
    from daskbatch.api.published import PublishedPipeline
    from daskbatch.api.workspace import Workspace

__all__ = ["Pipeline"]


class Pipeline:
    """Steps in the order of their data, as they are when this is made.

    Parameters
    ----------
    workspace : Workspace
    steps : list of ParallelRunStep
        In any order.
    description : str, optional
    default_datastore : Datastore or str, optional
        For outputs without one; by default the workspace's default datastore.
    default_source_directory : path, optional
        Said once that it means nothing: each step's config has its own.
    resolve_closure : bool
        Whether steps that are not in `steps`, but whose output one of them reads, belong to it too.

    Raises
    ------
    UsageError
        Two steps have one name, some wait for each other, an output is written by no step or by two, or goes to where
        another or the step's own input is; a compute target or a datastore is not registered.
    """

    def __init__(
        self,
        workspace: Workspace,
        steps: Sequence[ParallelRunStep],
        description: str | None = None,
        default_datastore: Datastore | str | None = None,
        default_source_directory: str | os.PathLike[str] | None = None,
        resolve_closure: bool = True,
        **ignored: object,
    ) -> None:
        accept("Pipeline", ignored, ("_service_endpoint", "_workflow_provider"))
        ignore("Pipeline", ["default_source_directory"] if default_source_directory is not None else [])
        found = all_steps(steps, resolve_closure)
        writers = writers_of(found)

        def producer(output: StepOutput) -> str:
            if id(output.origin) not in writers:
                raise UsageError(
                    f"The output {output.name!r} is an input, but no step of the pipeline writes it. Add the step that"
                    " does to steps."
                )
            return writers[id(output.origin)]

        parameters = parameters_of(found)
        document = checked_document(
            {
                "version": VERSION,
                "description": description,
                "parameters": {name: {"default": _plain(one.default_value)} for name, one in parameters.items()},
                "steps": [step.as_document(producer) for step in found],
            }
        )
        if default_datastore is not None:
            name = default_datastore.name if isinstance(default_datastore, Datastore) else default_datastore
            _set_datastore(document, name)
        live = {(step.name, name): data for step in found for name, data in step.live_inputs().items()}
        self._take(workspace, document, parameters, live)

    def _take(
        self,
        workspace: Workspace,
        document: dict[str, Any],
        parameters: Mapping[str, PipelineParameter],
        live: Mapping[tuple[str, str], TabularDataset],
    ) -> None:
        self.workspace = workspace
        self.parameters = dict(parameters)
        """By name."""
        self.live_inputs = dict(live)
        """Data that is in this program alone, dataframes, by the names of step and input."""
        self._document = document
        if problems := self.validate():
            raise UsageError("\n".join(problems))
        refuse_overlaps(document["steps"], workspace)

    def __repr__(self) -> str:
        return f"<Pipeline: {', '.join(step['name'] for step in self._document['steps'])}>"

    @property
    def description(self) -> str | None:
        """What it is for."""
        text: str | None = self._document["description"]
        return text

    def as_document(self) -> dict[str, Any]:
        """The pipeline as JSON values, each step behind those that it needs."""
        return copy.deepcopy(self._document)

    def validate(self) -> list[str]:
        """See whether it could be submitted now.

        Returns
        -------
        list of str
            What is wrong: an entry script, a compute target or a datastore is not there. Empty where all is well.
        """
        return [
            f"The step {step['name']!r}: {problem}"
            for step in self._document["steps"]
            for problem in self._problems(step)
        ]

    def _problems(self, step: Mapping[str, Any]) -> Iterator[str]:
        for check in (self._check_script, self._check_places, self._check_data):
            try:
                check(step)
            except UsageError as error:
                yield str(error)

    def _check_script(self, step: Mapping[str, Any]) -> None:
        entry_point(step["entry_script"], step["source_directory"])

    def _check_places(self, step: Mapping[str, Any]) -> None:
        if self.workspace.compute_targets[step["compute_target"]].type != "Dask":
            for (name, _), data in self.live_inputs.items():
                if name == step["name"]:
                    refuse_persisted_elsewhere(data.collection, None)
        output = step["output"] or {}
        if "folder" in output:
            raise UsageError(
                f"the output {output['name']!r} is the folder {output['folder']!r}, but pipelines write to datastores."
                " Next: leave its path out, or write azureml://datastores/NAME/paths/FOLDER. 'daskbatch run' takes"
                " it as it is."
            )
        if output.get("datastore") is not None:
            self.workspace.datastores[output["datastore"]]

    def _check_data(self, step: Mapping[str, Any]) -> None:
        for one in (*step["inputs"], *step["side_inputs"]):
            data = one["dataset"]
            if "type" in data and "live" not in data:
                from_document(data, self.workspace)

    def bind(self, pipeline_parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The document with values in the place of all parameters: what a submission runs.

        Parameters
        ----------
        pipeline_parameters : mapping, optional
            Values by name; default values serve for the others. A dataset may be given by the name that it is
            registered under, ``"name"`` or ``"name:version"``, or by a path.

        Raises
        ------
        UsageError
            There is no such parameter, or a value is wrong.
        """
        values = {}
        for name, given in (pipeline_parameters or {}).items():
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise UsageError(
                    f"The pipeline has no parameter {name!r}.{nearest(str(name), self.parameters)} It has: {known}."
                )
            values[name] = _plain(data_value(self.parameters[name], given, self.workspace))
        document = bound(self._document, values)
        refuse_overlaps(document["steps"], self.workspace)
        return document

    def submit(
        self,
        experiment_name: str,
        pipeline_parameters: Mapping[str, Any] | None = None,
        continue_on_step_failure: bool | None = None,
        regenerate_outputs: bool = False,
        **options: Any,
    ) -> PipelineRun:
        """Begin a run in an experiment of the workspace, and return at once; see `Experiment.submit`.

        Parameters
        ----------
        experiment_name : str
        pipeline_parameters, continue_on_step_failure, regenerate_outputs, **options
            As for `Experiment.submit`.

        Raises
        ------
        UsageError
            As for `Experiment.submit`.
        """
        from daskbatch.api.experiment import Experiment

        return Experiment(self.workspace, experiment_name).submit(
            self,
            pipeline_parameters=pipeline_parameters,
            continue_on_step_failure=continue_on_step_failure,
            regenerate_outputs=regenerate_outputs,
            **options,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it into a YAML file, over one that is there. Scripts and data stay where they are.

        Values of environment variables are in it; a file that has some is readable by its owner alone.

        Parameters
        ----------
        path : path

        Raises
        ------
        UsageError
            It cannot be written, or an input is in this program alone.
        """
        self.refuse_live_inputs()
        write_yaml(path, self._document, private=self.has_variables)

    def publish(
        self,
        name: str | None = None,
        description: str | None = None,
        version: str | None = None,
        continue_on_step_failure: bool | None = None,
    ) -> PublishedPipeline:
        """Keep it in the workspace, with copies of its source directories: it can be submitted from anywhere.

        Parameters
        ----------
        name, description, version : str, optional
            For people.
        continue_on_step_failure : bool, optional
            After a step has failed, still begin those that do not need it.

        Raises
        ------
        UsageError
            It cannot be written, or an input is in this program alone.
        """
        from daskbatch.api.published import publish

        return publish(self, name, description, version, continue_on_step_failure)

    @property
    def has_variables(self) -> bool:
        """Whether values of environment variables are in it, which may be secrets."""
        key = "environment_variables"
        return any(step[place].get(key) for step in self._document["steps"] for place in ("config", "environment"))

    def refuse_live_inputs(self) -> None:
        """See that a file can hold it.

        Raises
        ------
        UsageError
            An input is in this program alone.
        """
        if self.live_inputs:
            step, name = next(iter(self.live_inputs))
            raise UsageError(
                f"The input {name!r} of the step {step!r} is a dataframe in this program, which no file can hold. Write"
                " it down: Dataset.Tabular.register_pandas_dataframe(frame, (datastore, 'folder'), name)."
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str], workspace: Workspace | None = None) -> Pipeline:
        """Read what `save` wrote, or a job's YAML of version 2 of Azure's command line.

        Parameters
        ----------
        path : path
        workspace : Workspace, optional
            By default that of the current folder.

        Raises
        ------
        UsageError
            It is no such file, or something in it is wrong or not registered.
        """
        if workspace is None:
            from daskbatch.api.workspace import Workspace as Found

            workspace = Found.from_config()
        content, file = read_yaml(path, "pipeline")
        try:
            if "steps" not in content:
                from daskbatch.api.job_yaml import job_document

                content = job_document(content, file, workspace)
            document = checked_document(content)
            parameters = {
                name: PipelineParameter(name, _object(one["default"], workspace))
                for name, one in document["parameters"].items()
            }
            made = cls.__new__(cls)
            made._take(workspace, document, parameters, {})
        except UsageError as error:
            raise type(error)(f"{str(file)!r}: {error}") from None
        return made


def _set_datastore(document: Mapping[str, Any], name: str) -> None:
    for step in document["steps"]:
        if step["output"] is not None and step["output"].get("datastore") is None:
            step["output"]["datastore"] = name


def _plain(value: object) -> Any:
    """JSON values of a parameter's value."""
    return data_document(value) if isinstance(value, (FileDataset, TabularDataset, DataPath)) else value


def _object(value: object, workspace: Workspace) -> Any:
    return from_document(value, workspace) if isinstance(value, Mapping) else value
