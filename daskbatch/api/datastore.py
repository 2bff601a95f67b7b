"""Datastore: a storage root that has a name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from daskbatch.api import transfer
from daskbatch.api.azure_blob import azure_blob
from daskbatch.api.data_path import DataPath
from daskbatch.api.documents import check_name, names, read_document, write_document
from daskbatch.api.named import not_found
from daskbatch.api.places import inner_path, is_url, place
from daskbatch.api.redirect import redirected
from daskbatch.errors import UsageError

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["DEFAULT", "DataPath", "Datastore", "datastore_names"]

DEFAULT = "workspaceblobstore"
"""Always there: a folder of the workspace."""


class Datastore:
    """A registered datastore.

    Parameters
    ----------
    workspace : Workspace
    name : str, optional
        By default the workspace's default datastore.

    Raises
    ------
    NotFound
        It is not registered.
    """

    workspace: Workspace
    name: str
    url: str
    """An absolute path or a URL, as it was registered."""
    datastore_type: str
    """``"Folder"``, ``"AzureBlob"``, or the scheme of the URL, such as ``"s3"``."""
    account_name: str | None
    """Of Azure Blob Storage."""
    container_name: str | None

    def __init__(self, workspace: Workspace, name: str | None = None) -> None:
        if name is None:
            name = workspace.get_default_datastore().name
        if name not in (known := datastore_names(workspace)):
            raise not_found("datastore", name, known)
        document = read_document(_document(workspace, name))
        if document is None:
            document = {"url": str(workspace.folder / "data"), "type": "Folder"}
        self.workspace, self.name = workspace, name
        self.url, self.datastore_type = str(document.get("url")), str(document.get("type"))
        self.account_name, self.container_name = document.get("account_name"), document.get("container_name")

    @classmethod
    def get(cls, workspace: Workspace, datastore_name: str) -> Datastore:
        """The datastore of this name.

        Raises
        ------
        NotFound
            It is not registered.
        """
        return cls(workspace, datastore_name)

    @classmethod
    def get_default(cls, workspace: Workspace) -> Datastore:
        """The workspace's default datastore."""
        return workspace.get_default_datastore()

    @classmethod
    def register(
        cls, workspace: Workspace, name: str, url: str | os.PathLike[str], overwrite: bool = False
    ) -> Datastore:
        """Give a storage root a name.

        Parameters
        ----------
        workspace : Workspace
        name : str
        url : path or str
            A folder, or a URL that fsspec knows, such as ``s3://bucket/photos``; without keys in it.
        overwrite : bool
            Whether to replace a datastore of that name.

        Raises
        ------
        UsageError
            The name is taken, or a value is wrong.
        """
        root = place("url", url)
        kind = root.partition("://")[0] if is_url(root) else "Folder"
        return cls._register(workspace, "name", name, overwrite, {"url": root, "type": kind})

    @classmethod
    def register_azure_blob_container(
        cls,
        workspace: Workspace,
        datastore_name: str,
        container_name: str,
        account_name: str,
        *,
        overwrite: bool = False,
        endpoint: str | None = None,
        **more: object,
    ) -> Datastore:
        """Give a container of Azure Blob Storage a name.

        Where ``config.json`` has ``"redirect": {"<account_name>/<container_name>": "<folder>"}``, the folder is read.

        Parameters
        ----------
        workspace : Workspace
        datastore_name, container_name, account_name : str
        overwrite : bool
            Whether to replace a datastore of that name.
        endpoint : str, optional
            Of other clouds; by default ``core.windows.net``.
        **more
            Keys and tokens (``account_key``, ``sas_token``) are refused: what is registered is plain text, so they
            belong into the environment. What Azure takes besides is ignored, and said once.

        Raises
        ------
        UsageError
            The name is taken, or a value is wrong.
        """
        document = azure_blob(account_name, container_name, endpoint, more)
        return cls._register(workspace, "datastore_name", datastore_name, overwrite, document)

    @classmethod
    def _register(
        cls, workspace: Workspace, what: str, name: str, overwrite: bool, document: dict[str, str]
    ) -> Datastore:
        check_name(what, name)
        try:
            if name == DEFAULT and not overwrite:
                raise FileExistsError
            write_document(_document(workspace, name), {"name": name, **document}, overwrite=overwrite)
        except FileExistsError:
            there = cls(workspace, name)
            raise UsageError(
                f"{what} {name!r} is taken: it is {there.url!r}. Choose another name, or give overwrite=True."
            ) from None
        return cls(workspace, name)

    def unregister(self) -> None:
        """Forget the name; the data stays.

        Raises
        ------
        UsageError
            It is the default datastore.
        """
        if self.workspace.get_default_datastore().name == self.name:
            raise UsageError(
                f"{self.name!r} is the default datastore. Choose another first: set_default_datastore(name)."
            )
        _document(self.workspace, self.name).unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"Datastore(name={self.name!r}, url={self.url!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Datastore):
            return False
        return (self.workspace, self.name, self.url) == (other.workspace, other.name, other.url)

    def __hash__(self) -> int:
        return hash((self.workspace, self.name, self.url))

    def path(self, path: str | None = None) -> DataPath:
        """A path in this datastore, as an input; globs too.

        Parameters
        ----------
        path : str, optional
            Below the root, with ``/``. By default all of it.

        Raises
        ------
        UsageError
            It leads out of the datastore.
        """
        return DataPath(self, inner_path("path", path))

    def local_path(self, path: str | None = None) -> str:
        """The absolute path of something in this datastore, wherever it is redirected to.

        Raises
        ------
        UsageError
            It is in no folder.
        """
        inner = inner_path("path", path)
        found = redirected(self.workspace, f"{self.url.rstrip('/')}/{inner}" if inner else self.url)
        if not is_url(found):
            return found
        known = f"{self.account_name}/{self.container_name}" if self.account_name else self.url
        raise UsageError(
            f"The datastore {self.name!r} is {self.url!r}, and data is read from folders only as yet: other stores come"
            f' with a later release. Copy the data, and name its folder in config.json: "redirect":'
            f' {{"{known}": "folder"}}.'
        )

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
        root = Path(self.local_path(inner))
        transfer.copy([(source, root / file) for source, file in files], overwrite, show_progress, "Uploading")
        return DataPath(self, inner)

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
        root, target = Path(self.local_path()), Path(transfer.local("target_path", target_path))
        found = [(root / file, target / file) for file in transfer.below(root, start)]
        if show_progress and not found:
            print(f"Nothing in {str(root)!r} begins with {start!r}.")
        return transfer.copy(found, overwrite, show_progress, "Downloading")


def datastore_names(workspace: Workspace) -> list[str]:
    """The names of all datastores, sorted."""
    return sorted({DEFAULT, *names(workspace.folder / "datastores")})


def _document(workspace: Workspace, name: str) -> Path:
    return workspace.folder / "datastores" / f"{name}.json"
