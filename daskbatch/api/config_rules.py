"""What the options of a ParallelRunConfig may be: one rule each, for values and for the defaults of parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from daskbatch.api.compute import ComputeTarget
from daskbatch.api.environment import Environment
from daskbatch.api.parameters import PipelineParameter
from daskbatch.errors import UsageError
from daskbatch.options import LOGGING_LEVELS, OUTPUT_ACTIONS
from daskbatch.options.values import (
    choice,
    environment,
    local_path,
    mini_batch_size,
    mini_batch_size_text,
    nearest,
    percent,
    result_name,
    seconds,
    whole_number,
)

__all__ = ["DEFAULTS", "PARAMETERS", "RUN_OPTIONS", "check_mini_batch_size", "check_together", "checked"]

PARAMETERS = (
    *("mini_batch_size", "node_count", "process_count_per_node"),
    *("logging_level", "run_invocation_timeout", "run_max_try"),
)
"""Those that a PipelineParameter may stand for."""

DEFAULTS: Mapping[str, Any] = {
    "process_count_per_node": 1,
    "logging_level": "INFO",
    "run_invocation_timeout": 60,
    "run_max_try": 3,
    "append_row_file_name": "parallel_run_step.txt",
}
"""What None means, where it means something."""

_ALL = " -1 lets any number fail."


def _size(value: object) -> str | None:
    return None if value is None else mini_batch_size_text(mini_batch_size(value))


def _seconds(value: object) -> int | float:
    number = seconds("run_invocation_timeout", value)
    return int(number) if number.is_integer() else number


def _keys(value: object) -> list[str] | None:
    if value is None:
        return None
    keys = list(value) if isinstance(value, (list, tuple)) else []
    if not keys or not all(isinstance(key, str) and key for key in keys) or len(set(keys)) < len(keys):
        raise UsageError(f"partition_keys must be a list of different names such as ['store', 'day'], got {value!r}.")
    return keys


def _compute(value: object) -> ComputeTarget | str:
    if isinstance(value, ComputeTarget) or (isinstance(value, str) and value):
        return value
    raise UsageError(
        f"compute_target must be a compute target or the name of one, such as 'local', got {value!r}."
        " ws.compute_targets lists them."
    )


def _environment(value: object) -> Environment:
    if isinstance(value, Environment):
        return value
    raise UsageError(
        f"environment must be an Environment, got {value!r}. Make one, Environment('name'), or take one that is"
        " registered: ws.environments['name']."
    )


def _script(value: object) -> str:
    if isinstance(value, (str, os.PathLike)) and os.fspath(value):
        return os.fsdecode(value)
    raise UsageError(f"entry_script must be the path of a Python script, got {value!r}.")


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise UsageError(f"description must be a text, got {value!r}.")


_RULES: Mapping[str, Callable[[Any], Any]] = {
    "environment": _environment,
    "entry_script": _script,
    "error_threshold": lambda value: whole_number("error_threshold", value, -1, note=_ALL),
    "output_action": lambda value: choice("output_action", value, OUTPUT_ACTIONS),
    "compute_target": _compute,
    "node_count": lambda value: whole_number("node_count", value, 1),
    "process_count_per_node": lambda value: whole_number("process_count_per_node", value, 1),
    "mini_batch_size": _size,
    "source_directory": lambda value: None if value is None else local_path("source_directory", value),
    "description": _text,
    "logging_level": lambda value: choice("logging_level", value, LOGGING_LEVELS),
    "run_invocation_timeout": _seconds,
    "run_max_try": lambda value: whole_number("run_max_try", value, 1, note=" It counts the first try too."),
    "append_row_file_name": result_name,
    "allowed_failed_count": lambda value: (
        None if value is None else whole_number("allowed_failed_count", value, -1, note=_ALL)
    ),
    "allowed_failed_percent": lambda value: None if value is None else percent("allowed_failed_percent", value),
    "partition_keys": _keys,
    "environment_variables": lambda value: None if value is None else dict(environment(value)),
}

RUN_OPTIONS = tuple(
    name
    for name in _RULES
    if name not in ("environment", "entry_script", "compute_target", "source_directory", "description")
)
"""Those that ``daskbatch.run`` has under the same name."""


def checked(name: str, value: object) -> Any:
    """The value of an option, in its own type; a PipelineParameter as it is.

    Raises
    ------
    UsageError
        There is no such option, or it must not be that.
    """
    rule = _RULES.get(name)
    if rule is None:
        raise UsageError(f"ParallelRunConfig has no option {name!r}.{nearest(name, _RULES)}")
    if not isinstance(value, PipelineParameter):
        return rule(DEFAULTS.get(name) if value is None else value)
    if name not in PARAMETERS:
        raise UsageError(
            f"{name} must not be a PipelineParameter, got {value.name!r}. These may be: {', '.join(PARAMETERS)}."
        )
    try:
        rule(value.default_value)
    except UsageError as error:
        raise UsageError(f"The default_value of the PipelineParameter {value.name!r}: {error}") from None
    return value


def check_together(options: Mapping[str, Any]) -> None:
    """See that no option forbids another.

    Raises
    ------
    UsageError
    """
    keys, size = options.get("partition_keys"), options.get("mini_batch_size")
    if keys is not None and size is not None:
        got = f"the PipelineParameter {size.name!r}" if isinstance(size, PipelineParameter) else repr(size)
        raise UsageError(
            f"partition_keys {keys!r} and mini_batch_size, {got}, both say how the input is cut. Leave one out:"
            " with partition_keys each combination of values is one mini-batch."
        )


def check_mini_batch_size(value: object, kind: str) -> None:
    """See that a size fits its input.

    Parameters
    ----------
    value : int, str or None
    kind : str
        ``"file"`` or ``"tabular"``.

    Raises
    ------
    UsageError
    """
    if value is not None and kind == "file" and mini_batch_size(value).kind != "files":
        raise UsageError(
            f"mini_batch_size must be a count of files >= 1 for a FileDataset, got {value!r}. Sizes in bytes and rows"
            " are for tables."
        )
