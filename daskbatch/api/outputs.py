"""PipelineData and OutputFileDatasetConfig: where a step writes, and what a later step reads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from daskbatch.api.data_path import DataPath
from daskbatch.api.data_types import PromoteHeadersBehavior
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_sources import target_of
from daskbatch.api.datastore import Datastore
from daskbatch.api.documents import check_name
from daskbatch.api.ignored import ignore
from daskbatch.api.origin import Origin
from daskbatch.api.places import inner_path
from daskbatch.api.references import as_document, from_document
from daskbatch.api.tabular_factory import TabularDatasetFactory
from daskbatch.errors import UsageError
from daskbatch.options.values import choice

if TYPE_CHECKING:
    from daskbatch.api.consumption import DatasetConsumptionConfig
    from daskbatch.api.workspace import Workspace

__all__ = ["OutputFileDatasetConfig", "PipelineData", "StepOutput", "read_output"]

_NAME = re.compile(r"[A-Za-z0-9_]{1,250}")
_FILES: Mapping[str, Any] = {"type": "file"}


@dataclass(frozen=True)
class StepOutput:
    """A step's output. As an input it makes a step wait for the one that writes it.

    What methods return is the same output, read or delivered in another way: `origin` tells.
    """

    name: str
    origin: Origin = field(default_factory=Origin, kw_only=True, repr=False)
    """The same object in all that were made from one output."""
    reading: Mapping[str, Any] = field(default_factory=lambda: _FILES, kw_only=True, repr=False, compare=False)
    """How a later step reads it: a dataset's document without paths, and a ``"glob"`` below the output's folder."""

    @property
    def datastore_name(self) -> str | None:
        """Of the datastore that it is written to; None: the workspace's default."""
        return None

    @property
    def path_template(self) -> str:
        """The folder in the datastore; ``{run-id}`` and ``{output-name}`` stand for what they say."""
        return "azureml/{run-id}/{output-name}"

    def path(self, run_id: str) -> str:
        """The folder in the datastore.

        Parameters
        ----------
        run_id : str
            Of the step's run.
        """
        return self.path_template.replace("{run-id}", run_id).replace("{output-name}", self.name)

    def as_document(self) -> dict[str, Any]:
        """JSON values: ``name``, ``datastore``, ``path`` (a template), ``register``."""
        return {"name": self.name, "datastore": self.datastore_name, "path": self.path_template, "register": None}

    def as_dataset(self) -> Self:
        """The output, read as files."""
        return replace(self, reading=_FILES)

    def as_input(self, name: str | None = None) -> DatasetConsumptionConfig:
        """The output as an input of a later step: a path that the script can read.

        Parameters
        ----------
        name : str, optional
            Of the input; by default the output's.
        """
        from daskbatch.api.consumption import DatasetConsumptionConfig

        return DatasetConsumptionConfig(name or self.name, self, "mount")

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """The output as an input of a later step.

        Parameters
        ----------
        name : str
        """
        from daskbatch.api.consumption import DatasetConsumptionConfig

        return DatasetConsumptionConfig(name, self)

    def read_delimited_files(
        self,
        include_path: bool = False,
        separator: str = ",",
        header: bool | PromoteHeadersBehavior = PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS,
        partition_format: str | None = None,
        path_glob: str | None = None,
        set_column_types: Mapping[str, Any] | None = None,
    ) -> Self:
        """The output, read as delimited text.

        Parameters
        ----------
        include_path, separator, header, partition_format, set_column_types
            As for ``Dataset.Tabular.from_delimited_files``.
        path_glob : str, optional
            Which files below the output's folder, such as ``"*.csv"``. By default all.
        """
        made = TabularDatasetFactory.from_delimited_files(
            "output",
            validate=False,
            include_path=include_path,
            separator=separator,
            header=header,
            partition_format=partition_format,
            set_column_types=set_column_types,
        )
        return self._read_as(made, path_glob)

    def read_parquet_files(
        self,
        include_path: bool = False,
        partition_format: str | None = None,
        path_glob: str | None = None,
        set_column_types: Mapping[str, Any] | None = None,
    ) -> Self:
        """The output, read as Parquet.

        Parameters
        ----------
        include_path, partition_format, set_column_types
            As for ``Dataset.Tabular.from_parquet_files``.
        path_glob : str, optional
            Which files below the output's folder, such as ``"*.parquet"``. By default all.
        """
        made = TabularDatasetFactory.from_parquet_files(
            "output",
            validate=False,
            include_path=include_path,
            partition_format=partition_format,
            set_column_types=set_column_types,
        )
        return self._read_as(made, path_glob)

    def _read_as(self, dataset: FileDataset | TabularDataset, path_glob: str | None) -> Self:
        reading = {name: value for name, value in as_document(dataset).items() if name != "paths"}
        if path_glob is not None:
            reading["glob"] = inner_path("path_glob", path_glob)
        return replace(self, reading=reading)


def read_output(
    reading: Mapping[str, Any], folder: str | os.PathLike[str] | DataPath, workspace: Workspace
) -> FileDataset | TabularDataset:
    """The dataset that a step's output is, once it is written.

    Parameters
    ----------
    reading : mapping
        `StepOutput.reading`.
    folder : path or DataPath
        Where the output lies.
    workspace : Workspace
    """
    pattern = reading.get("glob", "")
    document = {name: value for name, value in reading.items() if name != "glob"}
    path: Any
    if isinstance(folder, DataPath):
        path = {"datastore": folder.datastore.name, "path": "/".join(filter(None, [folder.relative, pattern]))}
    else:
        path = os.path.join(folder, pattern)
    return from_document({**document, "paths": [path]}, workspace)


