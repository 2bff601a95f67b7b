"""What FileDataset and TabularDataset have in common: where they lie, which part is meant, under which name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from daskbatch.api.places import check_no_secret, is_url
from daskbatch.errors import UsageError
from daskbatch.options.inputs import partition_key_names
from daskbatch.options.values import local_path, whole_number
from daskbatch.remote.options import StorageOptions, checked
from daskbatch.remote.urls import protocol_of
from daskbatch.store.partition_format import Value, parse_format

if TYPE_CHECKING:
    from daskbatch.api.consumption import DatasetConsumptionConfig
    from daskbatch.api.data_path import DataPath
    from daskbatch.api.workspace import Workspace

__all__ = ["Path", "ReferencedDataset", "absolute", "located", "refuse_different_stores"]

Path = str | os.PathLike[str]

INT64_MAX = 2**63 - 1


def absolute(paths: object) -> tuple[str, ...]:
    """URLs, and local paths made absolute."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not isinstance(paths, Sequence) or not paths:
        raise UsageError(f"paths must be a path, a URL, a glob or a list of them, got {paths!r}.")
    return tuple(located(path) if isinstance(path, str) else local_path("paths", path) for path in paths)


def located(source: DataPath | str) -> str:
    """Where a source is: an absolute path, or a URL."""
    if not isinstance(source, str):
        return source.place()
    if not is_url(source):
        return local_path("path", source)
    check_no_secret("path", source)
    return source


def refuse_different_stores(found: Mapping[StorageOptions, str]) -> None:
    """See that all places, by the options of their stores, can be reached by the same.

    Raises
    ------
    UsageError
    """
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise UsageError(
            f"{first} and {second} lie in stores that are reached by different options, {dict(one)} and"
            f" {dict(other)}, and a run reads all of its inputs by the same. Next: make a run, or a step, for each, or"
            " register one datastore with the options of both."
        )


