"""Registered models, as an entry script finds them.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from daskbatch.errors import NotFound, UsageError
from daskbatch.layout import WORKSPACE_FOLDER, WORKSPACE_VARIABLE
from daskbatch.nearest import nearest
from daskbatch.worker.model_pins import pinned, submitted

__all__ = [
    "DOCUMENT",
    "FILES",
    "find_model",
    "get_model_path",
    "latest_versions",
    "model_folder",
    "model_variables",
    "model_versions",
    "models_folder",
]

DOCUMENT = "model.json"
"""Written last: a version without it is being registered, or was deleted."""
FILES = "files"


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
    known = list(submitted(environment, root)) or list(latest_versions(root))
    versions = model_versions(root, known[0]) if len(known) == 1 else []
    if not versions:
        return {"AZUREML_MODEL_DIR": models_folder(root)}
    version = pinned(environment, root, known[0], versions[-1])
    return {"AZUREML_MODEL_DIR": os.path.join(model_folder(root, known[0], version), FILES)}


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
