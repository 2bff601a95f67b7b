"""A job of ``type: parallel`` as the document of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daskbatch.api.ignored import ignore
from daskbatch.api.job_data import JobPlace, Output, known_keys
from daskbatch.api.job_expressions import Reference, reference, split_arguments
from daskbatch.errors import UsageError
from daskbatch.options.values import nearest, seconds, whole_number

__all__ = ["Parent", "job_step", "output_files"]

_KEYS = (
    *("type", "inputs", "outputs", "compute", "input_data", "mini_batch_size", "partition_keys", "task"),
    *("mini_batch_error_threshold", "error_threshold", "logging_level", "resources", "retry_settings"),
    *("max_concurrency_per_instance", "environment_variables", "description", "name", "display_name"),
    *("$schema", "is_deterministic"),
)
_IGNORED = ("experiment_name", "identity", "properties", "tags", "version")
_TASK = ("type", "code", "entry_script", "environment", "program_arguments", "append_row_to")
_PREDEFINED = (
    *("copy_logs_to_parent", "first_task_creation_timeout", "metrics_name_prefix", "progress_update_timeout"),
    *("push_metrics_to_parent", "resource_monitor_interval", "task_overhead_timeout"),
)
"""Arguments of Azure's own program, which the script shares its line with."""
_MEANT = ("allowed_failed_percent", "error_threshold")
"""Those of them that say something here too."""


@dataclass(frozen=True, slots=True)
class Parent:
    """What the pipeline around a job says."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Default values by name: datasets' documents, texts and numbers."""
    modes: Mapping[str, str] = field(default_factory=dict)
    """Of those that are data."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    compute: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """The name of the file that a job's output is, by the job; of those alone that are files."""


def output_files(jobs: Mapping[str, Any], place: JobPlace, parent: Parent) -> dict[str, str]:
    """`Parent.files`. What is wrong with a job is for `job_step` to say.

    Parameters
    ----------
    jobs : mapping
    place : JobPlace
    parent : Parent
        Without them.
    """
    found = {}
    for name, job in jobs.items():
        with contextlib.suppress(UsageError, AttributeError):
            output = _output(job.get("outputs") or {}, place, parent)
            if output is not None and output.file is not None:
                found[name] = output.file
    return found


def job_step(name: str, given: Any, place: JobPlace, parent: Parent) -> dict[str, Any]:
    """The document of a step.

    Parameters
    ----------
    name : str
    given : mapping
        The job.
    place : JobPlace
    parent : Parent

    Raises
    ------
    UsageError
        Something in it is wrong, or cannot be had here.
    """
    try:
        return _step(name, given, place, parent)
    except UsageError as error:
        raise type(error)(f"The job {name!r}: {error}") from None


def _step(name: str, given: Any, place: JobPlace, parent: Parent) -> dict[str, Any]:
    if not isinstance(given, Mapping) or given.get("type") != "parallel":
        kind = given.get("type") if isinstance(given, Mapping) else given
        raise UsageError(f"type must be 'parallel', got {kind!r}. Other kinds of jobs cannot be run here.")
    if "component" in given or not isinstance(given.get("task"), Mapping):
        raise UsageError("it must have a 'task' of its own, with code and entry_script. Components cannot be had here.")
    job = known_keys("A parallel job", given, _KEYS, _IGNORED)
    task = known_keys("task", job["task"], _TASK, ("model",))
    if task.get("type", "run_function") != "run_function":
        raise UsageError(f"type of task must be 'run_function', got {task['type']!r}.")
    data, values = _inputs(job.get("inputs") or {}, place, parent)
    main = _named("input_data", job.get("input_data"), "inputs", data)
    output = _output(job.get("outputs") or {}, place, parent)
    arguments, predefined = _arguments(task.get("program_arguments"), data, values, output)
    if task.get("append_row_to") is not None:
        _named("append_row_to", task["append_row_to"], "outputs", [output.document["name"]] if output else [])
    code = task.get("code")
    if not isinstance(task.get("entry_script"), str):
        raise UsageError(f"entry_script of task must be the path of a Python script, got {task.get('entry_script')!r}.")
    compute = job.get("compute") or parent.compute or "local"
    return {
        "name": name,
        "entry_script": place.local(task["entry_script"]) if code is None else task["entry_script"],
        "source_directory": None if code is None else place.local(str(code)),
        "config": _config(job, task, predefined, output, data[main]),
        "environment": place.environment(task.get("environment"), name),
        "compute_target": str(compute).removeprefix("azureml:"),
        "inputs": [data[main]],
        "side_inputs": [one for key, one in data.items() if key != main],
        "output": None if output is None else dict(output.document),
        "arguments": arguments,
        "allow_reuse": bool(job.get("is_deterministic", True)),
    }


