"""A step's document as one call of ``daskbatch.run``."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from daskbatch.api import store_transfer
from daskbatch.api.config_rules import RUN_OPTIONS
from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_files import relative_paths, validate
from daskbatch.api.dataset_rows import (
    are_written_together,
    materialise,
    materialise_together,
    refuse_nothing_left,
)
from daskbatch.api.fetched_inputs import fetched_of, inputs_told
from daskbatch.api.inputs import refuse_different
from daskbatch.api.outputs import read_output
from daskbatch.api.places import is_url
from daskbatch.api.references import from_document, localised
from daskbatch.api.step_inputs import check_keys
from daskbatch.environments import resolve
from daskbatch.environments_packages import pins_tensorflow_below_2
from daskbatch.errors import UsageError
from daskbatch.layout import MODELS_VARIABLE, SIDE_INPUT_VARIABLE, WORKSPACE_VARIABLE
from daskbatch.options.names import RunOptions
from daskbatch.plan_inputs import state_of_inputs
from daskbatch.spec import Fetched

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Call", "Data", "check_step", "digest", "environment_options", "live_inputs", "output_place", "step_call"]

Data = FileDataset | TabularDataset
Notify = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of ``daskbatch.run``, without ``output``."""

    entry: str
    inputs: Mapping[str, Data]
    """By the names that the script is told."""
    options: dict[str, Any]
    side: Mapping[str, Data]
    """The side inputs by name, whose files no option tells of."""


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
    workspace: Workspace | None,
    output: str | None,
    written: Mapping[str, DataPath],
    live: Mapping[str, Data],
    lent: Mapping[str, Any],
    models: str | None = None,
) -> Call:
    """What ``daskbatch.run`` is to be given for a step.

    Parameters
    ----------
    step : mapping
        Its document, without parameters.
    workspace : Workspace or None
        None where nothing in the document is registered.
    output : str or None
        The folder that its output goes to.
    written : mapping
        Where the outputs of the steps before it are, by their names.
    live : mapping
        Its inputs that are in this program alone, by name.
    lent : mapping
        What the compute target and `environment_options` gave.
    models : str, optional
        A JSON file with the versions of registered models that the step shall use.

    Raises
    ------
    UsageError
        Something is wrong or not there.
    """
    data = {
        one["name"]: live.get(one["name"]) or _data(one["dataset"], workspace, written)
        for one in (*step["inputs"], *step["side_inputs"])
    }
    side_files = [one["name"] for one in step["side_inputs"] if isinstance(data[one["name"]], FileDataset)]
    fetched = fetched_of(data, [*side_files, *inputs_told(step["arguments"])])
    paths = _Paths(data, fetched, workspace)
    arguments = [_argument(one, paths, output) for one in step["arguments"]]
    made: dict[str, Any] = {
        **{name: step["config"][name] for name in RUN_OPTIONS},
        **lent,
        "source_directory": step["source_directory"],
        "arguments": arguments or None,
        "script_output": output,
        "environment_variables": _variables(step, workspace, paths, side_files, models) or None,
        "fetched": [*fetched.values()] or None,
    }
    options = {name: value for name, value in made.items() if value is not None}
    _refuse_unknown(options)
    inputs = {one["name"]: data[one["name"]] for one in step["inputs"]}
    refuse_different(list(inputs.values()))
    if workspace is not None:
        inputs = dict(zip(inputs, materialise_together(list(inputs.values()), _shared(workspace)), strict=True))
    side = {one["name"]: data[one["name"]] for one in step["side_inputs"]}
    return Call(step["entry_script"], inputs, options, side)


def live_inputs(all_live: Mapping[tuple[str, str], Data], step: Mapping[str, Any]) -> dict[str, Data]:
    """Inputs of a step that are in this program alone, by name."""
    return {own: data for (name, own), data in all_live.items() if name == step["name"]}


