"""PipelineParameter: a value that each submission of a pipeline may change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.errors import UsageError

__all__ = ["PipelineParameter"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,254}")


@dataclass(frozen=True)
class PipelineParameter:
    """A parameter of a pipeline.

    Parameters
    ----------
    name : str
        Begins with a letter or ``_``; letters, digits, ``_`` and ``-`` follow.
    default_value : str, int, float, bool, FileDataset, TabularDataset or DataPath
        What it is where a submission says nothing. Its type is what the parameter takes.

    Examples
    --------
    >>> PipelineParameter("batch_size_param", 2).value(" 10 ")
    10
    """

    name: str
    default_value: Any

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UsageError(
                "name of a PipelineParameter must begin with a letter or '_' and go on with letters, digits, '_' or"
                f" '-', got {self.name!r}."
            )
        if not isinstance(self.default_value, (str, int, float, FileDataset, TabularDataset, DataPath)):
            raise UsageError(
                f"default_value of the PipelineParameter {self.name!r} must be a text, a number, True, False, a dataset"
                f" or a DataPath, got {self.default_value!r} of type {type(self.default_value).__name__}."
            )
        if isinstance(self.default_value, str):
            self._one_line(self.default_value)

    @property
    def is_data(self) -> bool:
        """Whether it stands for a dataset, or for the files of a DataPath."""
        return isinstance(self.default_value, (FileDataset, TabularDataset, DataPath))

    def value(self, given: Any) -> Any:
        """What a submission gave, in the type of the default value. Numbers and switches may be given as text.

        Raises
        ------
        UsageError
            It is of another type.
        """
        default = self.default_value
        if isinstance(default, bool):
            known = {"true": True, "false": False}
            if isinstance(given, bool) or str(given).strip().lower() in known:
                return known[str(given).strip().lower()]
            raise self._misfit("True or False", given)
        if isinstance(default, (int, float)):
            return self._number(given, type(default))
        if isinstance(default, str):
            if not isinstance(given, (str, int, float)):
                raise self._misfit("a text", given)
            return self._one_line(str(given))
        if isinstance(default, (FileDataset, TabularDataset)):
            if type(given) is not type(default):
                raise self._misfit(f"a {type(default).__name__}, as its default value is", given)
            return given
        if not isinstance(given, DataPath):
            raise self._misfit("a DataPath, as its default value is", given)
        return given

    def _number(self, given: Any, kind: type[int | float]) -> int | float:
        try:
            number = kind(given) if isinstance(given, (str, int, float)) and not isinstance(given, bool) else None
        except (ValueError, OverflowError):
            number = None
        if number is None or (isinstance(given, float) and number != given):
            raise self._misfit("a whole number" if kind is int else "a number", given)
        return number

    def _one_line(self, text: str) -> str:
        if "\n" in text or "\r" in text or "\0" in text:
            raise UsageError(f"The PipelineParameter {self.name!r} must be a text of one line, got {text!r}.")
        return text

    def _misfit(self, allowed: str, given: object) -> UsageError:
        return UsageError(
            f"The PipelineParameter {self.name!r} must be {allowed}, got {given!r} of type {type(given).__name__}."
        )
