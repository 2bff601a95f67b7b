"""A job's YAML as the options of one run, for ``daskbatch run job.yml``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from daskbatch.api.config_rules import RUN_OPTIONS
from daskbatch.api.job_yaml import job_document
from daskbatch.api.pipeline_document import bound, checked_document
from daskbatch.api.references import from_document, localised
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
        document = checked_document(job_document(content, file, workspace))
        if len(document["steps"]) != 1:
            names = ", ".join(step["name"] for step in document["steps"])
            raise UsageError(f"it must be one job, got {names}. Next: daskbatch submit {file.name}")
        (step,) = bound(document, {})["steps"]
        folder = _output_folder(step, output, workspace)
        inputs = {one["name"]: _dataset(one["dataset"], workspace) for one in (*step["inputs"], *step["side_inputs"])}
        made = {
            "entry": step["entry_script"],
            "inputs": inputs[step["inputs"][0]["name"]],
            "source_directory": step["source_directory"],
            "arguments": [_argument(one, inputs, folder) for one in step["arguments"]],
            **{name: step["config"][name] for name in RUN_OPTIONS},
            **({} if folder is None else {"output": folder}),
            **_environment(step, say),
            **_compute(step["compute_target"], workspace, say),
        }
    except UsageError as error:
        raise type(error)(f"{str(file)!r}: {error}") from None
    return {name: value for name, value in made.items() if value not in (None, [])}


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


def _dataset(document: Mapping[str, Any], workspace: Workspace | None) -> Any:
    # Without a workspace no document names a datastore: reading the job has refused that.
    made = from_document(document, cast("Workspace", workspace))
    return made if workspace is None else localised(made, workspace)


def _argument(given: Any, inputs: Mapping[str, Any], folder: str | None) -> str:
    if isinstance(given, str):
        return given
    ((kind, value),) = given.items()
    if kind == "join":
        return "".join(_argument(part, inputs, folder) for part in value)
    if kind == "output":
        if folder is None:
            raise UsageError("the script is told its output folder, which the job does not name. Next: add --output.")
        return folder
    paths = inputs[value].local_paths()
    if len(paths) != 1:
        raise UsageError(f"the input {value!r} must be one path to be an argument, got {list(paths)}.")
    return str(paths[0])


def _environment(step: Mapping[str, Any], say: Callable[[str], object]) -> dict[str, Any]:
    from daskbatch.environments import resolve
    from daskbatch.environments_packages import pins_tensorflow_below_2

    python, notices = resolve(step["environment"])
    for notice in notices:
        say(notice)
    variables = {**step["environment"]["environment_variables"], **(step["config"]["environment_variables"] or {})}
    pinned = pins_tensorflow_below_2(step["environment"])
    return {
        "environment_variables": variables or None,
        **({} if python is None else {"python": python}),
        **({"tensorflow1": True} if pinned else {}),
    }


def _compute(name: str, workspace: Workspace | None, say: Callable[[str], object]) -> dict[str, Any]:
    if workspace is not None and name in workspace.compute_targets:
        return {key: value for key, value in workspace.compute_targets[name].options().items() if value != "local"}
    if name != "local":
        say(f"compute {name!r} is no compute target here: this machine runs the job.")
    return {}
