"""PublishedPipeline: a pipeline that a workspace keeps, to be submitted without the program that made it."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daskbatch.api.code_snapshot import with_snapshot
from daskbatch.api.documents import names, read_document, write_document
from daskbatch.api.named import not_found
from daskbatch.api.pipeline import Pipeline
from daskbatch.api.yaml_files import write_yaml
from daskbatch.errors import UsageError

if TYPE_CHECKING:
    from daskbatch.api.pipeline_run import PipelineRun
    from daskbatch.api.workspace import Workspace

__all__ = ["PublishedPipeline", "publish"]

_PIPELINE, _ABOUT = "pipeline.yml", "published.json"


class PublishedPipeline:
    """A pipeline that `Pipeline.publish` has left in the workspace.

    Parameters
    ----------
    workspace : Workspace
    id : str

    Raises
    ------
    NotFound
        There is none.
    """

    def __init__(self, workspace: Workspace, id: str) -> None:  # noqa: A002 - the attribute's name in Azure
        folder = workspace.folder / "pipelines"
        known = names(folder, "")
        about = read_document(folder / id / _ABOUT) if id in known else None
        if about is None:
            raise not_found("published pipeline with the id", id, known[::-1])
        self.workspace = workspace
        self.id = id
        self.name = str(about["name"])
        self.description: str | None = about["description"]
        self.version: str | None = about["version"]
        self._about = about
        self._folder = folder / id

    def __repr__(self) -> str:
        return f"<PublishedPipeline {self.name!r}, {self.status}: {self.id}>"

    @property
    def status(self) -> str:
        """``"Active"``, or ``"Disabled"``: then it is not submitted."""
        return "Active" if self._about["active"] else "Disabled"

    @property
    def endpoint(self) -> str:
        """Where it is: no service, but a file, which ``daskbatch submit`` takes."""
        return str(self._folder / _PIPELINE)

    @staticmethod
    def get(workspace: Workspace, id: str) -> PublishedPipeline:  # noqa: A002 - the argument's name in Azure
        """The published pipeline of that id.

        Raises
        ------
        NotFound
            There is none.
        """
        return PublishedPipeline(workspace, id)

    @staticmethod
    def list(workspace: Workspace, active_only: bool = True) -> list[PublishedPipeline]:
        """All of a workspace, the latest first.

        Parameters
        ----------
        workspace : Workspace
        active_only : bool
            Whether to leave out those that are disabled.
        """
        folder = workspace.folder / "pipelines"
        found = [PublishedPipeline(workspace, id_) for id_ in names(folder, "") if (folder / id_ / _ABOUT).exists()]
        return [one for one in found[::-1] if one.status == "Active" or not active_only]

    def pipeline(self) -> Pipeline:
        """What is submitted."""
        return Pipeline.load(self._folder / _PIPELINE, self.workspace)

    def submit(
        self,
        workspace: Workspace,
        experiment_name: str,
        pipeline_parameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> PipelineRun:
        """Begin a run.

        Parameters
        ----------
        workspace : Workspace
        experiment_name : str
        pipeline_parameters : mapping, optional
            Values by name; those left out have their default values.
        **options
            As for `Experiment.submit`.

        Raises
        ------
        UsageError
            As for `Experiment.submit`.
        """
        from daskbatch.api.experiment import Experiment

        return Experiment(workspace, experiment_name).submit(self, pipeline_parameters=pipeline_parameters, **options)

    def check_active(self) -> None:
        """See that it may be submitted.

        Raises
        ------
        UsageError
            It is disabled.
        """
        if not self._about["active"]:
            raise UsageError(f"The published pipeline {self.name!r} ({self.id}) is disabled. Next: enable() it.")

    def enable(self) -> None:
        """Have it submitted again."""
        self._set(active=True)

    def disable(self) -> None:
        """Have it submitted no more."""
        self._set(active=False)

    def _set(self, **values: Any) -> None:
        self._about = {**self._about, **values}
        write_document(self._folder / _ABOUT, self._about, overwrite=True)


def publish(
    pipeline: Pipeline,
    name: str | None,
    description: str | None,
    version: str | None,
    continue_on_step_failure: bool | None,
) -> PublishedPipeline:
    """Keep a pipeline, with copies of its source directories; see `Pipeline.publish`.

    Raises
    ------
    UsageError
        It cannot be written, or an input is in this program alone.
    """
    pipeline.refuse_live_inputs()
    document = pipeline.as_document()
    document["steps"] = [with_snapshot(step, pipeline.workspace) for step in document["steps"]]
    if continue_on_step_failure is not None:
        document["continue_on_step_failure"] = continue_on_step_failure
    moment = dt.datetime.now(dt.UTC)
    id_ = f"{moment:%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"  # in the order of time
    folder = pipeline.workspace.folder / "pipelines" / id_
    folder.mkdir(parents=True)
    write_yaml(folder / _PIPELINE, document, private=pipeline.has_variables)
    about = {
        "name": name or "Pipeline",
        "description": description if description is not None else pipeline.description,
        "version": None if version is None else str(version),
        "created": moment.isoformat(timespec="seconds"),
        "active": True,
    }
    write_document(folder / _ABOUT, about, overwrite=False)
    return PublishedPipeline(pipeline.workspace, id_)
