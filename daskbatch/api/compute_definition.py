"""Finds the definition of a compute target: a file, or a name in the workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskbatch.api.compute import ComputeTarget, target_names
from daskbatch.api.workspace import Workspace
from daskbatch.api.yaml_files import read_yaml
from daskbatch.errors import NotFound, UsageError
from daskbatch.nearest import nearest
from daskbatch.options.compute import COMPUTES

__all__ = ["definition_of", "place_of", "with_definition"]


def with_definition(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run, with the definition in the place of the name or file that stands for it."""
    given = options.get("compute")
    return dict(options) if given is None else {**options, "compute": definition_of(given)}


def definition_of(given: object) -> object:
    """What ``compute`` stands for.

    Parameters
    ----------
    given : str, path, mapping or ComputeTarget
        ``"local"`` and ``"serial"`` stand for themselves; a name is looked up in the workspace of the current folder.

    Raises
    ------
    UsageError
        There is no such file or name.
    """
    if isinstance(given, ComputeTarget):
        return given.definition()
    if not isinstance(given, (str, os.PathLike)):
        return given
    text = os.fspath(given)
    if text.strip().lower() in COMPUTES:
        return text
    if _is_file(text):
        content, file = read_yaml(os.path.expanduser(text), "compute target")  # JSON is YAML
        return {"name": file.stem, **content}
    try:
        workspace = Workspace.from_config()
    except NotFound:
        raise UsageError(
            f"compute must be local, serial, a file such as slurm.yml, or a name in the workspace of this folder, got"
            f" {text!r}, and there is no workspace here. Next: 'daskbatch init', then 'daskbatch compute add'; or write"
            " a file: docs/hpc.md."
        ) from None
    known = target_names(workspace)
    if text not in known:
        raise UsageError(
            f"There is no compute target {text!r} in {str(workspace.folder)!r}.{nearest(text, known)} There are:"
            f" {', '.join(known)}."
        )
    return ComputeTarget(workspace, text).definition()


def place_of(given: str) -> str:
    """Where what `definition_of` finds is kept, in words for the user."""
    if given.strip().lower() in COMPUTES:
        return "this machine"
    if _is_file(given):
        return str(Path(os.path.expanduser(given)).absolute())
    return str(ComputeTarget(Workspace.from_config(), given).path)


def _is_file(text: str) -> bool:
    return Path(text).suffix.lower() in (".yml", ".yaml", ".json")
