"""The data of jobs: where it lies, where results go, what the script needs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.conda import CondaDependencies
from daskbatch.api.config_rules import DEFAULTS
from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_registry import get_by_name
from daskbatch.api.environment import Environment
from daskbatch.api.ignored import ignore
from daskbatch.api.mltable import MLTABLE, read_mltable
from daskbatch.api.places import is_url
from daskbatch.api.references import as_document
from daskbatch.errors import NotFound, UsageError
from daskbatch.options.values import choice, nearest

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["JobPlace", "Output", "known_keys"]

_MODES = {
    "ro_mount": "mount",
    "eval_mount": "mount",
    "rw_mount": "mount",
    "mount": "mount",
    "download": "download",
    "eval_download": "download",
    "direct": "direct",
}
_MODELS = ("custom_model", "mlflow_model", "triton_model")
_TYPES = ("uri_folder", "uri_file", "mltable", *_MODELS)
_DATASTORE = re.compile(r"azureml://(?:[^/]+/[^/]+/)*?datastores/([^/]+)/paths/(.*)")
_ASSET = re.compile(r"azureml:(?!//)([^:@/]+)(?:[:@](.+))?")
_LONG_ASSET = re.compile(
    r"azureml://(?:[^/]+/[^/]+/)*?(?:data|models|environments)/([^/]+)(?:/(?:versions|labels)/([^/]+))?"
)
_ENVIRONMENT = ("build", "conda_file", "description", "image", "inference_config", "name", "os_type", "tags", "version")


@dataclass(frozen=True, slots=True)
class Output:
    """Where a job's result goes."""

    document: Mapping[str, Any]
    """As a step's document has it; with ``folder``, an absolute path, where it is in no datastore."""
    file: str | None
    """The file's name, where one is given."""


