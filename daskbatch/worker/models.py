"""Registered models, as an entry script finds them.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from daskbatch.errors import NotFound, UsageError
from daskbatch.layout import FETCH_PYTHON_VARIABLE, NODE_FILES_VARIABLE, WORKSPACE_FOLDER, WORKSPACE_VARIABLE
from daskbatch.nearest import nearest
from daskbatch.worker.local_scratch import local_scratch
from daskbatch.worker.model_pins import pinned, submitted
from daskbatch.worker.shared_folder import SharedFolder, found_at, place_of

__all__ = [
    "DOCUMENT",
    "FILES",
    "fetched_path",
    "find_model",
    "get_model_path",
    "latest_versions",
    "model_fetched",
    "model_folder",
    "model_variables",
    "model_versions",
    "models_folder",
]

DOCUMENT = "model.json"
"""Written last: a version without it is being registered, or was deleted."""
FILES = "files"

_own: dict[str, SharedFolder] = {}
"""Where this process has what it has fetched outside of a run."""


def get_model_path(model_name: str, version: int | None = None, root: str | None = None) -> str:
    """Path of a registered model: of its folder, or of its file where it is a single one.

    Parameters
    ----------
    model_name : str
    version : int, optional
        By default the latest; in a run the one that it uses from its beginning to its end.
    root : str, optional
        Root of the workspace; by default what the environment variable DASKBATCH_WORKSPACE says.

    Raises
    ------
    NotFound
        There is no such model or version.
    UsageError
        No workspace is named.
    """
    root = root or os.environ.get(WORKSPACE_VARIABLE)
    if not root:
        raise UsageError(
            f"There is no workspace to look for the model {model_name!r} in: {WORKSPACE_VARIABLE} is not set. It is set"
            " in the steps of a pipeline; elsewhere, set it to the folder in which the workspace's config.json is."
        )
    document = find_model(root, model_name, version)
    if "url" in document:
        return fetched_path(document)
    return os.path.join(model_folder(root, model_name, document["version"]), FILES, document["path"])


def model_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """``AZUREML_MODEL_DIR`` for an entry script: the folder with the files of the one model, of the run's version.

    Where the workspace has none or several it is the folder of all models, as in Azure. Nothing without a workspace.

    Parameters
    ----------
    environment : mapping
        The script's variables, which name the workspace.

    Notes
    -----
    Whether the script looks at it nobody sees: the model counts as used by the run.
    """
    root = environment.get(WORKSPACE_VARIABLE)
    if not root:
        return {}
    one = _only_model(environment, root)
    if one is None:
        return {"AZUREML_MODEL_DIR": models_folder(root)}
    if "url" in one and environment.get(NODE_FILES_VARIABLE):
        return {"AZUREML_MODEL_DIR": place_of(environment[NODE_FILES_VARIABLE], *_place(one)[:3])}
    return {"AZUREML_MODEL_DIR": os.path.join(model_folder(root, one["name"], one["version"]), FILES)}


def _only_model(environment: Mapping[str, str], root: str) -> dict[str, Any] | None:
    known = list(submitted(environment, root)) or list(latest_versions(root))
    versions = model_versions(root, known[0]) if len(known) == 1 else []
    if not versions:
        return None
    return find_model(root, known[0], pinned(environment, root, known[0], versions[-1]))


def model_fetched(environment: Mapping[str, str]) -> list[tuple[str, str, str, tuple[tuple[str, str | bool], ...]]]:
    """URL, kind, token and options of the one model of `model_variables`, where it lies in a store."""
    root = environment.get(WORKSPACE_VARIABLE)
    one = _only_model(environment, root) if root else None
    return [_place(one)] if one is not None and "url" in one else []


def _place(document: Mapping[str, Any]) -> tuple[str, str, str, tuple[tuple[str, str | bool], ...]]:
    options = tuple(sorted(document.get("storage_options", {}).items()))
    return document["url"], document["kind"], document.get("token", ""), options


def fetched_path(document: Mapping[str, Any]) -> str:
    """Local path of a model that lies in a store: fetched once for all processes of the run on this host.

    Raises
    ------
    UsageError
        It cannot be fetched.
    """
    url, kind, token, options = _place(document)
    folder = os.environ.get(NODE_FILES_VARIABLE) or _own_folder()
    place = place_of(folder, url, kind, token)
    if os.path.isdir(place):
        return found_at(place)
    # A process of its own: this interpreter may know no store, and the client's threads would outlive their use.
    python = os.environ.get(FETCH_PYTHON_VARIABLE) or sys.executable
    command = [python, "-P", "-m", "daskbatch.worker.node_files", folder, url, kind, token, json.dumps(options)]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        ended = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        told = (ended.stderr.strip() or "no reason was told") if ended.returncode else ""
    except OSError as error:  # in a container, which has only what is in it
        told = f"{python!r} cannot be started: {error.strerror or error}. Next: make it a side input of the step."
    if told:
        raise UsageError(f"The model {document['name']!r} cannot be fetched from {url}: {told}")
    return ended.stdout.rstrip("\n")


def _own_folder() -> str:
    """Outside of a run: a folder that goes with this process."""
    name = os.path.join(local_scratch(), f"daskbatch-node-{os.getuid()}-process-{os.getpid()}")
    if name not in _own:
        _own[name] = SharedFolder(name)
        atexit.register(_own[name].close)
    return name


def latest_versions(root: str) -> dict[str, int]:
    """Return the latest version of each model of a workspace."""
    known = ((name, model_versions(root, name)) for name in _entries(models_folder(root)))
    return {name: versions[-1] for name, versions in known if versions}


def find_model(root: str, name: str, version: object = None) -> dict[str, Any]:
    """Return the document of a model's version, by default of the latest or, in a run, of the one that it uses.

    Raises
    ------
    NotFound
    UsageError
        The document is damaged.
    """
    known = model_versions(root, name)
    if not known:
        others = list(latest_versions(root))
        listed = ", ".join(sorted(others)[:20]) or "none"
        raise NotFound(
            f"There is no model {name!r} in the workspace {root!r}.{nearest(str(name), others)} Registered are:"
            f" {listed}."
        )
    number = pinned(os.environ, root, name, known[-1]) if version is None else _number(version)
    if number not in known:
        raise NotFound(
            f"The model {name!r} has no version {number if version is None else version!r} in the workspace {root!r}."
            f" There are: {', '.join(map(str, known[-20:]))}."
        )
    path = os.path.join(model_folder(root, name, number), DOCUMENT)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        inner, _ = document["path"], document["created"]
        if inner in ("", ".", "..") or os.path.basename(inner) != inner:
            raise ValueError(f"path {inner!r} is not the name of a file or folder")
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"{path!r} cannot be read: {error}. Register the model again.") from None
    return {**document, "name": name, "version": number}


def models_folder(root: str) -> str:
    """Return the folder with all models of a workspace."""
    return os.path.join(root, WORKSPACE_FOLDER, "models")


def model_folder(root: str, name: str, version: int) -> str:
    """Return the folder of one version."""
    return os.path.join(models_folder(root), name, str(version))


def model_versions(root: str, name: str) -> list[int]:
    """Return the versions that are there, in order."""
    if not isinstance(name, str) or os.path.basename(name) != name or name.startswith(".") or "\0" in name:
        return []
    folder = os.path.join(models_folder(root), name)
    found = [entry for entry in _entries(folder) if entry.isascii() and entry.isdigit() and entry[0] != "0"]
    return sorted(int(entry) for entry in found if os.path.isfile(os.path.join(folder, entry, DOCUMENT)))


def _number(version: object) -> int | None:
    """``3`` for 3 and "3"; None for what is no version."""
    text = str(version)
    return int(text) if text.isascii() and text.isdigit() and not isinstance(version, bool) else None


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f"The folder {folder!r} cannot be read: {error.strerror or error}.") from None
