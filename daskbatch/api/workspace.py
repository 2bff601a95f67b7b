"""Workspace: a folder of plain files, in which all else is registered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.documents import check_name, names, read_document, with_versions, write_document
from daskbatch.api.ignored import accept
from daskbatch.api.named import Named
from daskbatch.api.redirect import check_redirects
from daskbatch.api.workspace_config import CONFIG, HIDDEN, check_settings, find_config, project_folder
from daskbatch.errors import NotFound, UsageError
from daskbatch.layout import WORKSPACE_FOLDER
from daskbatch.options.values import local_path

if TYPE_CHECKING:
    from daskbatch.api.compute import ComputeTarget
    from daskbatch.api.dataset import FileDataset, TabularDataset
    from daskbatch.api.datastore import Datastore
    from daskbatch.api.environment import Environment
    from daskbatch.api.model import Model
    from daskbatch.api.pipeline_run import PipelineRun

__all__ = ["Workspace"]

_AZURE = (
    *("adb_workspace", "allow_public_access_when_behind_vnet", "app_insights", "auth", "cloud", "cmk_keyvault"),
    *("container_registry", "create_resource_group", "default_cpu_compute_target", "default_gpu_compute_target"),
    *("description", "friendly_name", "hbi_workspace", "id", "key_vault", "primary_user_assigned_identity"),
    *("private_endpoint_auto_approval", "private_endpoint_config", "resource_cmk_uri", "sku", "storage_account"),
    *("system_datastores_auth_mode", "tags", "user_assigned_identity_for_cmk_encryption"),
)
"""What Azure's calls take, and a folder has no use for."""


