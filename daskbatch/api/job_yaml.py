"""Jobs of Azure's version 2, in YAML, as a pipeline's document: ``type: parallel``, alone or in a pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.documents import check_name
from daskbatch.api.job_data import JobPlace, known_keys
from daskbatch.api.job_expressions import reference
from daskbatch.api.job_step import Parent, job_step, output_files
from daskbatch.api.pipeline_document import VERSION
from daskbatch.errors import UsageError

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["job_document"]

_PIPELINE = (
    *("type", "inputs", "outputs", "jobs", "settings", "compute", "name"),
    *("description", "display_name", "experiment_name", "tags", "$schema"),
)
_PIPELINE_IGNORED = ("identity", "properties", "services", "schedule")
_SETTINGS = ("continue_on_step_failure", "default_compute", "default_datastore", "force_rerun")
_ALONE = ("name", "description", "display_name", "experiment_name", "tags", "$schema")
"""What a job that stands alone says of its run."""


def job_document(
    content: Mapping[str, Any], file: Path, workspace: Workspace | None, say: Callable[[str], object] | None = None
) -> dict[str, Any]:
    """The pipeline's document of a job; it is not checked as a whole.

    Parameters
    ----------
    content : mapping
        Of the file.
    file : Path
        Paths in it are seen from its folder.
    workspace : Workspace, optional
        Where what is registered is looked up.
    say : callable, optional
        Takes word of an environment that is not registered; without it that is an error.

    Raises
    ------
    UsageError
        Something in it is wrong, or cannot be had here.
    """
    place = JobPlace(file.parent, workspace, say)
    kind = content.get("type")
    if kind == "parallel":
        own = {key: value for key, value in content.items() if key not in _ALONE}
        made = {**_about(content), "steps": [job_step(_step_name(content, file), own, place, Parent())]}
    elif kind == "pipeline":
        made = _pipeline(content, place)
    else:
        raise UsageError(
            f"type must be 'parallel' or 'pipeline', got {kind!r}. A file of Pipeline.save() has 'steps' instead."
        )
    return {"version": VERSION, **made}


def _about(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": content.get("description"),
        "experiment_name": content.get("experiment_name"),
        "display_name": content.get("display_name"),
        "tags": {str(key): str(value) for key, value in (content.get("tags") or {}).items()},
    }


def _step_name(content: Mapping[str, Any], file: Path) -> str:
    if content.get("name") is not None:
        return check_name("name", content["name"])
    return re.sub(r"[^A-Za-z0-9._-]", "-", file.stem).lstrip("._-") or "job"


def _pipeline(content: Mapping[str, Any], place: JobPlace) -> dict[str, Any]:
    known_keys("A pipeline job", content, _PIPELINE, _PIPELINE_IGNORED)
    settings = known_keys("settings", content.get("settings") or {}, _SETTINGS)
    jobs = content.get("jobs")
    if not isinstance(jobs, dict) or not jobs:
        raise UsageError(f"jobs must be a mapping from names to jobs of 'type: parallel', got {jobs!r}.")
    defaults, modes = _inputs(content.get("inputs") or {}, place)
    parent = Parent(
        inputs=defaults,
        modes=modes,
        outputs=dict(content.get("outputs") or {}),
        compute=settings.get("default_compute") or content.get("compute"),
    )
    parent = replace(parent, files=output_files(jobs, place, parent))
    steps = [job_step(check_name("name of a job", name), job, place, parent) for name, job in jobs.items()]
    store = settings.get("default_datastore")
    for step in steps:
        step["regenerate_outputs"] = bool(settings.get("force_rerun", False))
        if store is not None and step["output"] and "folder" not in step["output"]:
            step["output"]["datastore"] = step["output"]["datastore"] or str(store).removeprefix("azureml:")
    return {
        **_about(content),
        "continue_on_step_failure": bool(settings.get("continue_on_step_failure", False)),
        "parameters": {name: {"default": default} for name, default in defaults.items()},
        "steps": steps,
    }


def _inputs(given: Mapping[str, Any], place: JobPlace) -> tuple[dict[str, Any], dict[str, str]]:
    """What a pipeline's inputs are by default, and the modes of those that are data."""
    defaults: dict[str, Any] = {}
    modes = {}
    for name, value in known_keys("inputs", given, tuple(given)).items():
        if isinstance(value, Mapping) and "path" in value:
            defaults[name], modes[name] = place.data(f"the input {name!r}", value)
        else:
            literal = value.get("default") if isinstance(value, Mapping) else value
            if not isinstance(literal, (str, int, float)) or reference(literal) is not None:
                raise UsageError(f"The input {name!r} must be data, with a path, or a text or number, got {value!r}.")
            defaults[name] = literal
    return defaults, modes