def known_keys(what: str, given: object, known: tuple[str, ...], ignored: tuple[str, ...] = ()) -> dict[str, Any]:
    """A mapping, whose keys are all known; those that mean nothing here are said once.

    Raises
    ------
    UsageError
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} must be a mapping, 'key: value', got {given!r}.")
    for key in given:
        if key not in known and key not in ignored:
            raise UsageError(f"{what} has no {key!r}.{nearest(str(key), known)} It has {', '.join(known)}.")
    ignore(what, [key for key in given if key in ignored])
    return dict(given)


@dataclass(frozen=True, slots=True)
class JobPlace:
    """From where a job's paths and names are seen."""

    folder: Path
    """Of its file."""
    workspace: Workspace | None
    say: Callable[[str], object] | None = None
    """Takes word of an environment that is not registered here; None: that is an error."""

    def data(self, what: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """The document of the dataset that an input is, and its mode.

        Parameters
        ----------
        what : str
            Its name, for messages.
        given : mapping

        Raises
        ------
        UsageError
        """
        value = known_keys(what, given, ("type", "path", "mode"), ("description", "intellectual_property", "optional"))
        kind = choice(f"type of {what}", value.get("type", "uri_folder"), _TYPES)
        path = value.get("path")
        if not isinstance(path, str) or not path:
            raise UsageError(f"path of {what} must be a text, got {path!r}. It names a file, a folder or a data asset.")
        return as_document(self._dataset(kind, path)), self.mode(what, value)

    def mode(self, what: str, given: Mapping[str, Any]) -> str:
        """``"mount"``, ``"download"`` or ``"direct"``."""
        return _MODES[choice(f"mode of {what}", given.get("mode", "ro_mount"), tuple(_MODES))]

    def _dataset(self, kind: str, path: str) -> FileDataset | TabularDataset:
        asset = _asset(path)
        if asset is not None:
            name, version = asset
            if kind in _MODELS:
                from daskbatch.api.model import Model

                number = None if version == "latest" else int(version) if version.isdecimal() else -1
                model = Model(self.needed(path), name, version=number)
                return FileDataset(model.path, storage_options=model.storage_options)
            return get_by_name(self.needed(path), name, version)
        source = self.place(path)
        if kind != "mltable":
            return FileDataset(sources=(source,))
        where = source if isinstance(source, str) else source.place()
        if not is_url(where) and (file := Path(where, MLTABLE)).is_file():
            return read_mltable(file, JobPlace(file.parent, self.workspace).place)
        return TabularDataset(sources=(source,))

    def place(self, path: str) -> DataPath | str:
        """A path in a datastore, a URL, or an absolute path.

        Raises
        ------
        UsageError
            There is nothing there.
        """
        stored = _DATASTORE.fullmatch(path)
        if stored is not None:
            return self.needed(path).datastores[stored[1]].path(stored[2])
        if is_url(path):
            if path.startswith("azureml://"):
                raise UsageError(
                    f"{path!r} must be azureml://datastores/NAME/paths/PATH or azureml://.../data/NAME/versions/N."
                    " Others are not here."
                )
            return path
        local = self.local(path)
        if not has_magic(local) and not os.path.exists(local):
            raise UsageError(f"There is no file or folder {local!r}. Paths are seen from the folder of the job's file.")
        return local

    def local(self, path: str) -> str:
        """The absolute path that a local one means."""
        return os.path.normpath(self.folder / Path(path.removeprefix("file:")).expanduser())

    def needed(self, what: str) -> Workspace:
        """The workspace.

        Raises
        ------
        NotFound
            There is none.
        """
        if self.workspace is None:
            raise NotFound(
                f"{what!r} is registered in a workspace, but there is none in {str(self.folder)!r} or above. Make one"
                " with 'daskbatch init', or give a path."
            )
        return self.workspace

    def output(self, name: str, given: object) -> Output:
        """Where an output goes.

        Raises
        ------
        UsageError
        """
        what = f"the output {name!r}"
        value = known_keys(what, {} if given is None else given, ("type", "path", "mode"), ("description",))
        choice(f"mode of {what}", value.get("mode", "rw_mount"), ("rw_mount", "mount", "upload", "direct"))
        kind = choice(f"type of {what}", value.get("type", "uri_folder"), _TYPES)
        path = value.get("path")
        document: dict[str, Any] = {
            "name": name,
            "datastore": None,
            "path": "azureml/{run-id}/{output-name}",
            "register": None,
        }
        if path is None:
            return Output(document, DEFAULTS["append_row_file_name"] if kind == "uri_file" else None)
        if not isinstance(path, str) or not path:
            raise UsageError(f"path of {what} must be a text, got {path!r}.")
        file = None
        if kind == "uri_file":
            path, _, file = path.rpartition("/")
        stored = _DATASTORE.fullmatch(f"{path}/" if kind == "uri_file" and path.endswith("/paths") else path)
        if stored is None:
            if is_url(path):
                raise UsageError(
                    f"path of {what} must be azureml://datastores/NAME/paths/PATH or a folder, got {path!r}."
                )
            _refuse_expressions(what, value["path"], value["path"])
            return Output({"name": name, "folder": self.local(path or "."), "register": None}, file or None)
        inner = re.sub(r"\$\{\{\s*name\s*\}\}", "{run-id}", stored[2])
        inner = re.sub(r"\$\{\{\s*output_name\s*\}\}", "{output-name}", inner)
        store = re.sub(r"\$\{\{\s*default_datastore\s*\}\}", "", stored[1])
        for part in (store, inner, file or ""):
            _refuse_expressions(what, value["path"], part)
        document["datastore"] = store or None
        return Output({**document, "path": inner.strip("/")}, file or None)

    def environment(self, given: object, job: str) -> dict[str, Any]:
        """The document of the environment that a job names or describes.

        Raises
        ------
        UsageError
        """
        if given is None:
            return Environment("default").as_document()
        if isinstance(given, str):
            asset = _asset(given)
            if not given.startswith("azureml:"):
                raise UsageError(
                    f"environment must be 'azureml:NAME:VERSION' or a mapping with conda_file, got {given!r}."
                )
            if asset is None or asset[0].startswith("AzureML-"):
                # One of Azure's own, which no workspace has: the present Python runs the script.
                ignore("environment", [given])
                return Environment("default").as_document()
            return self._registered(given, *asset)
        value = known_keys("environment", given, _ENVIRONMENT)
        made = Environment(str(value.get("name") or job))
        conda = value.get("conda_file")
        if isinstance(conda, Mapping):
            made.python.conda_dependencies = CondaDependencies.from_document(conda)
        elif conda is not None:
            made.python.conda_dependencies = CondaDependencies(self.local(str(conda)))
        if value.get("image") is not None:
            made.docker.base_image = str(value["image"])
        ignore("environment", [key for key in ("build", "inference_config") if key in value])
        return made.as_document()

    def _registered(self, given: str, name: str, version: str) -> dict[str, Any]:
        try:
            wanted = None if version == "latest" else version
            return Environment.get(self.needed(given), name, wanted).as_document()
        except NotFound:
            if self.say is None:
                raise
            self.say(f"environment {given!r} is not registered here: the present Python runs the script.")
            return Environment("default").as_document()


def _refuse_expressions(what: str, path: str, part: str) -> None:
    """See that no expression is left in a part of an output's path, where it would be a name like any other."""
    if "${{" in part:
        raise UsageError(
            f"path of {what}: ${{{{name}}}} and ${{{{output_name}}}} may stand for folders in a datastore alone, and"
            " ${{default_datastore}} for its name, as in"
            f" azureml://datastores/${{{{default_datastore}}}}/paths/${{{{name}}}}/scores.csv, got {path!r}."
        )


def _asset(text: str) -> tuple[str, str] | None:
    """Name and version of what is registered, where a text names something that is.

    >>> _asset("azureml://locations/westus/workspaces/w/data/photos/versions/3"), _asset("azureml:photos@latest")
    (('photos', '3'), ('photos', 'latest'))
    """
    found = None if _DATASTORE.fullmatch(text) else _ASSET.fullmatch(text) or _LONG_ASSET.fullmatch(text)
    return None if found is None else (found[1], found[2] or "latest")
