"""A step's document as one call of ``daskbatch.run``."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.config_rules import RUN_OPTIONS
from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_files import relative_paths, validate
from daskbatch.api.dataset_rows import materialise
from daskbatch.api.outputs import read_output
from daskbatch.api.references import from_document, localised
from daskbatch.environments import resolve
from daskbatch.environments_packages import pins_tensorflow_below_2
from daskbatch.errors import UsageError
from daskbatch.layout import WORKSPACE_VARIABLE
from daskbatch.options.names import RunOptions
from daskbatch.plan_inputs import state_of_inputs

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Call", "Data", "check_step", "environment_options", "joined", "live_inputs", "output_place", "step_call"]

Data = FileDataset | TabularDataset
Notify = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of ``daskbatch.run``, without ``output``."""

    entry: str
    inputs: Any
    options: dict[str, Any]
    side: Mapping[str, str]
    """Digests of the side inputs' files, which no option tells of."""


def output_place(step: Mapping[str, Any], run_id: str, workspace: Workspace) -> DataPath | None:
    """Where a step's output goes, None for a step without one.

    Parameters
    ----------
    step : mapping
        Its document.
    run_id : str
        Of the step's run.
    workspace : Workspace

    Raises
    ------
    UsageError
        The datastore is not there.
    """
    output = step["output"]
    if output is None:
        return None
    name = output.get("datastore")
    datastore = workspace.get_default_datastore() if name is None else workspace.datastores[name]
    return datastore.path(output["path"].replace("{run-id}", run_id).replace("{output-name}", output["name"]))


def step_call(
    step: Mapping[str, Any],
    workspace: Workspace,
    output: DataPath | None,
    written: Mapping[str, DataPath],
    live: Mapping[str, Data],
    python: Mapping[str, Any],
) -> Call:
    """What ``daskbatch.run`` is to be given for a step.

    Parameters
    ----------
    step : mapping
        Its document, without parameters.
    workspace : Workspace
    output : DataPath or None
        Where its output goes.
    written : mapping
        Where the outputs of the steps before it are, by their names.
    live : mapping
        Its inputs that are in this program alone, by name.
    python : mapping
        What `environment_options` gave.

    Raises
    ------
    UsageError
        Something is wrong or not there.
    """
    data = {
        one["name"]: live.get(one["name"]) or _data(one["dataset"], workspace, written)
        for one in (*step["inputs"], *step["side_inputs"])
    }
    target = None if output is None else output.local_path()
    arguments = [_argument(one, data, target, workspace) for one in step["arguments"]]
    made: dict[str, Any] = {
        **{name: step["config"][name] for name in RUN_OPTIONS},
        **workspace.compute_targets[step["compute_target"]].options(),
        **python,
        "source_directory": step["source_directory"],
        "arguments": arguments or None,
        "environment_variables": _variables(step, workspace),
    }
    options = {name: value for name, value in made.items() if value is not None}
    _refuse_unknown(options)
    inputs = joined([data[one["name"]] for one in step["inputs"]])
    side = {one["name"]: _digest(data[one["name"]]) for one in step["side_inputs"]}
    return Call(step["entry_script"], materialise(inputs, _shared(workspace)), options, side)


def live_inputs(all_live: Mapping[tuple[str, str], Data], step: Mapping[str, Any]) -> dict[str, Data]:
    """Inputs of a step that are in this program alone, by name."""
    return {own: data for (name, own), data in all_live.items() if name == step["name"]}


def environment_options(
    environment: Mapping[str, Any], workspace: Workspace, say: Notify, build: bool = True
) -> dict[str, Any]:
    """What an environment means as options of ``daskbatch.run``.

    Parameters
    ----------
    environment : mapping
        Its document.
    workspace : Workspace
        ``"build_environments": true`` in its ``config.json`` asks for environments with all packages.
    say : callable
        Takes what is not as the environment asks for, a line each.
    build : bool
        Whether there is time for that.
    """
    wanted = workspace.config.get("build_environments") is True
    if wanted and not build:
        return {}
    python, notices = resolve(environment, build=wanted)
    for notice in notices:
        say(notice)
    return {"python": python, "tensorflow1": pins_tensorflow_below_2(environment) or None}


