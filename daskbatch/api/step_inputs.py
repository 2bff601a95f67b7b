"""What a step is given: its inputs, side inputs and arguments, as objects and as JSON values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daskbatch.api.config_rules import check_mini_batch_size
from daskbatch.api.consumption import DatasetConsumptionConfig, automatic_name
from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.ignored import ignore
from daskbatch.api.outputs import StepOutput
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.references import as_document
from daskbatch.errors import UsageError
from daskbatch.options.values import nearest
from daskbatch.store.partition_format import parse_format

__all__ = ["StepInput", "argument_documents", "check_inputs", "check_keys", "data_document", "step_inputs"]

_DATA = "a dataset, dataset.as_named_input('name'), a step's output or a PipelineParameter with a dataset"
_NO_PATH = (
    "which is in this program alone and has no path. Next: write it down, Dataset.Tabular.register_pandas_dataframe("
    "frame, (datastore, 'folder'), name), and give what that returns."
)


@dataclass(frozen=True, slots=True)
class StepInput:
    """One input of a step, partitioned or not."""

    name: str
    source: Any
    """A dataset, a PipelineParameter that stands for one, or another step's output."""
    mode: str
    """``"direct"``, ``"mount"`` or ``"download"``."""
    path_on_compute: str | None
    given: object
    """As the user gave it."""

    @property
    def kind(self) -> str:
        """``"file"`` or ``"tabular"``."""
        if isinstance(self.source, StepOutput):
            return str(self.source.reading["type"])
        data = self.source.default_value if isinstance(self.source, PipelineParameter) else self.source
        return "tabular" if isinstance(data, TabularDataset) else "file"

    @property
    def is_live(self) -> bool:
        """Whether its data is in this program alone: a dataframe."""
        return getattr(self.source, "collection", None) is not None

    def as_document(self, producer: Callable[[StepOutput], str]) -> dict[str, Any]:
        """JSON values.

        Parameters
        ----------
        producer : callable
            Returns the name of the step that writes an output.
        """
        source = self.source
        if isinstance(source, StepOutput):
            output = {"step": producer(source), "name": source.name, "reading": dict(source.reading)}
            dataset: dict[str, Any] = {"output": output}
        elif isinstance(source, PipelineParameter):
            dataset = {"parameter": source.name}
        else:
            dataset = {"live": True, "type": self.kind} if self.is_live else as_document(source)
        return {"name": self.name, "dataset": dataset, "mode": self.mode, "path_on_compute": self.path_on_compute}

    def is_meant_by(self, argument: object) -> bool:
        """Whether an argument of the script is this input."""
        if isinstance(argument, StepOutput):
            return isinstance(self.source, StepOutput) and self.source.origin is argument.origin
        if isinstance(argument, DatasetConsumptionConfig):
            return self.given == argument or (self.name == argument.name and self.source == argument.dataset)
        return bool(self.source == argument)


def data_document(data: object) -> dict[str, Any]:
    """The JSON values of a dataset, or of a DataPath: the files there."""
    if isinstance(data, DataPath):
        return as_document(FileDataset(sources=(data,)))
    assert isinstance(data, (FileDataset, TabularDataset))
    return as_document(data)


def step_inputs(what: str, given: object, mode: str) -> list[StepInput]:
    """The inputs that users give.

    Parameters
    ----------
    what : str
        ``"inputs"`` or ``"side_inputs"``, for messages.
    given : sequence
    mode : str
        Of what is given without one.

    Raises
    ------
    UsageError
        It is no list of data.
    """
    if not isinstance(given, (list, tuple)):
        raise UsageError(f"{what} must be a list, [...], of {_DATA}, got {given!r}.")
    return [_one(what, one, mode) for one in given]


def _one(what: str, given: object, mode: str) -> StepInput:
    if isinstance(given, DatasetConsumptionConfig):
        if given.path_on_compute is not None:  # said, as a script that looks there finds nothing
            ignore(f"the input {given.name!r}, whose path is in the script's arguments", ["path_on_compute"])
        if what == "side_inputs" and given.mode == "download":
            ignore(f"the side input {given.name!r}, of which the script reads the original", ["as_download"])
        return StepInput(given.name, given.dataset, given.mode, given.path_on_compute, given)
    if isinstance(given, (FileDataset, TabularDataset)):
        return StepInput(automatic_name(given), given, mode, None, given)
    if isinstance(given, StepOutput):
        return StepInput(given.name, given, mode, None, given)
    if isinstance(given, PipelineParameter) and given.is_data:
        return StepInput(given.name.replace("-", "_"), given, mode, None, given)
    raise UsageError(f"Each of {what} must be {_DATA}, got {given!r} of type {type(given).__name__}.")