def _config(
    job: Mapping[str, Any], task: Mapping[str, Any], predefined: Mapping[str, Any], output: Output | None, main: Any
) -> dict[str, Any]:
    resources = job.get("resources") or {}
    retry = known_keys("retry_settings", job.get("retry_settings") or {}, ("max_retries", "timeout"))
    retries = whole_number("retry_settings.max_retries", retry.get("max_retries", 2), 0)
    processes = job.get("max_concurrency_per_instance")
    keys, size = job.get("partition_keys"), job.get("mini_batch_size")
    if keys:
        size = None  # in version 2 keys win
    elif size is not None:
        size = str(size).replace(" ", "")
    elif _is_files(main):
        size = "1"
    return {
        "description": job.get("description"),
        "error_threshold": job.get("error_threshold", predefined.get("error_threshold", -1)),
        "output_action": "summary_only" if task.get("append_row_to") is None else "append_row",
        "append_row_file_name": None if output is None else output.file,
        "node_count": whole_number("resources.instance_count", resources.get("instance_count", 1), 1),
        "process_count_per_node": (
            None if processes is None else whole_number("max_concurrency_per_instance", processes, 1)
        ),
        "mini_batch_size": size,
        "logging_level": job.get("logging_level"),
        "run_invocation_timeout": seconds("retry_settings.timeout", retry.get("timeout", 60)),
        "run_max_try": retries + 1,
        "allowed_failed_count": whole_number(
            "mini_batch_error_threshold", job.get("mini_batch_error_threshold", -1), -1
        ),
        "allowed_failed_percent": predefined.get("allowed_failed_percent"),
        "partition_keys": keys or None,
        "environment_variables": job.get("environment_variables") or None,
    }


def _is_files(main: Mapping[str, Any]) -> bool:
    data = main["dataset"]
    return str((data.get("output") or {}).get("reading", data).get("type")) == "file"


