"""Datastore: a storage root that has a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from daskbatch.api.azure_blob import azure_blob
from daskbatch.api.data_path import DataPath
from daskbatch.api.datastore_files import DatastoreFiles
from daskbatch.api.documents import check_name, names, read_document, write_document
from daskbatch.api.named import not_found
from daskbatch.api.places import inner_path, is_url, place
from daskbatch.api.redirect import redirected
from daskbatch.errors import UsageError
from daskbatch.remote.options import StorageOptions, checked
from daskbatch.remote.urls import protocol_of

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["DEFAULT", "DataPath", "Datastore", "datastore_names"]

DEFAULT = "workspaceblobstore"
"""Always there: a folder of the workspace."""


class Datastore(DatastoreFiles):
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
    storage_options: StorageOptions
    """How the store is reached; no secrets."""

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
        options = document.get("storage_options")
        if options is None and self.account_name is not None:  # registered before there were options
            options = {"account_name": self.account_name}
        self.storage_options = checked(options, protocol_of(self.url)) if is_url(self.url) else ()

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
        cls,
        workspace: Workspace,
        name: str,
        url: str | os.PathLike[str],
        overwrite: bool = False,
        **options: object,
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
        **options
            How the store is reached, the ``storage_options`` of runs: for S3 ``endpoint_url``, ``profile``, ``anon``,
            ``region`` and others. Secrets are refused.

        Raises
        ------
        UsageError
            The name is taken, or a value is wrong.
        """
        root = place("url", url)
        kind = root.partition("://")[0] if is_url(root) else "Folder"
        if options and not is_url(root):
            raise UsageError(
                f"{', '.join(options)}: a folder has no options, and {root!r} is one. Options are for stores, such as"
                " s3://bucket/photos. Leave them out."
            )
        known = {"storage_options": dict(checked(options, protocol_of(root)))} if options else {}
        return cls._register(workspace, "name", name, overwrite, {"url": root, "type": kind, **known})

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
        cls, workspace: Workspace, what: str, name: str, overwrite: bool, document: dict[str, object]
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
        found = self.place(path)
        if not is_url(found):
            return found
        known = f"{self.account_name}/{self.container_name}" if self.account_name else self.url
        raise UsageError(
            f"The datastore {self.name!r} is {self.url!r}, and no folder. Next: place(path) is the URL, and"
            f' download(folder) copies the data; or name a folder with a copy in config.json: "redirect":'
            f' {{"{known}": "folder"}}.'
        )

    def place(self, path: str | None = None) -> str:
        """The absolute path or the URL of something in this datastore, wherever it is redirected to."""
        inner = inner_path("path", path)
        return redirected(self.workspace, f"{self.url.rstrip('/')}/{inner}" if inner else self.url)

    def options_of(self, place: str) -> StorageOptions:
        """How a place that `place` gave is reached: where it was redirected to, other options hold."""
        own = self.url.rstrip("/")
        return self.storage_options if place == own or place.startswith(own + "/") else ()


def datastore_names(workspace: Workspace) -> list[str]:
    """The names of all datastores, sorted."""
    return sorted({DEFAULT, *names(workspace.folder / "datastores")})


def _document(workspace: Workspace, name: str) -> Path:
    return workspace.folder / "datastores" / f"{name}.json"