class Workspace:
    """A workspace: what ``config.json`` names, and the folder ``workspace`` beside it with all that is registered.

    Parameters
    ----------
    subscription_id, resource_group : str, optional
        Kept for the record; where given they must be those of ``config.json``.
    workspace_name : str
        Its ``config.json`` is looked for as by `from_config`.
    **ignored
        What Azure takes besides, such as ``auth``: said once.

    Raises
    ------
    NotFound
        There is none of that name.
    """

    root: Path
    """The folder that it lies in."""
    config: Mapping[str, Any]
    """The content of ``config.json``."""
    redirects: Mapping[str, str]
    """``"redirect"`` of ``config.json``: place to absolute path or URL."""

    def __init__(
        self,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        workspace_name: str | None = None,
        **ignored: object,
    ) -> None:
        accept("Workspace", ignored, _AZURE)
        self._load(find_config())
        given = {"workspace_name": workspace_name, "subscription_id": subscription_id, "resource_group": resource_group}
        for what, value in given.items():
            own = self.config.get(what)
            if value and own and value != own:
                raise NotFound(
                    f"There is no workspace with {what} {value!r}: that in {str(self.root)!r} has {own!r}. Change to"
                    " the folder of the other one, or make it: Workspace.create(name)."
                )

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None, **ignored: object) -> Workspace:
        """The workspace of a ``config.json``.

        Parameters
        ----------
        path : path, optional
            The file; or a folder: ``config.json`` and ``.azureml/config.json`` are looked for there and in the folders
            above it. By default the current folder.
        **ignored
            ``auth``: said once.

        Raises
        ------
        NotFound
            There is none.
        UsageError
            It is damaged.
        """
        name = ignored.pop("_file_name", None) or CONFIG
        accept("Workspace.from_config", ignored, ("auth", "_logger"))
        return cls._at(find_config(path, str(name)))

    @classmethod
    def get(
        cls, name: str, subscription_id: str | None = None, resource_group: str | None = None, **ignored: object
    ) -> Workspace:
        """The workspace of this name, whose ``config.json`` is found from the current folder.

        Raises
        ------
        NotFound
            The workspace found has another name, or there is none.
        """
        accept("Workspace.get", ignored, (*_AZURE, "location"))
        return cls(subscription_id, resource_group, name)

    @classmethod
    def create(
        cls,
        name: str,
        path: str | os.PathLike[str] | None = None,
        exist_ok: bool = False,
        *,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        **ignored: object,
    ) -> Workspace:
        """Make a workspace: write ``config.json`` into a folder.

        Parameters
        ----------
        name : str
        path : path, optional
            Its folder, made where it is missing; by default the current one.
        exist_ok : bool
            Whether a workspace of that name may be there already.
        subscription_id, resource_group, location : str, optional
            Kept in ``config.json``.
        **ignored
            What Azure takes besides: said once.

        Raises
        ------
        UsageError
            There is another one, or the folder cannot be written.
        """
        ignored.pop("show_output", None)  # nothing here takes long enough to be shown
        accept("Workspace.create", ignored, _AZURE)
        check_name("name", name)
        root = Path(local_path("path", "." if path is None else path))
        named = {"subscription_id": subscription_id, "resource_group": resource_group, "location": location}
        content = {"workspace_name": name, **{key: value for key, value in named.items() if value is not None}}
        there = [file for file in (root / CONFIG, root / HIDDEN / CONFIG) if file.exists()]
        if not there:
            try:
                write_document(root / CONFIG, content, overwrite=False)
            except FileExistsError:
                there = [root / CONFIG]
        if there:
            config = read_document(there[0]) or {}
            if not exist_ok or config.get("workspace_name") != name:
                raise UsageError(
                    f"{str(there[0])!r} is there already, of the workspace {config.get('workspace_name')!r}. Choose"
                    " another folder, or load it with Workspace.from_config(path); with exist_ok=True one of the"
                    " same name is taken."
                )
        return cls._at(there[0] if there else root / CONFIG)

    @classmethod
    def _at(cls, config: Path) -> Workspace:
        workspace = cls.__new__(cls)
        workspace._load(config)
        return workspace

    def _load(self, config: Path) -> None:
        content = read_document(config)
        if content is None:
            raise NotFound(f"There is no file {str(config)!r}.")
        base = project_folder(config)
        self.name = check_name(f'"workspace_name" in {str(config)!r}', content.get("workspace_name"))
        path = content.get("path") or ""
        where = os.path.join(base, os.path.expanduser(path)) if isinstance(path, str) and "://" not in path else path
        self.root = Path(local_path(f'"path" in {str(config)!r}', where))
        self.config = content
        check_settings(content, config)
        self.redirects = check_redirects(content.get("redirect") or {}, str(base))

    def __repr__(self) -> str:
        return f"Workspace(name={self.name!r}, root={str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workspace) and (self.name, self.root) == (other.name, other.root)

    def __hash__(self) -> int:
        return hash((self.name, self.root))

    @property
    def folder(self) -> Path:
        """Of all that is registered, and of the runs."""
        return self.root / WORKSPACE_FOLDER

    @property
    def subscription_id(self) -> str:
        """As ``config.json`` says it; else empty."""
        return str(self.config.get("subscription_id") or "")

    @property
    def resource_group(self) -> str:
        """As ``config.json`` says it; else empty."""
        return str(self.config.get("resource_group") or "")

    @property
    def location(self) -> str:
        """As ``config.json`` says it; else ``"local"``."""
        return str(self.config.get("location") or "local")

    def get_details(self) -> dict[str, Any]:
        """What there is to know about the workspace itself."""
        return {
            "id": str(self.root),
            "name": self.name,
            "location": self.location,
            "type": "daskbatch",
            "subscriptionId": self.subscription_id,
            "resourceGroup": self.resource_group,
            "folder": str(self.folder),
        }

    def write_config(self, path: str | os.PathLike[str] | None = None, file_name: str | None = None) -> None:
        """Write ``.azureml/config.json`` below a folder, so that `from_config` finds this workspace from there.

        Parameters
        ----------
        path : path, optional
            The folder; by default the current one.
        file_name : str, optional
            In the place of ``config.json``.

        Raises
        ------
        UsageError
            It cannot be written.
        """
        base = Path(local_path("path", "." if path is None else path))
        target = base / HIDDEN / check_name("file_name", file_name or CONFIG)
        content = {**self.config, "redirect": dict(self.redirects)} if self.redirects else dict(self.config)
        content.pop("path", None)
        if base != self.root:  # from within, so that it holds where the workspace is moved or copied
            content["path"] = os.path.relpath(self.root, base) if base.is_relative_to(self.root) else str(self.root)
        write_document(target, content, overwrite=True)

    def get_run(self, run_id: str) -> PipelineRun:
        """The run of that id, whatever its experiment.

        Raises
        ------
        NotFound
            There is none.
        """
        found: PipelineRun = import_module("daskbatch.api.pipeline_run").PipelineRun.get(self, run_id)
        return found

    def get_default_datastore(self) -> Datastore:
        """The datastore for data without another: at first ``workspaceblobstore``, a folder of the workspace."""
        from daskbatch.api.datastore import DEFAULT, Datastore

        settings = read_document(self._settings) or {}
        return Datastore(self, settings.get("default_datastore", DEFAULT))

    def set_default_datastore(self, name: str) -> None:
        """Have another datastore be the default.

        Raises
        ------
        NotFound
            It is not registered.
        """
        from daskbatch.api.datastore import Datastore

        settings = read_document(self._settings) or {}
        write_document(self._settings, {**settings, "default_datastore": Datastore(self, name).name}, overwrite=True)

    @property
    def _settings(self) -> Path:
        return self.folder / "settings.json"

    @property
    def datastores(self) -> Mapping[str, Datastore]:
        """All datastores by name."""
        from daskbatch.api.datastore import Datastore, datastore_names

        return Named("datastore", lambda: datastore_names(self), lambda name: Datastore(self, name))

    @property
    def models(self) -> Mapping[str, Model]:
        """The latest version of each model by name."""
        from daskbatch.api.model import Model, model_names

        return Named("model", lambda: model_names(self), lambda name: Model(self, name))

    @property
    def compute_targets(self) -> Mapping[str, ComputeTarget]:
        """All compute targets by name; ``"local"`` is always there."""
        from daskbatch.api.compute import ComputeTarget, target_names

        return Named("compute target", lambda: target_names(self), lambda name: ComputeTarget(self, name))

    @property
    def datasets(self) -> Mapping[str, FileDataset | TabularDataset]:
        """The latest version of each registered dataset by name."""
        from daskbatch.api.dataset_registry import dataset_names, get_by_name

        return Named("dataset", lambda: dataset_names(self), lambda name: get_by_name(self, name))

    @property
    def environments(self) -> Mapping[str, Environment]:
        """The latest version of each registered environment by name."""
        from daskbatch.api.environment import Environment

        folder = self.folder / "environments"
        return Named("environment", lambda: with_versions(folder), lambda name: Environment.get(self, name))

    @property
    def experiments(self) -> Mapping[str, Any]:
        """All experiments that hold a run, by name."""

        def get(name: str) -> Any:
            return import_module("daskbatch.api.experiment").Experiment(self, name)

        return Named("experiment", lambda: names(self.folder / "experiments", ""), get)
