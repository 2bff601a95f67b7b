"""ParallelRunConfig: how a step runs its entry script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.compute import ComputeTarget
from daskbatch.api.config_rules import RUN_OPTIONS, check_together, checked
from daskbatch.api.environment import Environment
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.yaml_files import read_yaml, write_yaml
from daskbatch.errors import UsageError
from daskbatch.options.entry import entry_point
from daskbatch.options.values import local_path, nearest

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["ParallelRunConfig"]

_ROOT = "parallel_run_config"
_COMPUTE, _ENVIRONMENT = "compute_target_name", "environment_dir_path"
_PARAMETER = {"pipeline_parameter", "default_value"}


@dataclass(eq=False)
class ParallelRunConfig:
    """How a `ParallelRunStep` runs its entry script. Each option is checked when it is set.

    Parameters
    ----------
    environment : Environment
        What the script needs to find.
    entry_script : path
        A Python script with ``run(mini_batch)``. Relative to `source_directory` where that is given.
    error_threshold : int
        Items (files or rows) that may fail in the whole input; -1: any number.
    output_action : str
        ``"append_row"``: all results into one file. ``"summary_only"``: they are only counted.
    compute_target : ComputeTarget or str
        Where it runs, or the name of that.
    node_count : int or PipelineParameter
        Hosts.
    process_count_per_node : int or PipelineParameter
        Processes that run the script on each. Default 1.
    mini_batch_size : int, str or PipelineParameter
        ``10`` files; of tables bytes, ``"1MB"``, ``"512KB"``, or ``"5000rows"``. Default: 10 files, or ``"1MB"``.
    source_directory : path
        The folder that the script gets a copy of, made when the step is submitted: what is edited later is for later
        submissions. Without it the script runs in its own folder, which may hold anything and is not copied; if the
        script is changed while it runs, its step ends and says so.
    description : str
    logging_level : str or PipelineParameter
        ``"WARNING"``, ``"INFO"`` or ``"DEBUG"``.
    run_invocation_timeout : float or PipelineParameter
        Seconds for ``run()``, above 0 and up to 259200. Default 60.
    run_max_try : int or PipelineParameter
        Tries of a mini-batch in total. Default 3.
    append_row_file_name : str
        Default ``"parallel_run_step.txt"``; its suffix chooses the format: .txt, .csv, .jsonl, .parquet.
    allowed_failed_count : int
        Mini-batches that may fail; -1: any number.
    allowed_failed_percent : float
        The same in percent of all mini-batches.
    partition_keys : list of str
        One mini-batch for each combination of their values, in place of `mini_batch_size`.
    environment_variables : mapping
        Set in the processes that run the script.

    Raises
    ------
    UsageError
        An option is wrong, two of them do not go together, or the script cannot be used.
    """

    environment: Environment
    entry_script: str | os.PathLike[str]
    error_threshold: int
    output_action: str
    compute_target: ComputeTarget | str
    node_count: int | PipelineParameter
    process_count_per_node: int | PipelineParameter | None = None
    mini_batch_size: int | str | PipelineParameter | None = None
    source_directory: str | os.PathLike[str] | None = None
    description: str | None = None
    logging_level: str | PipelineParameter | None = None
    run_invocation_timeout: float | PipelineParameter | None = None
    run_max_try: int | PipelineParameter | None = None
    append_row_file_name: str | None = None
    allowed_failed_count: int | None = None
    allowed_failed_percent: float | None = None
    partition_keys: Sequence[str] | None = None
    environment_variables: Mapping[str, object] | None = field(default=None, repr=False)
    """Not shown: people put secrets there."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, checked(name, value))

    def __post_init__(self) -> None:
        self.check()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParallelRunConfig):
            return NotImplemented
        return self.as_document() == other.as_document() and self.parameters() == other.parameters()

    __hash__ = None  # type: ignore[assignment]

    def check(self) -> None:
        """See that the options go together and the entry script can be used, which steps do again.

        Raises
        ------
        UsageError
        """
        check_together(vars(self))
        found = entry_point(self.entry_script, self.source_directory)
        assert found.script is not None
        folder = found.source_directory
        self.entry_script = found.script if folder is None else os.path.relpath(found.script, folder)

    def parameters(self) -> list[PipelineParameter]:
        """The pipeline's parameters among the options."""
        return [value for value in vars(self).values() if isinstance(value, PipelineParameter)]

    def as_document(self) -> dict[str, Any]:
        """The options as JSON values: what a step's document says of them."""
        given = {name: _plain(value) for name, value in vars(self).items()}
        target = self.compute_target
        return {
            "entry_script": given["entry_script"],
            "source_directory": given["source_directory"],
            "config": {name: given[name] for name in ("description", *RUN_OPTIONS)},
            "environment": self.environment.as_document(),
            "compute_target": target if isinstance(target, str) else target.name,
        }

    def save_to_yaml(self, path: str | os.PathLike[str]) -> None:
        """Write a YAML file, and its environment into a folder ``..._environment`` beside it; over what is there.

        Parameters
        ----------
        path : path

        Raises
        ------
        UsageError
            It cannot be written.
        """
        file = Path(local_path("path", path))
        folder = file.with_name(f"{file.stem}_environment")
        document = self.as_document()
        given = {
            "entry_script": document["entry_script"],
            "source_directory": document["source_directory"],
            **document["config"],
            _COMPUTE: document["compute_target"],
            _ENVIRONMENT: folder.name,
        }
        for name, value in vars(self).items():
            if isinstance(value, PipelineParameter):
                given[name] = {"pipeline_parameter": value.name, "default_value": value.default_value}
        kept = {name: value for name, value in given.items() if value is not None}
        write_yaml(file, {_ROOT: kept}, private=bool(self.environment_variables))
        self.environment.save_to_directory(folder, overwrite=True)

    @staticmethod
    def load_yaml(
        workspace: Workspace | str | os.PathLike[str] | None = None, path: str | os.PathLike[str] | None = None
    ) -> ParallelRunConfig:
        """Read what `save_to_yaml` wrote, or what people wrote in its form.

        Parameters
        ----------
        workspace : Workspace, optional
            Where ``compute_target_name`` is looked up. May be left out: ``load_yaml("config.yml")``.
        path : path
            ``source_directory``, ``environment_dir_path`` and, without the former, ``entry_script`` are relative to its
            folder, or to the current one where that does not have them.

        Raises
        ------
        UsageError
            It is no such file, or an option in it is wrong.
        """
        if path is None and isinstance(workspace, (str, os.PathLike)):
            workspace, path = None, workspace
        if path is None or isinstance(workspace, (str, os.PathLike)):
            raise UsageError("load_yaml takes a workspace and a path, or a path alone: load_yaml('config.yml').")
        content, file = read_yaml(path, _ROOT)
        given = content.get(_ROOT)
        if not isinstance(given, dict):
            raise UsageError(f"{str(file)!r} must hold {_ROOT!r}, and the options below it, got {sorted(content)}.")
        try:
            return ParallelRunConfig(**_arguments(given, file.parent, workspace))
        except UsageError as error:
            raise type(error)(f"{str(file)!r}: {error}") from None


