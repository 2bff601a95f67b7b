"""Dataset: makes datasets, and finds those that are registered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_files import validate_declared as look_at
from daskbatch.api.dataset_registry import dataset_names, get_by_name
from daskbatch.api.dataset_sources import in_datastore, sources_of
from daskbatch.api.tabular_factory import TabularDatasetFactory

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Dataset", "FileDatasetFactory"]


class FileDatasetFactory:
    """Makes datasets of files: ``Dataset.File``."""

    @staticmethod
    def from_files(
        path: object,
        validate: bool = True,
        partition_format: str | None = None,
        is_file: bool = False,  # noqa: ARG004
    ) -> FileDataset:
        """A dataset of files, as a reference.

        Parameters
        ----------
        path : str, path, DataPath, (Datastore, path) or a list of them
            Files, folders (walked), globs, URLs.
        validate : bool
            Whether to look that there is a file, where the place can be read.
        partition_format : str, optional
            What the end of each path says, such as ``"/{user}/{day:yyyy-MM-dd}/*.wav"``.
        is_file : bool
            No meaning.

        Raises
        ------
        UsageError
            It is no such place, or nothing is there.
        """
        dataset = FileDataset(sources=sources_of(path), partition_format=partition_format)
        if validate:
            look_at(dataset)
        return dataset

    @staticmethod
    def upload_directory(
        src_dir: str | os.PathLike[str], target: object, overwrite: bool = False, show_progress: bool = True
    ) -> FileDataset:
        """Copy a folder into a datastore, as a dataset.

        Parameters
        ----------
        src_dir : path
        target : DataPath, (Datastore, path) or Datastore
        overwrite : bool
            Whether to replace files that are there; else they are passed over.
        show_progress : bool
            Whether to print a line for each file.

        Raises
        ------
        UsageError
            There is no such folder, or the datastore cannot be written.
        """
        place = in_datastore(target)
        return FileDataset(sources=(place.datastore.upload(src_dir, place.relative, overwrite, show_progress),))


class Dataset:
    """Makes datasets, and finds those that are registered."""

    File = FileDatasetFactory
    Tabular = TabularDatasetFactory

    @staticmethod
    def get_by_name(workspace: Workspace, name: str, version: int | str = "latest") -> FileDataset | TabularDataset:
        """A registered dataset.

        Parameters
        ----------
        workspace : Workspace
        name : str
        version : int or str
            A number, or ``"latest"``.

        Raises
        ------
        NotFound
            There is none of that name or version.
        """
        return get_by_name(workspace, name, version)

    @staticmethod
    def get_all(workspace: Workspace) -> dict[str, FileDataset | TabularDataset]:
        """The latest version of each registered dataset by name."""
        return {name: get_by_name(workspace, name) for name in dataset_names(workspace)}
