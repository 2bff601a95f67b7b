"""Model: files that are registered under a name, version by version.

Entry scripts import this too, in the runner's interpreter: what is imported here at once is of Python 3.9's standard
library, and the rest when it is needed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from daskbatch.errors import NotFound, UsageError
from daskbatch.layout import WORKSPACE_VARIABLE
from daskbatch.worker import models

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Model", "model_names"]

_AZURE = (
    *("datasets", "model_framework", "model_framework_version", "resource_configuration"),
    *("sample_input_dataset", "sample_output_dataset"),
)


Models = list["Model"]  # in the class, list is a method


class Model:
    """A version of a registered model.

    Parameters
    ----------
    workspace : Workspace
    name : str, optional
    id : str, optional
        ``"name:version"``, in the place of both.
    version : int, optional
        By default the latest.

    Raises
    ------
    NotFound
        It is not registered.
    """

    workspace: Workspace
    name: str
    version: int
    description: str | None
    tags: dict[str, str]
    properties: dict[str, str]
    created_time: dt.datetime

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Azure's name
        version: int | None = None,
    ) -> None:
        number: object = version
        if id is not None:
            name, _, number = id.partition(":")
        if name is None:
            raise UsageError("Model must be given a name or an id, got neither.")
        document = models.find_model(str(workspace.root), name, number)
        self.workspace, self.name, self.version = workspace, name, document["version"]
        self.description = document.get("description")
        self.tags, self.properties = dict(document.get("tags") or {}), dict(document.get("properties") or {})
        self.created_time = dt.datetime.fromisoformat(document["created"])
        self._inner = document["path"]
        self._document = document

    @classmethod
    def register(
        cls,
        workspace: Workspace,
        model_path: object,
        model_name: str,
        tags: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
        description: str | None = None,
        child_paths: Iterable[str] | None = None,
        **ignored: object,
    ) -> Model:
        """Copy a file or folder into the workspace, as the next version of a model.

        Parameters
        ----------
        workspace : Workspace
        model_path : path, URL, DataPath or (Datastore, path)
            A file or a folder; what links in it lead to is copied. What lies in a store stays there, and is fetched
            for each node that asks. Where the default datastore is a store, local files are copied into it.
        model_name : str
        tags, properties : mapping, optional
            Texts under names.
        description : str, optional
        child_paths : iterable of str, optional
            What of the folder to take; by default all.
        **ignored
            What Azure takes besides: said once.

        Raises
        ------
        UsageError
            There is no such file, or it cannot be copied.
        """
        from daskbatch.api.documents import check_name, next_version
        from daskbatch.api.ignored import accept
        from daskbatch.options.values import local_path

        accept("Model.register", ignored, _AZURE)
        check_name("model_name", model_name)
        labels = {"tags": _texts("tags", tags), "properties": _texts("properties", properties)}
        from daskbatch.api.model_store import put_model, stored_model

        where = stored_model(model_path, child_paths)
        if where is not None:
            version = next_version(Path(models.models_folder(str(workspace.root)), model_name))
            return cls._write(workspace, model_name, version, where, description, labels)
        source = Path(local_path("model_path", model_path))
        parts = _parts(source, child_paths, workspace.folder)
        version = next_version(Path(models.models_folder(str(workspace.root)), model_name))
        folder = Path(models.model_folder(str(workspace.root), model_name, version))
        try:
            where = put_model(workspace, source, parts, f"{model_name}/{version}")
            if where is None:
                where = {"path": source.name}
                _copy(source, folder / models.FILES / source.name, parts)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls._write(workspace, model_name, version, where, description, labels)

    @classmethod
    def _write(
        cls,
        workspace: Workspace,
        name: str,
        version: int,
        where: Mapping[str, object],
        description: str | None,
        labels: Mapping[str, object],
    ) -> Model:
        from daskbatch.api.documents import write_document

        created = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        document = {"name": name, "version": version, **where, "description": description, **labels}
        folder = Path(models.model_folder(str(workspace.root), name, version))
        write_document(folder / models.DOCUMENT, {**document, "created": created}, overwrite=False)
        return cls(workspace, name, version=version)

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: Workspace | None = None) -> str:
        """Path of a registered model: of its folder, or of its file where it is a single one.

        Works in entry scripts too: there the workspace is that of the run.

        Parameters
        ----------
        model_name : str
        version : int, optional
            By default the latest.
        _workspace : Workspace, optional
            By default that of the run, or else the one that is found from the current folder.

        Raises
        ------
        NotFound
            There is no such model or version, or no workspace.
        """
        root = None if _workspace is None else str(_workspace.root)
        if root is None and not os.environ.get(WORKSPACE_VARIABLE):
            from daskbatch.api.workspace import Workspace

            root = str(Workspace.from_config().root)
        return models.get_model_path(model_name, version, root)

    @staticmethod
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Iterable[str | Iterable[str]] | None = None,
        properties: Iterable[str | Iterable[str]] | None = None,
        latest: bool = False,
    ) -> Models:
        """The registered models, the newest version of each first.

        Parameters
        ----------
        workspace : Workspace
        name : str, optional
            Of this name only.
        tags, properties : iterable, optional
            Only those that have all of these: ``"key"``, or ``["key", "value"]``.
        latest : bool
            Only the newest version of each.
        """
        found: Models = []
        for known in model_names(workspace):
            if name is None or known == name:
                numbers = models.model_versions(str(workspace.root), known)[::-1]
                found += [Model(workspace, known, version=number) for number in (numbers[:1] if latest else numbers)]
        return [model for model in found if _has(model.tags, tags) and _has(model.properties, properties)]

    @property
    def id(self) -> str:
        """``"name:version"``."""
        return f"{self.name}:{self.version}"

    @property
    def path(self) -> str:
        """The absolute path of its folder or file; its URL where it lies in a store."""
        if "url" in self._document:
            return str(self._document["url"])
        return str(self._folder / models.FILES / self._inner)

    @property
    def storage_options(self) -> dict[str, object]:
        """How the store that it lies in is reached; empty for files."""
        return dict(self._document.get("storage_options", {}))

    @property
    def _folder(self) -> Path:
        return Path(models.model_folder(str(self.workspace.root), self.name, self.version))

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version})"

    def download(self, target_dir: str | os.PathLike[str] = ".", exist_ok: bool = False) -> str:
        """Copy the model's folder or file into a folder.

        Parameters
        ----------
        target_dir : path
            Made where it is missing.
        exist_ok : bool
            Whether it may be there already; then it is written over.

        Returns
        -------
        str
            The path of the copy.

        Raises
        ------
        UsageError
            It is there already, or cannot be written.
        """
        from daskbatch.options.values import local_path

        target = Path(local_path("target_dir", target_dir), self._inner)
        if os.path.lexists(target) and not exist_ok:
            raise UsageError(f"{str(target)!r} is there already. Choose another target_dir, or give exist_ok=True.")
        source = models.fetched_path(self._document) if "url" in self._document else self.path
        _copy(Path(source), target, None)
        return str(target)

    def delete(self) -> None:
        """Delete this version, whose number is not used again; what lies in a store stays there."""
        (self._folder / models.DOCUMENT).unlink(missing_ok=True)
        shutil.rmtree(self._folder / models.FILES, ignore_errors=True)


def model_names(workspace: Workspace) -> list[str]:
    """The names of all models that have a version, sorted."""
    from daskbatch.api.documents import names

    root = str(workspace.root)
    return [name for name in names(Path(models.models_folder(root)), "") if models.model_versions(root, name)]


def _texts(what: str, value: Mapping[str, object] | None) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} must be a dict such as {{'area': 'digits'}}, got {value!r}.")
    return {str(key): str(word) for key, word in value.items()}


def _has(own: Mapping[str, str], wanted: Iterable[str | Iterable[str]] | None) -> bool:
    for want in wanted or ():
        key, *values = [want] if isinstance(want, str) else want
        if key not in own or (values and own[key] != str(values[0])):
            return False
    return True


def _parts(source: Path, children: Iterable[str] | None, workspace: Path) -> list[str] | None:
    """The paths in a folder that shall be copied; None: all of it."""
    if not source.exists():
        raise NotFound(f"model_path: there is no file or folder {str(source)!r}.")
    if source.name == "":
        raise UsageError(f"model_path must be a file or folder with a name, got {str(source)!r}.")
    if children is None:
        if workspace.resolve().is_relative_to(source.resolve()):
            raise UsageError(
                f"model_path {str(source)!r} holds the workspace itself, into which it would be copied. Name the file"
                " or folder of the model, or what to take with child_paths."
            )
        with contextlib.suppress(OSError):  # what cannot be read is told when it is copied
            _check_links(source, ())
        return None
    from daskbatch.api.places import inner_path

    parts = [inner_path("child_paths", child, "model_path") for child in children]
    for part in parts:
        if not part or not (source / part).is_file():
            raise NotFound(f"child_paths: there is no file {part!r} in {str(source)!r}.")
    return parts


def _check_links(folder: Path, above: tuple[str, ...]) -> None:
    """See that the links in a folder lead somewhere, and not to a folder that they are in."""
    here = os.path.realpath(folder)
    why = "is a link that leads nowhere" if not folder.exists() else f"is a link to {here!r}, which it is in"
    if not folder.exists() or here in above:
        raise UsageError(f"model_path: {str(folder)!r} {why}. Remove it, or say what to take with child_paths.")
    for child in sorted(folder.iterdir()) if folder.is_dir() else ():
        _check_links(child, (*above, here))


def _copy(source: Path, target: Path, parts: list[str] | None) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if parts is not None:
            for part in parts:
                (target / part).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / part, target / part)
        elif source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    except OSError as error:
        # copytree tells all that failed: the first will do.
        why = "{0}: {2}".format(*error.args[0][0]) if isinstance(error, shutil.Error) else error.strerror or error
        raise UsageError(
            f"{str(source)!r} cannot be copied to {str(target)!r}: {why}. See that it can be read, and that there is"
            " room left."
        ) from None
