"""A copy of a step's source directory, made when it is submitted: what is edited then is for later submissions."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.options.source import copy_source
from daskbatch.options.values import local_path

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["with_snapshot"]

_GIVEN_UP = 3600.0
"""Seconds after which a copy that is not whole is left over: it is 300 MB at most."""


def with_snapshot(step: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """The step with a copy of its source directory, which steps with the same content share.

    A step without one stays as it is: its script lies in a folder that may hold anything, and is read when it begins.

    Parameters
    ----------
    step : mapping
        Its document.
    workspace : Workspace
        The copy is in its folder ``snapshots``, under a name that its content gives.

    Raises
    ------
    EntryScriptError
        The directory is too large, leaves the script out, or cannot be read.
    """
    if step["source_directory"] is None:
        return dict(step)
    source = local_path("source_directory", step["source_directory"])
    script = os.path.join(source, step["entry_script"])
    folder = workspace.folder / "snapshots"
    part = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        target = folder / copy_source(source, part, workspace.folder, script)[:32]
        _keep(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return {**step, "source_directory": str(target), "entry_script": os.path.relpath(script, source)}


def _sweep(folder: Path) -> None:
    """Remove copies that nobody can be making any more: whoever made them was killed."""
    for part in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _GIVEN_UP:
                shutil.rmtree(part, ignore_errors=True)


def _keep(part: Path, target: Path) -> None:
    if target.is_dir():
        return
    try:
        part.rename(target)
    except OSError:  # another submission has made the very same one
        if not target.is_dir():
            raise
