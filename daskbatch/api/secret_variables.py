"""Environment variables of a pipeline's steps: their names are stored, their values are not."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from daskbatch.errors import UsageError

__all__ = ["Values", "given_again", "with_values", "without_values"]

Values = dict[str, dict[str, dict[str, str]]]
"""By the step's name and the place in its document: ``"config"`` or ``"environment"``."""

_KEY = "environment_variables"


def without_values(pipeline: Mapping[str, Any]) -> tuple[dict[str, Any], Values]:
    """A pipeline's document in which each value is empty, and the values."""
    made = copy.deepcopy(dict(pipeline))
    values: Values = {}
    for step, place, variables in _places(made):
        values.setdefault(step, {})[place] = dict(variables)
        variables.update(dict.fromkeys(variables, ""))
    return made, values


def with_values(pipeline: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What `without_values` was given."""
    made = copy.deepcopy(dict(pipeline))
    for step, place, variables in _places(made):
        variables.update(values[step][place])
    return made


def given_again(pipeline: Mapping[str, Any], given: Mapping[str, str]) -> Values:
    """The values for a stored document, from those that are given anew for all steps.

    Raises
    ------
    UsageError
        One is missing.
    """
    values: Values = {}
    for step, place, variables in _places(pipeline):
        missing = [name for name in variables if name not in given]
        if missing:
            raise UsageError(
                f"The step {step!r} has environment variables {', '.join(missing)}, whose values are stored nowhere."
                f" Give them again: resume(environment_variables={{{missing[0]!r}: ...}})."
            )
        values.setdefault(step, {})[place] = {name: given[name] for name in variables}
    return values


def _places(pipeline: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    for step in pipeline["steps"]:
        for place in ("config", "environment"):
            if step[place].get(_KEY):
                yield step["name"], place, step[place][_KEY]