def check_inputs(
    inputs: Sequence[StepInput],
    side_inputs: Sequence[StepInput],
    size: Any = None,
    keys: Sequence[str] | None = None,
) -> None:
    """See that inputs go together, and that the step can cut them.

    Parameters
    ----------
    inputs, side_inputs : sequence
    size : int, str or PipelineParameter, optional
        Of a mini-batch.
    keys : sequence of str, optional
        By which they are cut.

    Raises
    ------
    UsageError
    """
    if not inputs:
        raise UsageError(f"inputs must be a list of at least one of {_DATA}, got none.")
    kinds = {one.name: one.kind for one in inputs}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{name} is {'a table' if kind == 'tabular' else 'files'}" for name, kind in kinds.items())
        raise UsageError(f"inputs must be of one type, files or tables, got both: {told}. Make a step for each.")
    for one in side_inputs:
        if one.is_live:
            raise UsageError(f"side_inputs: {one.name!r} is a dataframe, {_NO_PATH}")
    names = [one.name for one in (*inputs, *side_inputs)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"inputs and side_inputs must have different names, got {name!r} twice. Give one of them another:"
                " .as_named_input('name')."
            )
    check_mini_batch_size(size.default_value if isinstance(size, PipelineParameter) else size, inputs[0].kind)
    for one in inputs:
        check_keys(one.name, _reading(one), keys or ())


def check_keys(name: str, reading: Mapping[str, Any], keys: Iterable[str]) -> None:
    """See that paths tell the keys that an input is cut by, which is known before its files are read.

    Parameters
    ----------
    name : str
        Of the input.
    reading : mapping
        A dataset's document, or `StepOutput.reading`.
    keys : iterable of str

    Raises
    ------
    UsageError
    """
    tables, form = reading.get("type") == "tabular", reading.get("partition_format")
    if keys and tables and (reading.get("take") is not None or reading.get("skip")):
        raise UsageError(
            f"partition_keys: take() and skip() leave rows of the input {name!r}, and not files whose paths would"
            " tell a key. Next: leave them out, or write those rows by TabularDataset.partition_by(keys, folder)."
        )
    known = [] if form is None else list(parse_format(form).names)
    for key in keys:
        if key not in known:
            raise UsageError(
                f"partition_keys: the files of the input {name!r} have no key {key!r}.{nearest(key, known)} They"
                f" have {', '.join(known) or 'none'}. Keys come from paths:"
                f" Dataset.{'Tabular.from_delimited' if tables else 'File.from'}_files(path,"
                f" partition_format='/{{{key}}}/*'){f', or table.partition_by({[key]}, folder)' if tables else ''}."
            )


def _reading(given: StepInput) -> dict[str, Any]:
    """What `check_keys` looks at of an input."""
    source = given.source.default_value if isinstance(given.source, PipelineParameter) else given.source
    if isinstance(source, StepOutput):
        return dict(source.reading)
    part = {"take": getattr(source, "taken", None), "skip": getattr(source, "skipped", 0)}
    return {"type": given.kind, "partition_format": getattr(source, "partition_format", None), **part}


def argument_documents(given: object, inputs: Sequence[StepInput], output: StepOutput | None) -> list[Any]:
    """What the script finds in ``sys.argv``, as JSON values.

    Parameters
    ----------
    given : sequence, optional
    inputs : sequence
        All of the step, side inputs too.
    output : StepOutput, optional
        Of the step.

    Raises
    ------
    UsageError
    """
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        raise UsageError(f"arguments must be a list such as ['--model', 'm.keras'], got {given!r}.")
    return [_argument(one, inputs, output) for one in given]


def _argument(given: object, inputs: Sequence[StepInput], output: StepOutput | None) -> str | Mapping[str, str]:
    if isinstance(given, PipelineParameter) and not given.is_data:
        return {"parameter": given.name}
    if isinstance(given, (StepOutput, DatasetConsumptionConfig, FileDataset, TabularDataset, PipelineParameter)):
        if isinstance(given, StepOutput) and output is not None and given.origin is output.origin:
            return {"output": output.name}
        for one in inputs:
            if one.is_meant_by(given):
                if one.is_live:
                    raise UsageError(f"arguments: the input {one.name!r} is a dataframe, {_NO_PATH}")
                return {"input": one.name}
        raise UsageError(
            f"arguments hold {given!r}, which is none of the step's inputs, side_inputs and output, so the script could"
            " not read it. Give it in side_inputs too."
        )
    if isinstance(given, (str, int, float, os.PathLike)):
        text = os.fspath(given) if isinstance(given, os.PathLike) else str(given)
        if isinstance(text, str) and "\0" not in text:
            return text
    raise UsageError(
        "Each of arguments must be a text, a number, a path, a PipelineParameter, or an input, side input or output of"
        f" the step, got {given!r} of type {type(given).__name__}."
    )
