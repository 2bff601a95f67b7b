"""A pipeline as JSON values: checked, in an order that can be run, and with its parameters filled in.

Whatever makes such a document, steps in Python, a saved file or a job's YAML, it goes through here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daskbatch.api.config_rules import PARAMETERS, RUN_OPTIONS, check_mini_batch_size, check_together, checked
from daskbatch.api.documents import check_name
from daskbatch.api.environment import Environment
from daskbatch.errors import UsageError
from daskbatch.options.values import nearest

__all__ = ["VERSION", "bound", "checked_document", "needs_of", "steps_in_order"]

VERSION = 1
_KEYS: Mapping[str, Any] = {
    "version": VERSION,
    "description": None,
    "experiment_name": None,
    "display_name": None,
    "tags": {},
    "continue_on_step_failure": False,
    "parameters": {},
    "steps": [],
}
"""Of a pipeline, and what they are where they are left out."""
_STEP_KEYS: Mapping[str, Any] = {
    "name": None,
    "entry_script": None,
    "source_directory": None,
    "config": {},
    "environment": None,
    "compute_target": "local",
    "inputs": [],
    "side_inputs": [],
    "output": None,
    "arguments": [],
    "allow_reuse": True,
    "after": [],
    "regenerate_outputs": False,
}


def checked_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """A whole document: what is left out filled in, each step behind those that it needs.

    Raises
    ------
    UsageError
        Something in it is wrong.
    """
    try:
        made = _checked(document)
        json.dumps(made)
    except UsageError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"This is no document of a pipeline: {error!r}. Save it again with Pipeline.save(path)."
        ) from None
    return made


def _checked(document: Mapping[str, Any]) -> dict[str, Any]:
    made = _filled("The pipeline", document, _KEYS)
    if made["version"] != VERSION:
        raise UsageError(
            f"version of the pipeline must be {VERSION}, got {made['version']!r}: it was saved by another release."
        )
    if not isinstance(made["steps"], list) or not isinstance(made["parameters"], dict):
        raise UsageError("A pipeline's document must have a list 'steps' and a mapping 'parameters'.")
    steps = [_filled(f"The step {_name_of(step)!r}", step, _STEP_KEYS) for step in made["steps"]]
    if not steps:
        raise UsageError("A pipeline must have at least one step, got none.")
    _check_names(steps)
    for step in steps:
        try:
            _check_step(step, made["parameters"], steps)
        except UsageError as error:
            raise type(error)(f"The step {step['name']!r}: {error}") from None
    return {**made, "steps": steps_in_order(steps)}


def _filled(what: str, given: object, keys: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} must be a mapping, got {given!r}.")
    for key in given:
        if key not in keys:
            raise UsageError(f"{what} has no {key!r}.{nearest(str(key), keys)}")
    return copy.deepcopy({**keys, **given})


def _name_of(step: object) -> object:
    return step.get("name") if isinstance(step, Mapping) else step


def _check_names(steps: Sequence[Mapping[str, Any]]) -> None:
    names = [check_name("name of a step", step["name"]) for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"steps must have different names, got {name!r} {names.count(name)} times.")


def _check_step(step: dict[str, Any], parameters: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> None:
    if not isinstance(step["entry_script"], str) or not isinstance(step["compute_target"], str):
        raise UsageError("entry_script and compute_target must be texts.")
    for key in ("inputs", "side_inputs", "arguments", "after"):
        if not isinstance(step[key], list):
            raise UsageError(f"{key} must be a list, got {step[key]!r}.")
    if step["output"] is not None and not isinstance(step["output"]["name"], str):
        raise UsageError(f"output must have a name, got {step['output']!r}.")
    environment = step["environment"] or Environment("default").as_document()
    step["environment"] = Environment.from_document(environment).as_document()
    step["config"] = _checked_config(step["config"], parameters)
    names = [one.get("name") for one in (*step["inputs"], *step["side_inputs"])]
    if len(set(names)) < len(names) or not step["inputs"]:
        raise UsageError(f"inputs must be one or more, and all have different names, got {names}.")
    outputs = {other["name"]: (other["output"] or {}).get("name") for other in steps}
    for one in (*step["inputs"], *step["side_inputs"]):
        _check_data(one, parameters, outputs)
    for argument in step["arguments"]:
        _check_argument(argument, parameters, names, outputs[step["name"]])
    for name in step["after"]:
        _known("step", name, outputs)
    _check_cut(step, parameters)


def _checked_config(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"description": checked("description", config.get("description"))}
    for name in config:
        _known("option", name, ("description", *RUN_OPTIONS))
    for name in RUN_OPTIONS:
        value = config.get(name)
        reference = _parameter(value) if name in PARAMETERS else None
        if reference is not None:
            checked(name, _default(reference, parameters))
            made[name] = value
        elif value is None and name == "process_count_per_node":
            made[name] = None  # the usable cores, which is the default of a job's YAML
        else:
            made[name] = checked(name, value)
    check_together(made)
    return made


def _check_data(given: Mapping[str, Any], parameters: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    data = given.get("dataset")
    if not isinstance(data, Mapping):
        raise UsageError(f"The input {given.get('name')!r} must have a 'dataset', got {dict(given)!r}.")
    if "parameter" in data:
        default = _default(data["parameter"], parameters)
        if not isinstance(default, Mapping):
            raise UsageError(f"The parameter {data['parameter']!r} must be a dataset to be an input, got {default!r}.")
    elif "output" in data:
        step, name = data["output"]["step"], data["output"]["name"]
        _known("step", step, outputs)
        if outputs[step] != name:
            raise UsageError(f"reads the output {name!r} of the step {step!r}, which has the output {outputs[step]!r}.")


def _check_argument(given: Any, parameters: Mapping[str, Any], inputs: Sequence[Any], output: str | None) -> None:
    if isinstance(given, str):
        return
    kind, value = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else (None, None)
    if kind == "join" and isinstance(value, list):
        for part in value:
            _check_argument(part, parameters, inputs, output)
    elif kind == "parameter":
        if isinstance(_default(value, parameters), Mapping):
            raise UsageError(f"The parameter {value!r} is a dataset: name the input that it is in arguments.")
    elif kind == "input":
        _known("input", value, inputs)
    elif kind == "output":
        _known("output", value, [] if output is None else [output])
    else:
        raise UsageError(
            "Each of arguments must be a text or one of {parameter: ...}, {input: ...}, {output: ...}, {join: [...]},"
            f" got {given!r}."
        )


def _check_cut(step: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Whether inputs are of one kind, which the mini-batch size fits."""
    kinds = {_kind(one["dataset"], parameters) for one in step["inputs"]}
    if len(kinds) > 1:
        raise UsageError("inputs must be of one type, files or tables, got both. Make a step for each.")
    size = step["config"]["mini_batch_size"]
    reference = _parameter(size)
    check_mini_batch_size(size if reference is None else _default(reference, parameters), kinds.pop())


