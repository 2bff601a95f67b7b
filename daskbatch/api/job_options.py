"""A job's YAML as the options of one run, for ``daskbatch run job.yml``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.execution import environment_options, step_call
from daskbatch.api.job_yaml import job_document
from daskbatch.api.pipeline_document import bound, checked_document
from daskbatch.api.yaml_files import read_yaml
from daskbatch.errors import NotFound, UsageError
from daskbatch.options.values import local_path

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["options_of_job"]


def options_of_job(
    path: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    say: Callable[[str], object] = warnings.warn,
) -> dict[str, Any]:
    """The arguments of ``daskbatch.run`` for a job.

    Parameters
    ----------
    path : path
        A job of ``type: parallel``, or a pipeline of one such job.
    output : path, optional
        The output folder, in the place of the job's own.
    say : callable
        Takes what is not as the job asks for, a line each.

    Returns
    -------
    dict
        ``"output"`` is missing where the job names no folder.

    Raises
    ------
    UsageError
        It is no such job, or something in it is wrong.
    """
    content, file = read_yaml(path, "job")
    workspace = _workspace(file.parent)
    try:
        document = checked_document(job_document(content, file, workspace, say))
        if len(document["steps"]) != 1:
            names = ", ".join(step["name"] for step in document["steps"])
            raise UsageError(f"it must be one job, got {names}. Next: daskbatch submit {file.name}")
        (step,) = bound(document, {})["steps"]
        folder = _output_folder(step, output, workspace)
        lent = {
            **_compute(step["compute_target"], workspace, say),
            **environment_options(step["environment"], workspace, say),
        }
        call = step_call(step, workspace, folder, {}, {}, lent)
    except UsageError as error:
        raise type(error)(f"{str(file)!r}: {error}") from None
    made = {"entry": call.entry, "inputs": call.inputs, **call.options}
    own = made.pop("script_output", None)  # the output folder, unless the caller names another
    return made if own is None else {**made, "output": own}


def _workspace(folder: Path) -> Workspace | None:
    from daskbatch.api.workspace import Workspace

    try:
        return Workspace.from_config(folder)
    except NotFound:
        return None


def _output_folder(
    step: Mapping[str, Any], given: str | os.PathLike[str] | None, workspace: Workspace | None
) -> str | None:
    output = step["output"] or {}
    if given is not None:
        return local_path("output", given)
    if "folder" in output:
        return str(output["folder"])
    if output.get("datastore") is None or "{" in output["path"] or workspace is None:
        return None
    return str(workspace.datastores[output["datastore"]].path(output["path"]).local_path())


def _compute(name: str, workspace: Workspace | None, say: Callable[[str], object]) -> dict[str, Any]:
    if workspace is not None and name in workspace.compute_targets:
        return {key: value for key, value in workspace.compute_targets[name].options().items() if value != "local"}
    if name != "local":
        say(f"compute {name!r} is no compute target here: this machine runs the job.")
    return {}