@dataclass(frozen=True, kw_only=True)
class ReferencedDataset:
    """A reference to data, and a name for it. What it refers to is neither copied nor owned.

    Parameters
    ----------
    sources : sequence of paths, URLs and DataPaths, optional
        Where the data lies, in the place of ``paths``.
    partition_format : str, optional
        What the end of each path says, such as ``"/{store}/{day:yyyy-MM-dd}/*.csv"``.
    """

    sources: tuple[Any, ...] = field(default=(), repr=False)
    partition_format: str | None = None
    storage_options: Any = field(default=(), repr=False)
    """How the store of sources that are URLs is reached; a mapping is checked. Of DataPaths their datastore tells."""
    taken: int | None = None
    """How many there are at most after those `skipped`: files, or rows. None: all."""
    skipped: int = 0
    """How many are left out at the beginning: files, or rows."""
    name: str | None = field(default=None, compare=False)
    """Under which it is registered."""
    version: int | None = field(default=None, compare=False)
    """Of that name."""
    description: str | None = field(default=None, compare=False, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    paths: Any = field(init=False, repr=False, compare=False)

    def _settle(self) -> None:
        """Check what subclasses are given; `paths` becomes absolute."""
        paths = tuple(located(source) for source in self.sources) if self.sources else absolute(self.paths)
        object.__setattr__(self, "paths", paths)
        if self.partition_format is not None:
            parse_format(self.partition_format)
        first = next(filter(is_url, paths), "")
        if self.storage_options and not first:
            raise UsageError("storage_options are for data in a store, such as s3://bucket/key. Leave them out.")
        object.__setattr__(self, "storage_options", checked(self.storage_options, protocol_of(first)))

    @property
    def references(self) -> tuple[Any, ...]:
        """The sources: absolute paths and URLs as text, and DataPaths."""
        return self.sources or tuple(self.paths)

    @property
    def is_part(self) -> bool:
        """Whether `take` or `skip` leaves something out."""
        return self.taken is not None or self.skipped > 0

    def places(self) -> tuple[str, ...]:
        """Local paths and URLs of the sources, as they are written: folders, globs."""
        return tuple(map(located, self.sources)) if self.sources else absolute(self.paths)

    def is_remote(self) -> bool:
        """Whether the data lies in a store."""
        return getattr(self, "collection", None) is None and any(map(is_url, self.places()))

    def store_options(self) -> StorageOptions:
        """How the store of the data is reached; empty for files.

        Raises
        ------
        UsageError
            It lies in several stores with different options.
        """
        found: dict[StorageOptions, str] = {}
        for source, place in zip(self.references, self.places(), strict=True):
            if is_url(place):
                own = self.storage_options if isinstance(source, str) else source.storage_options()
                found.setdefault(own, place)
        refuse_different_stores(found)
        return next(iter(found), ())

    def take(self, count: int) -> Self:
        """The first ones alone: files, or rows.

        Parameters
        ----------
        count : int
        """
        most = whole_number("count", count, 0, INT64_MAX)
        return replace(self, taken=most if self.taken is None else min(self.taken, most))

    def skip(self, count: int) -> Self:
        """All but the first ones: files, or rows.

        Parameters
        ----------
        count : int
        """
        left_out = whole_number("count", count, 0, INT64_MAX)
        left = None if self.taken is None else max(0, self.taken - left_out)
        return replace(self, skipped=self.skipped + left_out, taken=left)

    @property
    def partition_keys(self) -> list[str]:
        """The keys of `partition_format`; none without one."""
        return [] if self.partition_format is None else list(parse_format(self.partition_format).names)

    def _keys(self, given: object, size: object) -> tuple[str, ...]:
        live = getattr(self, "collection", None) is not None
        return partition_key_names(given, form=self.partition_format, size=size, has_files=not live)

    def get_partition_key_values(self, partition_keys: Sequence[str] | None = None) -> list[dict[str, Value]]:
        """The combinations of values that the paths have, each once, in the order of the files.

        Parameters
        ----------
        partition_keys : sequence of str, optional
            Some of the keys; by default all.

        Raises
        ------
        UsageError
            There is no such key, or a path is not of the format.
        """
        from daskbatch.api.dataset_partition import key_values

        return key_values(self, partition_keys)

    def to_path(self) -> list[str]:
        """Paths of the files, as seen from the folder that all of them lie in: ``["/2020/a.png", ...]``.

        Raises
        ------
        InputError
            A path does not exist, a glob matches nothing or a folder is empty.
        """
        from daskbatch.api.dataset_files import relative_paths

        return ["/" + relative for _, relative in relative_paths(self)]

    def download(
        self, target_path: Path | None = None, overwrite: bool = False, show_progress: bool = False
    ) -> list[str]:
        """Copy the files into a folder, under the paths that `to_path` tells.

        Of a table with `take` or `skip` it is one Parquet file of its rows.

        Parameters
        ----------
        target_path : path, optional
            By default a new temporary folder.
        overwrite : bool
            Whether to replace files that are there.
        show_progress : bool
            Whether to print a line for each file.

        Returns
        -------
        list of str
            Paths of the copies.

        Raises
        ------
        UsageError
            A file is there already, or the folder cannot be written.
        """
        from daskbatch.api.dataset_files import download

        return download(self, target_path, overwrite, show_progress)

    def register(
        self,
        workspace: Workspace,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Self:
        """Give this dataset a name in a workspace. The data stays where it is.

        Parameters
        ----------
        workspace : Workspace
        name : str
        description : str, optional
        tags : mapping, optional
        create_new_version : bool
            Whether the name may be that of another dataset, of which this becomes the next version.

        Returns
        -------
        dataset
            With its name and version. Where the latest version is the very same already, that one.

        Raises
        ------
        UsageError
            The name is taken by another dataset, or the dataset lives in this program alone.
        """
        from daskbatch.api.dataset_registry import register

        return register(self, workspace, name, description, tags, create_new_version)

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """As an input of a step, under a name of its own.

        Parameters
        ----------
        name : str
        """
        from daskbatch.api.consumption import DatasetConsumptionConfig

        return DatasetConsumptionConfig(name, self)

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """As an input of a step that the script is given the path of.

        Parameters
        ----------
        path_on_compute : str, optional
        """
        from daskbatch.api.consumption import DatasetConsumptionConfig, automatic_name

        return DatasetConsumptionConfig(automatic_name(self), self).as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """As an input of a step that the script is given the path of: of the data itself, as no copy is made.

        Parameters
        ----------
        path_on_compute : str, optional
        """
        from daskbatch.api.consumption import DatasetConsumptionConfig, automatic_name

        return DatasetConsumptionConfig(automatic_name(self), self).as_download(path_on_compute)
