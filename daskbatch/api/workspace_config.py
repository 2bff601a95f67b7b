"""Where a workspace's ``config.json`` is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from daskbatch.api.documents import read_document
from daskbatch.errors import NotFound, UsageError
from daskbatch.options.values import local_path, whole_number

__all__ = ["CONFIG", "HIDDEN", "check_settings", "find_config", "project_folder"]

CONFIG = "config.json"
HIDDEN = ".azureml"


def find_config(path: str | os.PathLike[str] | None = None, name: str = CONFIG) -> Path:
    """The nearest ``config.json`` that names a workspace; many other programs have one of that name too.

    Parameters
    ----------
    path : path, optional
        The file itself, or the folder to look in first, and then in those above it. By default the current folder.
    name : str
        What it is called.

    Raises
    ------
    NotFound
        There is none.
    UsageError
        The one that was named is no such file, or one on the way is no JSON.
    """
    start = Path(local_path("path", "." if path is None else path))
    if start.is_file():
        if "workspace_name" not in (read_document(start) or {}):
            raise UsageError(f'{str(start)!r} names no workspace: it must hold "workspace_name".')
        return start
    if not start.is_dir():
        raise NotFound(f"There is no file or folder {str(start)!r}. Give that of config.json, or one below it.")
    passed = []
    for file in _candidates(start, name):
        if not file.is_file():
            continue
        if "workspace_name" in (read_document(file) or {}):
            return file
        passed.append(str(file))
    others = f' Passed over, as they hold no "workspace_name": {", ".join(passed)}.' if passed else ""
    raise NotFound(
        f"There is no workspace in {str(start)!r} or above: no {name} and no {HIDDEN}/{name}.{others} Make one with"
        " Workspace.create(name) or 'daskbatch init', or put there the config.json of an Azure workspace."
    )


def _candidates(start: Path, name: str) -> Iterator[Path]:
    for folder in (start, *start.parents):
        yield folder / name
        yield folder / HIDDEN / name


def check_settings(content: Mapping[str, Any], config: Path) -> None:
    """See that what runs look up in a ``config.json`` can be used.

    Parameters
    ----------
    content : mapping
    config : Path
        Of the file, for messages.

    Raises
    ------
    UsageError
    """
    if "steps_at_once" in content:
        whole_number(f'"steps_at_once" in {str(config)!r}', content["steps_at_once"], 1)
    if not isinstance(content.get("build_environments", False), bool):
        raise UsageError(
            f'"build_environments" in {str(config)!r} must be true or false, got {content["build_environments"]!r}.'
        )


def project_folder(config: Path) -> Path:
    """The folder that a ``config.json`` speaks of: its own, or the one above ``.azureml``."""
    return config.parent.parent if config.parent.name == HIDDEN else config.parent