def _inputs(
    given: Mapping[str, Any], place: JobPlace, parent: Parent
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The inputs that are data, as a step's document has them, and those that are texts and numbers."""
    data: dict[str, dict[str, Any]] = {}
    values: dict[str, Any] = {}
    for name, value in known_keys("inputs", given, tuple(given)).items():
        if isinstance(value, Mapping):
            data[name] = _data(name, value, place, parent)
            continue
        found = reference(value)
        if found is not None and found[:2] != ("parent", "inputs"):
            data[name] = _data(name, {"path": value}, place, parent)
        elif found is not None and isinstance(_of_parent(found, parent), Mapping):
            data[name] = _entry(name, {"parameter": found[2]}, parent.modes[found[2]])
        elif found is not None:
            values[name] = {"parameter": found[2]}
        elif isinstance(value, (str, int, float)):
            values[name] = str(value)
        else:
            raise UsageError(f"The input {name!r} must be data, a text, a number, True or False, got {value!r}.")
    return data, values


def _data(name: str, given: Mapping[str, Any], place: JobPlace, parent: Parent) -> dict[str, Any]:
    found = reference(given.get("path"))
    if found is None:
        dataset, mode = place.data(f"the input {name!r}", given)
        return _entry(name, dataset, mode)
    mode = place.mode(f"the input {name!r}", given)
    if found[:2] == ("parent", "inputs") and isinstance(_of_parent(found, parent), Mapping):
        return _entry(name, {"parameter": found[2]}, mode)
    if len(found) == 5 and found[:2] == ("parent", "jobs") and found[3] == "outputs":
        reading = {"type": "tabular" if given.get("type") == "mltable" else "file"}
        # A file is handed on as one, as Azure does, unless this job asks for the folder that it lies in.
        if found[2] in parent.files and given.get("type") != "uri_folder":
            reading["glob"] = parent.files[found[2]]
        return _entry(name, {"output": {"step": found[2], "name": found[4], "reading": reading}}, mode)
    raise UsageError(
        f"The input {name!r} must refer to ${{{{parent.inputs.NAME}}}} or ${{{{parent.jobs.JOB.outputs.NAME}}}}, got"
        f" {given['path']!r}."
    )


def _entry(name: str, dataset: Mapping[str, Any], mode: str) -> dict[str, Any]:
    return {"name": name, "dataset": dict(dataset), "mode": mode, "path_on_compute": None}


def _of_parent(found: Reference, parent: Parent) -> Any:
    if len(found) != 3 or found[2] not in parent.inputs:
        known = list(parent.inputs)
        raise UsageError(
            f"The pipeline has no input {'.'.join(found[2:])!r}.{nearest('.'.join(found[2:]), known)} It has:"
            f" {', '.join(known) or 'none'}."
        )
    return parent.inputs[found[2]]


def _named(what: str, given: object, kind: str, known: Any) -> str:
    """The name in ``${{inputs.NAME}}``, which must be one of those known."""
    found = reference(given)
    if found is None or len(found) != 2 or found[0] != kind or found[1] not in known:
        raise UsageError(
            f"{what} must be one of the job's {kind}, such as ${{{{{kind}.NAME}}}}, got {given!r}. They are:"
            f" {', '.join(known) or 'none'}."
        )
    return found[1]


def _output(given: Mapping[str, Any], place: JobPlace, parent: Parent) -> Output | None:
    outputs = known_keys("outputs", given, tuple(given))
    if len(outputs) > 1:
        raise UsageError(f"outputs must be one at most, got {', '.join(outputs)}. Write into folders of one output.")
    for name, value in outputs.items():
        found = reference(value)
        if found is None:
            return place.output(name, value)
        if found[:2] not in (("parent", "outputs"), ("parents", "outputs")) or found[-1] not in parent.outputs:
            raise UsageError(
                f"The output {name!r} must be one of the pipeline's, such as ${{{{parent.outputs.NAME}}}}, got"
                f" {value!r}. They are: {', '.join(parent.outputs) or 'none'}."
            )
        return place.output(name, parent.outputs[found[-1]])
    return None


def _arguments(
    text: object, data: Mapping[str, Any], values: Mapping[str, Any], output: Output | None
) -> tuple[list[Any], dict[str, Any]]:
    """The script's arguments, and what stands among them for Azure's own program."""
    words = split_arguments(text)
    arguments: list[Any] = []
    predefined: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name = _predefined(word)
        if name is None:
            arguments.append(_joined([one for part in word for one in _part(part, data, values, output)]))
            continue
        equals = str(word[0]).partition("=")
        value = [equals[2], *word[1:]] if equals[1] else next(rest, [""])
        predefined[name] = _joined([one for part in value for one in _part(part, data, values, output)])
    ignore("program_arguments", [f"--{name}" for name in predefined if name not in _MEANT])
    return arguments, predefined


def _predefined(word: Sequence[str | Reference]) -> str | None:
    first = word[0] if word and isinstance(word[0], str) else ""
    name = first.partition("=")[0].removeprefix("--")
    return name if first.startswith("--") and name in (*_PREDEFINED, *_MEANT) else None


def _part(
    part: str | Reference, data: Mapping[str, Any], values: Mapping[str, Any], output: Output | None
) -> Iterator[Any]:
    if isinstance(part, str):
        yield part
    elif part[:1] == ("inputs",) and part[-1] in data:
        yield {"input": part[-1]}
    elif part[:1] == ("inputs",) and part[-1] in values:
        yield values[part[-1]]
    elif part[:1] == ("outputs",) and output is not None and part[-1] == output.document["name"]:
        yield {"output": part[-1]}
        if output.file is not None:
            yield f"/{output.file}"
    else:
        raise UsageError(
            f"program_arguments: there is no ${{{{{'.'.join(part)}}}}}. The job has the inputs"
            f" {', '.join((*data, *values)) or 'none'} and the output {output.document['name'] if output else 'none'}."
        )


def _joined(parts: list[Any]) -> Any:
    """One argument: a text, a single reference, or some of both."""
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    return parts[0] if len(parts) == 1 else {"join": parts}
