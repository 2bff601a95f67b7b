"""What a datastore does with files: copy them into it, and out of it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from daskbatch.api import store_transfer, transfer
from daskbatch.api.places import inner_path, is_url
from daskbatch.remote.options import StorageOptions

if TYPE_CHECKING:
    from daskbatch.api.data_path import DataPath

__all__ = ["DatastoreFiles"]


class DatastoreFiles(ABC):
    """The part of a `Datastore` that copies files."""

    @abstractmethod
    def path(self, path: str | None = None) -> DataPath:
        """A path in this datastore."""

    @abstractmethod
    def place(self, path: str | None = None) -> str:
        """Its absolute path or URL."""

    @abstractmethod
    def options_of(self, place: str) -> StorageOptions:
        """How that is reached."""

    def upload(
        self,
        src_dir: str | os.PathLike[str],
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataPath:
        """Copy a folder into the datastore.

        Parameters
        ----------
        src_dir : path
        target_path : str, optional
            Folder in the datastore; by default its root.
        overwrite : bool
            Whether to replace files that are there; else they are passed over.
        show_progress : bool
            Whether to print a line for each file.

        Returns
        -------
        DataPath
            The folder in the datastore.

        Raises
        ------
        UsageError
            There is no such folder, or the datastore cannot be written.
        """
        source = transfer.local_folder("src_dir", src_dir)
        files = transfer.below(source)
        return self._upload([(source / file, file) for file in files], target_path, overwrite, show_progress)

    def upload_files(
        self,
        files: Iterable[str | os.PathLike[str]],
        relative_root: str | os.PathLike[str] | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataPath:
        """Copy files into the datastore.

        Parameters
        ----------
        files : iterable of paths
        relative_root : path, optional
            The folder above all of them whose structure they keep; by default the closest one.
        target_path, overwrite, show_progress
            As for `upload`.

        Returns
        -------
        DataPath
            The folder in the datastore.

        Raises
        ------
        UsageError
            A file is missing or outside of `relative_root`, or the datastore cannot be written.
        """
        return self._upload(transfer.relative(files, relative_root), target_path, overwrite, show_progress)

    def _upload(
        self, files: list[tuple[Path, str]], target_path: str | None, overwrite: bool, show_progress: bool
    ) -> DataPath:
        inner = inner_path("target_path", target_path)
        found = self.place(inner)
        if is_url(found):
            store_transfer.upload(files, found, self.options_of(found), overwrite, show_progress)
            return self.path(inner)
        root = Path(found)
        transfer.copy([(source, root / file) for source, file in files], overwrite, show_progress, "Uploading")
        return self.path(inner)

    def download(
        self,
        target_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Copy files out of the datastore, under the paths that they have in it.

        Parameters
        ----------
        target_path : path
            A local folder, made where it is missing.
        prefix : str, optional
            What their paths in the datastore begin with; by default all are copied.
        overwrite, show_progress
            As for `upload`.

        Returns
        -------
        int
            How many files were copied.

        Raises
        ------
        UsageError
            The datastore cannot be read, or the folder not be written.
        """
        start = inner_path("prefix", prefix)
        if start and prefix and prefix.endswith("/"):
            start += "/"
        place, target = self.place(), Path(transfer.local("target_path", target_path))
        if is_url(place):
            options = self.options_of(place)
            objects = store_transfer.objects_below(place, options, start)
            pairs = ((listed, target / relative) for listed, relative in objects)
            return store_transfer.download(pairs, options, overwrite, show_progress)
        root = Path(place)
        found = [(root / file, target / file) for file in transfer.below(root, start)]
        if show_progress and not found:
            print(f"Nothing in {str(root)!r} begins with {start!r}.")
        return transfer.copy(found, overwrite, show_progress, "Downloading")
