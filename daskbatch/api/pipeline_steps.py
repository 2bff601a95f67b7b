"""What a pipeline learns from its steps: which belong to it, who writes which output, which parameters there are."""

from __future__ import annotations

from collections.abc import Iterable

from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.step import ParallelRunStep
from daskbatch.errors import UsageError

__all__ = ["all_steps", "parameters_of", "writers_of"]


def all_steps(given: object, closure: bool) -> list[ParallelRunStep]:
    """The steps, and those that they wait for; each once."""
    steps = list(given) if isinstance(given, (list, tuple)) else [given]
    found: dict[int, ParallelRunStep] = {}
    while steps:
        step = steps.pop(0)
        if not isinstance(step, ParallelRunStep):
            raise UsageError(f"steps must be a list of ParallelRunStep, got {step!r} of type {type(step).__name__}.")
        if id(step) not in found:
            found[id(step)] = step
            steps += step.before() if closure else []
    return list(found.values())


def writers_of(steps: Iterable[ParallelRunStep]) -> dict[int, str]:
    """The names of the steps that write outputs, by the ids of the outputs' origins."""
    writers: dict[int, str] = {}
    for step in steps:
        for output in step.outputs:
            if id(output.origin) in writers:
                raise UsageError(
                    f"The output {output.name!r} is written by two steps, {writers[id(output.origin)]!r} and"
                    f" {step.name!r}. Make one for each."
                )
            writers[id(output.origin)] = step.name
    return writers


def parameters_of(steps: Iterable[ParallelRunStep]) -> dict[str, PipelineParameter]:
    """The parameters that any of the steps uses, by name."""
    found: dict[str, PipelineParameter] = {}
    for step in steps:
        for one in step.parameters():
            known = found.setdefault(one.name, one)
            if known != one:
                raise UsageError(
                    f"Two PipelineParameters have the name {one.name!r}, with the default values"
                    f" {known.default_value!r} and {one.default_value!r}. Use one object for both, or two names."
                )
    return found