def _plain(value: object) -> Any:
    return {"parameter": value.name} if isinstance(value, PipelineParameter) else value


def _arguments(given: Mapping[str, Any], folder: Path, workspace: Workspace | None) -> dict[str, Any]:
    """The constructor's arguments, from what stands in a file in `folder`."""
    names = [one.name for one in fields(ParallelRunConfig) if one.name not in ("compute_target", "environment")]
    known = (*names, _COMPUTE, _ENVIRONMENT)
    for name in given:
        if name not in known:
            raise UsageError(f"there is no option {name!r}.{nearest(str(name), known)}")
    needed = [one.name for one in fields(ParallelRunConfig) if one.default is MISSING and one.name in names]
    for name in (*needed, _COMPUTE, _ENVIRONMENT):
        if given.get(name) is None:
            raise UsageError(f"{name} is missing. A config needs {', '.join((*needed, _COMPUTE, _ENVIRONMENT))}.")
    made = {name: _parameter(value) for name, value in given.items() if name in names}
    if made.get("source_directory") is not None:
        made["source_directory"] = _from(folder, "source_directory", made["source_directory"])
    else:
        made["entry_script"] = _from(folder, "entry_script", made["entry_script"])
    target = given[_COMPUTE]
    made["compute_target"] = target if workspace is None else workspace.compute_targets[target]
    where = _from(folder, _ENVIRONMENT, given[_ENVIRONMENT])
    return {**made, "environment": Environment.load_from_directory(where)}


def _parameter(value: object) -> object:
    if isinstance(value, dict) and set(value) == _PARAMETER:
        return PipelineParameter(value["pipeline_parameter"], value["default_value"])
    return value


def _from(folder: Path, name: str, path: object) -> str:
    if not isinstance(path, str):
        raise UsageError(f"{name} must be a path, got {path!r}.")
    beside = folder / Path(path).expanduser()
    return str(beside) if beside.exists() else path