@dataclass(frozen=True)
class PipelineData(StepOutput):
    """A step's output, in a folder of its own for each run.

    Parameters
    ----------
    name : str
        Letters, digits and ``_``; different in the outputs of one step.
    datastore : Datastore, optional
        Where it is written; by default the workspace's default datastore.
    output_name : str, optional
        Another name, under which it is found in the run.
    output_mode : str
        ``"mount"`` or ``"upload"``: no difference here.
    output_path_on_compute, output_overwrite, data_type, is_directory, pipeline_output_name, training_output
        Said once that they mean nothing.
    """

    datastore: Datastore | None = None
    output_name: str | None = None
    output_mode: str = "mount"
    output_path_on_compute: str | None = None
    output_overwrite: bool | None = None
    data_type: str | None = None
    is_directory: bool | None = None
    pipeline_output_name: str | None = None
    training_output: object = None

    def __post_init__(self) -> None:
        for what, name in (("name", self.name), ("output_name", self.output_name)):
            if name is not None or what == "name":
                _check_output_name(f"{what} of a PipelineData", name)
        if self.datastore is not None and not isinstance(self.datastore, Datastore):
            raise UsageError(
                f"datastore of the PipelineData {self.name!r} must be a Datastore, got {self.datastore!r}."
                " ws.datastores['name'] is one."
            )
        choice("output_mode", self.output_mode, ("mount", "upload"))
        others = ("output_path_on_compute", "output_overwrite", "data_type", "pipeline_output_name", "training_output")
        ignore("PipelineData", [name for name in others if getattr(self, name) is not None])

    @property
    def datastore_name(self) -> str | None:
        """Of the datastore; None: the workspace's default."""
        return None if self.datastore is None else self.datastore.name

    def as_document(self) -> dict[str, Any]:
        """JSON values; see `StepOutput.as_document`."""
        more = {} if self.output_name is None else {"output_name": self.output_name}
        return super().as_document() | more

    def as_mount(self, input_name: str | None = None, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """The output as an input of a later step: a path that the script can read.

        Parameters
        ----------
        input_name, path_on_compute : str, optional
        """
        return self.as_input(input_name).as_mount(path_on_compute)

    def as_download(
        self, input_name: str | None = None, path_on_compute: str | None = None
    ) -> DatasetConsumptionConfig:
        """The output as an input of a later step: its path, as no copy is made.

        Parameters
        ----------
        input_name, path_on_compute : str, optional
        """
        return self.as_input(input_name).as_download(path_on_compute)

    parse_delimited_files = StepOutput.read_delimited_files
    parse_parquet_files = StepOutput.read_parquet_files


@dataclass(frozen=True)
class OutputFileDatasetConfig(StepOutput):
    """A step's output, at a place that is chosen, and registered if one likes.

    Parameters
    ----------
    name : str, optional
        Letters, digits and ``_``; by default ``"output"``.
    destination : (Datastore, path), DataPath or Datastore, optional
        In the path ``{run-id}`` and ``{output-name}`` stand for what they say. By default
        ``dataset/{run-id}/{output-name}`` in the workspace's default datastore.

    Examples
    --------
    >>> OutputFileDatasetConfig("scores").read_delimited_files().register_on_complete("scores")  # doctest: +SKIP
    """

    name: str = "output"
    destination: Any = None
    registration: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Name, description and tags to register the output with."""

    def __post_init__(self) -> None:
        if self.name is None:
            object.__setattr__(self, "name", "output")
        _check_output_name("name of an OutputFileDatasetConfig", self.name)
        if self.destination is not None:
            target = target_of("destination", self.destination)
            if isinstance(target, str):
                raise UsageError(f"destination must be (datastore, 'folder'), got {self.destination!r}.")
            if not target.relative:
                target = target.datastore.path("dataset/{run-id}/{output-name}")
            object.__setattr__(self, "destination", target)

    @property
    def datastore_name(self) -> str | None:
        """Of the datastore; None: the workspace's default."""
        return self.destination.datastore.name if isinstance(self.destination, DataPath) else None

    @property
    def path_template(self) -> str:
        """The folder in the datastore; ``{run-id}`` and ``{output-name}`` stand for what they say."""
        if isinstance(self.destination, DataPath):
            return self.destination.relative
        return "dataset/{run-id}/{output-name}"

    def as_document(self) -> dict[str, Any]:
        """JSON values; see `StepOutput.as_document`."""
        registration = None if self.registration is None else {**self.registration, "reading": dict(self.reading)}
        return super().as_document() | {"register": registration}

    def as_upload(self, overwrite: bool = False, source_globs: str | None = None) -> Self:
        """The same: the output is where it belongs when the step ends.

        Parameters
        ----------
        overwrite : bool
        source_globs : None
            Said once that it means nothing.
        """
        ignore("OutputFileDatasetConfig.as_upload", ["source_globs"] if source_globs is not None else [])
        return self

    def as_mount(self, disable_metadata_cache: bool = False) -> Self:
        """The same: the output is where it belongs when the step ends.

        Parameters
        ----------
        disable_metadata_cache : bool
            No meaning.
        """
        return self

    def register_on_complete(
        self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> Self:
        """The same, registered as a dataset when the step has completed: each time a new version.

        Parameters
        ----------
        name : str
        description : str, optional
        tags : mapping, optional
        """
        check_name("name", name, spaces=True)
        return replace(self, registration={"name": name, "description": description, "tags": dict(tags or {})})


def _check_output_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{what} must be letters, digits and '_', got {name!r}.")