def _kind(data: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    if "output" in data:
        data = data["output"].get("reading") or {"type": "file"}
    elif "parameter" in data:
        data = _default(data["parameter"], parameters)
    return str(data.get("type"))


def _parameter(value: object) -> str | None:
    """The parameter's name, where this stands for one."""
    return str(value["parameter"]) if isinstance(value, Mapping) and "parameter" in value else None


def _default(name: Any, parameters: Mapping[str, Any]) -> Any:
    _known("parameter", name, parameters)
    return parameters[name]["default"]


def _known(what: str, name: object, known: Any) -> None:
    if name not in known:
        listed = ", ".join(map(str, known)) or "none"
        raise UsageError(f"There is no {what} {name!r}.{nearest(str(name), map(str, known))} There are: {listed}.")


def needs_of(step: Mapping[str, Any]) -> list[str]:
    """The names of the steps that a step waits for."""
    read = [one["dataset"]["output"]["step"] for one in _data(step) if "output" in one["dataset"]]
    return list(dict.fromkeys([*read, *step["after"]]))


def _data(step: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from step["inputs"]
    yield from step["side_inputs"]


def steps_in_order(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps, each behind those that it needs, else as they were given.

    Raises
    ------
    UsageError
        Some wait for each other.
    """
    left = {step["name"]: step for step in steps}
    made: list[dict[str, Any]] = []
    while left:
        ready = next((step for step in left.values() if not any(name in left for name in needs_of(step))), None)
        if ready is None:
            raise UsageError(f"steps wait for each other: {' -> '.join(_circle(left))}. Break the circle.")
        made.append(left.pop(ready["name"]))
    return made


def _circle(left: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of steps, each of which waits for the next, where all that are left wait for one that is left."""
    way = [next(iter(left))]
    while way[-1] not in way[:-1]:
        way.append(next(name for name in needs_of(left[way[-1]]) if name in left))
    return way[way.index(way[-1]) :]


def bound(document: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The same document with values in the place of its parameters, which are checked again.

    Parameters
    ----------
    document : mapping
        A whole one.
    values : mapping
        JSON values by the parameters' names; a dataset's document for a dataset. Defaults serve for the others.

    Raises
    ------
    UsageError
        There is no such parameter, or a value is wrong.
    """
    made = copy.deepcopy(dict(document))
    for name, value in values.items():
        _known("parameter", name, made["parameters"])
        made["parameters"][name] = {"default": value}
    for step in made["steps"]:
        for one in _data(step):
            if "parameter" in one["dataset"]:
                one["dataset"] = copy.deepcopy(_default(one["dataset"]["parameter"], made["parameters"]))
        for name in PARAMETERS:
            reference = _parameter(step["config"][name])
            if reference is not None:
                step["config"][name] = _default(reference, made["parameters"])
        step["arguments"] = [_argument(value, made["parameters"]) for value in step["arguments"]]
    return checked_document(made)


def _argument(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping) and "join" in value:
        return {"join": [_argument(part, parameters) for part in value["join"]]}
    reference = _parameter(value)
    return value if reference is None else str(_default(reference, parameters))
