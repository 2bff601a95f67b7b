"""DatasetConsumptionConfig: data as an input of a step, and the way in which the script gets it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.outputs import StepOutput
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.references import as_document
from daskbatch.errors import UsageError
from daskbatch.options.values import choice

__all__ = ["MODES", "DatasetConsumptionConfig", "automatic_name"]

MODES = ("direct", "mount", "download")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


@dataclass(frozen=True)
class DatasetConsumptionConfig:
    """An input of a step.

    Parameters
    ----------
    name : str
        Of the input in the step: a letter or ``_``, then letters, digits and ``_``.
    dataset : FileDataset, TabularDataset, PipelineParameter, PipelineData or OutputFileDatasetConfig
        A parameter has a dataset or a DataPath for its default value.
    mode : str
        ``"direct"``: as a dataset. ``"mount"``: as a path that the script can read. ``"download"``: the same here:
        no copy is made, and what a script writes there it writes into the data itself.
    path_on_compute : str, optional
        Where the script wants it. A step says once that this means nothing: the script is given the path where the
        data is.
    """

    name: str
    dataset: Any
    mode: str = "direct"
    path_on_compute: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UsageError(
                "name of an input must begin with a letter or '_' and go on with letters, digits or '_', got"
                f" {self.name!r}."
            )
        object.__setattr__(self, "mode", choice("mode", self.mode, MODES))
        if isinstance(self.dataset, PipelineParameter) and self.dataset.is_data:
            return
        if not isinstance(self.dataset, (FileDataset, TabularDataset, StepOutput)):
            raise UsageError(
                f"dataset of the input {self.name!r} must be a FileDataset, a TabularDataset, the output of a step or a"
                f" PipelineParameter with a dataset or a DataPath for its default value, got {self.dataset!r}."
            )

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """The same input, as a path that the script can read.

        Parameters
        ----------
        path_on_compute : str, optional
        """
        return replace(self, mode="mount", path_on_compute=path_on_compute or self.path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """The same input, as a path that the script can read: of the data itself, as no copy is made.

        Parameters
        ----------
        path_on_compute : str, optional
        """
        return replace(self, mode="download", path_on_compute=path_on_compute or self.path_on_compute)

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """The same input under another name.

        Parameters
        ----------
        name : str
        """
        return replace(self, name=name)


def automatic_name(dataset: Any) -> str:
    """A name for an input that was given none: the same for the same dataset, in every process."""
    token: Any = getattr(dataset, "identity", None)
    if token is None:
        token = as_document(dataset)
    return "input_" + hashlib.blake2b(json.dumps(token, sort_keys=True).encode(), digest_size=4).hexdigest()