def environment_options(
    environment: Mapping[str, Any], workspace: Workspace | None, say: Notify, build: bool = True
) -> dict[str, Any]:
    """What an environment means as options of ``daskbatch.run``.

    Parameters
    ----------
    environment : mapping
        Its document.
    workspace : Workspace or None
        ``"build_environments": true`` in its ``config.json`` asks for environments with all packages.
    say : callable
        Takes what is not as the environment asks for, a line each.
    build : bool
        Whether there is time for that.
    """
    wanted = workspace is not None and workspace.config.get("build_environments") is True
    if wanted and not build:
        return {}
    python, notices = resolve(environment, build=wanted)
    for notice in notices:
        say(notice)
    prefix = environment["python"].get("command_prefix")
    return {
        "python": python,
        "command_prefix": prefix,
        "tensorflow1": pins_tensorflow_below_2(environment) or None,
    }


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
        _tell_of_others(step, place, say)
    for one in step["inputs"]:
        reading = one["dataset"]["output"].get("reading") or {} if "output" in one["dataset"] else one["dataset"]
        check_keys(one["name"], reading, step["config"]["partition_keys"] or ())
    known = [one for one in step["inputs"] if "output" not in one["dataset"]]
    data = [live.get(one["name"]) or _data(one["dataset"], workspace, {}) for one in known]
    side = [_data(one["dataset"], workspace, {}) for one in step["side_inputs"] if "output" not in one["dataset"]]
    for one in (*data, *side):
        if getattr(one, "collection", None) is None:
            validate(one)
        refuse_nothing_left(one)
    refuse_different(data)
    if are_written_together(data):
        say(
            f"The step {step['name']!r} has a table with take() or skip() beside others: the rows of all of them are"
            f" written down below {str(_shared(workspace))!r} before it begins, once for the same files. Next: where"
            " that is too much, make a step for each."
        )
    environment_options(step["environment"], workspace, say, build=False)


def _tell_of_others(step: Mapping[str, Any], place: DataPath, say: Notify) -> None:
    """What others have put into a folder that is not of this run alone stays, and whoever reads it gets both."""
    folder = place.place()
    if is_url(folder):
        there = any(True for _ in store_transfer.objects_below(folder, place.storage_options()))
    else:
        there = os.path.isdir(folder) and bool(os.listdir(folder))
    if there:
        say(
            f"The output of the step {step['name']!r} goes to {folder!r}, which holds files already. They stay beside"
            " what is written now; those of the same name are replaced. Next: put {run-id} into the destination, for a"
            " new folder each time, or empty that one."
        )


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in RunOptions.__annotations__ and name != "description":
            raise UsageError(f"{name} is not there yet: it comes with a later release. Next: leave it out.")


def _data(document: Mapping[str, Any], workspace: Workspace | None, written: Mapping[str, DataPath]) -> Data:
    if workspace is None:  # then no document names a datastore: reading the job has refused that
        return from_document(document, cast("Workspace", None))
    if "output" in document:
        source = document["output"]
        place = written[source["step"]]
        return localised(read_output(source.get("reading") or {"type": "file"}, place, workspace), workspace)
    if "live" in document:
        raise UsageError("An input is a dataframe of the program that submitted the run, which is gone. Submit again.")
    return localised(from_document(document, workspace), workspace)


def _variables(
    step: Mapping[str, Any], workspace: Workspace | None, paths: _Paths, names: list[str], models: str | None
) -> dict[str, str]:
    return {
        **({} if workspace is None else {WORKSPACE_VARIABLE: str(workspace.root)}),
        **({} if models is None else {MODELS_VARIABLE: models}),
        **{f"{SIDE_INPUT_VARIABLE}{name}": paths.of(name) for name in names},
        **step["environment"]["environment_variables"],
        **(step["config"]["environment_variables"] or {}),
    }


@dataclass(frozen=True, slots=True)
class _Paths:
    """What the script is told of its inputs."""

    data: Mapping[str, Data]
    fetched: Mapping[str, Fetched]
    workspace: Workspace | None

    def of(self, name: str) -> str:
        """A local path; a URL in the place of the path that a node will have."""
        return self.fetched[name].url if name in self.fetched else _path_of(self.data[name], self.workspace)


def _argument(given: Any, paths: _Paths, target: str | None) -> str:
    if isinstance(given, str):
        return given
    ((kind, value),) = given.items()
    if kind == "join":
        return "".join(_argument(part, paths, target) for part in value)
    if kind == "output":
        if target is None:
            raise UsageError("the script is told its output folder, which the job does not name. Next: add --output.")
        return target
    return paths.of(value)


def _path_of(dataset: Data, workspace: Workspace | None) -> str:
    """A path at which a script finds a dataset: its own folder or file, or a folder with links to its files."""
    if getattr(dataset, "collection", None) is not None:
        raise UsageError("A dataframe has no path: leave it out of arguments.")
    paths = dataset.places()
    if len(paths) == 1 and os.path.lexists(paths[0]) and not dataset.is_part:
        return str(paths[0])
    if workspace is None:
        raise UsageError(f"An input that the script is told must be one path that is there, got {list(paths)}.")
    folder = _shared(workspace) / f"links-{digest(dataset)}"
    if folder.is_dir():
        return str(folder)
    if isinstance(dataset, TabularDataset) and dataset.is_part:
        return str(materialise(dataset, _shared(workspace)).places()[0])
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


def digest(dataset: Data) -> str:
    """A digest of a dataset's files, as they are now.

    Raises
    ------
    InputError
        There are none.
    """
    plain = replace(dataset, taken=None, skipped=0)
    what = [list(dataset.places()), dataset.taken, dataset.skipped, state_of_inputs(plain.spec()).digest]
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