def check_step(step: Mapping[str, Any], workspace: Workspace, live: Mapping[str, Data], say: Notify) -> None:
    """See that a step can be begun, as far as that is known before the steps that it waits for are done.

    Raises
    ------
    UsageError
        Something is wrong or not there.
    """
    _refuse_unknown({name: value for name, value in step["config"].items() if value is not None})
    place = output_place(step, "run", workspace)
    if place is not None:
        place.local_path()
    known = [one for one in step["inputs"] if "output" not in one["dataset"]]
    data = [live.get(one["name"]) or _data(one["dataset"], workspace, {}) for one in known]
    side = [_data(one["dataset"], workspace, {}) for one in step["side_inputs"] if "output" not in one["dataset"]]
    for one in (*data, *side):
        if getattr(one, "collection", None) is None:
            validate(one)
    if data:
        joined(data)
    environment_options(step["environment"], workspace, say, build=False)


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in RunOptions.__annotations__ and name != "description":
            raise UsageError(f"{name} is not there yet: it comes with a later release. Next: leave it out.")


def _data(document: Mapping[str, Any], workspace: Workspace, written: Mapping[str, DataPath]) -> Data:
    if "output" in document:
        source = document["output"]
        place = written[source["step"]]
        return localised(read_output(source.get("reading") or {"type": "file"}, place, workspace), workspace)
    if "live" in document:
        raise UsageError("An input is a dataframe of the program that submitted the run, which is gone. Submit again.")
    return localised(from_document(document, workspace), workspace)


def joined(inputs: Iterable[Data]) -> Data:
    """Several inputs of a step as one: their paths one after the other.

    Raises
    ------
    UsageError
        They are not read in the same way.
    """
    first, *others = inputs
    for other in others:
        same = replace(other, sources=(), paths=first.paths) == replace(first, sources=())
        if first.is_part or not same or getattr(first, "collection", None) is not None:
            raise UsageError(
                "Several inputs of one step must be read in the same way (format, separator, types, partition_format),"
                " and be whole, without take() and skip(). Next: make a step for each."
            )
    if not others:
        return first
    paths = tuple(path for one in (first, *others) for path in one.run_paths())
    return replace(first, sources=(), paths=paths, name=None, version=None)


def _variables(step: Mapping[str, Any], workspace: Workspace) -> dict[str, str]:
    return {
        WORKSPACE_VARIABLE: str(workspace.root),
        **step["environment"]["environment_variables"],
        **(step["config"]["environment_variables"] or {}),
    }


def _argument(given: Any, data: Mapping[str, Data], target: str | None, workspace: Workspace) -> str:
    if isinstance(given, str):
        return given
    ((kind, value),) = given.items()
    if kind == "join":
        return "".join(_argument(part, data, target, workspace) for part in value)
    if kind == "output":
        return str(target)
    return _path_of(data[value], workspace)


def _path_of(dataset: Data, workspace: Workspace) -> str:
    """A path at which a script finds a dataset: its own folder or file, or a folder with links to its files."""
    if getattr(dataset, "collection", None) is not None:
        raise UsageError("A dataframe has no path: leave it out of arguments.")
    paths = dataset.local_paths()
    if len(paths) == 1 and os.path.lexists(paths[0]) and not dataset.is_part:
        return str(paths[0])
    folder = _shared(workspace) / f"links-{_digest(dataset)}"
    if folder.is_dir():
        return str(folder)
    if isinstance(dataset, TabularDataset) and dataset.is_part:
        return str(materialise(dataset, _shared(workspace)).local_paths()[0])
    part = folder.with_name(f".{secrets.token_hex(8)}.tmp")
    for path, relative in relative_paths(dataset):
        link = part / relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    try:
        part.rename(folder)
    except OSError:  # another run has made the very same one
        shutil.rmtree(part, ignore_errors=True)
    return str(folder)


def _shared(workspace: Workspace) -> Path:
    """Where parts of datasets are made for scripts, under names that their content gives: all runs share them."""
    return workspace.folder / "inputs"


def _digest(dataset: Data) -> str:
    plain = replace(dataset, taken=None, skipped=0)
    what = [list(dataset.local_paths()), dataset.taken, dataset.skipped, state_of_inputs(plain.spec()).digest]
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
