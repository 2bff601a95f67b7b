"""ParallelRunStep: an entry script, over its inputs, in a pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from daskbatch.api.config import ParallelRunConfig
from daskbatch.api.outputs import StepOutput
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.step_inputs import argument_documents, check_inputs, step_inputs
from daskbatch.errors import UsageError

__all__ = ["ParallelRunStep"]

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class ParallelRunStep:
    """An entry script over its inputs, cut into mini-batches.

    Parameters
    ----------
    name : str
        Of 3 to 32 lower-case letters, digits and ``-``; begins with a letter, does not end with ``-``. Different in all
        steps of a pipeline.
    parallel_run_config : ParallelRunConfig
    inputs : list
        One or more of one type, files or tables: datasets, ``dataset.as_named_input(name)``, outputs of other steps,
        PipelineParameters that stand for a dataset. Each is cut into mini-batches by itself.
    output : PipelineData or OutputFileDatasetConfig, optional
        Where the result goes.
    side_inputs : list, optional
        The same kinds of data, not cut: readable as a whole wherever the script runs.
    arguments : list, optional
        What the script finds in ``sys.argv``: texts, numbers, PipelineParameters; and objects from `inputs`,
        `side_inputs` and `output`, which become paths.
    allow_reuse : bool
        Take the result of an earlier run with the same settings, script, arguments and inputs.

    Raises
    ------
    UsageError
        An argument is wrong.
    """

    def __init__(
        self,
        name: str,
        parallel_run_config: ParallelRunConfig,
        inputs: Sequence[Any],
        output: StepOutput | None = None,
        side_inputs: Sequence[Any] | None = None,
        arguments: Sequence[Any] | None = None,
        allow_reuse: bool = True,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not 3 <= len(name) <= 32:
            raise UsageError(
                "name of a ParallelRunStep must be 3 to 32 lower-case letters, digits and '-', begin with a letter and"
                f" end with a letter or digit, got {name!r}."
            )
        if not isinstance(parallel_run_config, ParallelRunConfig):
            raise UsageError(f"parallel_run_config must be a ParallelRunConfig, got {parallel_run_config!r}.")
        if output is not None and not isinstance(output, StepOutput):
            raise UsageError(
                f"output must be a PipelineData or an OutputFileDatasetConfig, got {output!r}. PipelineData('scores')"
                " is one."
            )
        if not isinstance(allow_reuse, bool):
            raise UsageError(f"allow_reuse must be True or False, got {allow_reuse!r}.")
        parallel_run_config.check()
        self.name = name
        self.parallel_run_config = parallel_run_config
        self.output = output
        self.allow_reuse = allow_reuse
        self.inputs = step_inputs("inputs", inputs, "direct")
        self.side_inputs = step_inputs("side_inputs", side_inputs or [], "mount")
        size, keys = parallel_run_config.mini_batch_size, parallel_run_config.partition_keys
        check_inputs(self.inputs, self.side_inputs, size, keys)
        self._arguments = list(arguments) if isinstance(arguments, (list, tuple)) else arguments
        self.arguments = argument_documents(arguments, [*self.inputs, *self.side_inputs], output)
        """As JSON values; see `as_document`."""
        self._after: list[ParallelRunStep] = []
        if output is not None:
            output.origin.writer = self

    def __repr__(self) -> str:
        return f"<ParallelRunStep {self.name!r}: {self.parallel_run_config.entry_script}>"

    @property
    def outputs(self) -> list[StepOutput]:
        """Its output, if it has one."""
        return [] if self.output is None else [self.output]

    def run_after(self, step: ParallelRunStep) -> None:
        """Wait for another step, whose output this one does not read.

        Parameters
        ----------
        step : ParallelRunStep

        Raises
        ------
        UsageError
            It is no step.
        """
        if not isinstance(step, ParallelRunStep):
            raise UsageError(f"run_after takes a ParallelRunStep, got {step!r}.")
        self._after.append(step)

    def before(self) -> list[ParallelRunStep]:
        """The steps that it waits for, as far as they are known here."""
        writers = [one.source.origin.writer for one in self._all() if isinstance(one.source, StepOutput)]
        found = [*(step for step in writers if step is not None), *self._after]
        return list({id(step): step for step in found}.values())

    def parameters(self) -> list[PipelineParameter]:
        """The pipeline's parameters that it uses."""
        found = self.parallel_run_config.parameters()
        found += [one.source for one in self._all() if isinstance(one.source, PipelineParameter)]
        return found + [one for one in self._arguments or () if isinstance(one, PipelineParameter)]

    def live_inputs(self) -> Mapping[str, Any]:
        """Its inputs that are in this program alone, dataframes, by name."""
        return {one.name: one.source for one in self._all() if one.is_live}

    def as_document(self, producer: Callable[[StepOutput], str] | None = None) -> dict[str, Any]:
        """The step as JSON values.

        Parameters
        ----------
        producer : callable, optional
            Returns the name of the step that writes an output.

        Raises
        ------
        UsageError
            It reads an output that no step writes.
        """
        producer = producer or self._producer
        return {
            "name": self.name,
            **self.parallel_run_config.as_document(),
            "inputs": [one.as_document(producer) for one in self.inputs],
            "side_inputs": [one.as_document(producer) for one in self.side_inputs],
            "output": None if self.output is None else self.output.as_document(),
            "arguments": self.arguments,
            "allow_reuse": self.allow_reuse,
            "after": sorted({step.name for step in self._after}),
            "regenerate_outputs": False,
        }

    def _all(self) -> list[Any]:
        return [*self.inputs, *self.side_inputs]

    def _producer(self, output: StepOutput) -> str:
        if output.origin.writer is None:
            raise UsageError(f"The step {self.name!r} reads the output {output.name!r}, which no step writes.")
        return str(output.origin.writer.name)
