"""Registered models, as an entry script finds them.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import json
import os
from typing import Any

from daskbatch.errors import NotFound, UsageError
from daskbatch.layout import WORKSPACE_FOLDER, WORKSPACE_VARIABLE
from daskbatch.nearest import nearest

__all__ = ["DOCUMENT", "FILES", "find_model", "get_model_path", "model_folder", "model_versions", "models_folder"]

DOCUMENT = "model.json"
"""Written last: a version without it is being registered, or was deleted."""
FILES = "files"


def get_model_path(model_name: str, version: int | None = None, root: str | None = None) -> str:
    """Path of a registered model: of its folder, or of its file where it is a single one.

    Parameters
    ----------
    model_name : str
    version : int, optional
        By default the latest.
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


def find_model(root: str, name: str, version: object = None) -> dict[str, Any]:
    """Return the document of a model's version, by default of the latest.

    Raises
    ------
    NotFound
    UsageError
        The document is damaged.
    """
    known = model_versions(root, name)
    if not known:
        others = [other for other in _entries(models_folder(root)) if model_versions(root, other)]
        listed = ", ".join(sorted(others)[:20]) or "none"
        raise NotFound(
            f"There is no model {name!r} in the workspace {root!r}.{nearest(str(name), others)} Registered are:"
            f" {listed}."
        )
    number = known[-1] if version is None else _number(version)
    if number not in known:
        raise NotFound(
            f"The model {name!r} has no version {version!r} in the workspace {root!r}. There are:"
            f" {', '.join(map(str, known[-20:]))}."
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
