"""Which version of a model a run uses: one, in all its processes and lives, whatever is registered meanwhile.

In a pipeline it is the latest at submission; else, and for models that are registered later, the latest when the first
process asks. The answer is noted in the run's private folder, which also tells later what the run has used.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from daskbatch.layout import MODELS_USED_VARIABLE, MODELS_VARIABLE, WORKSPACE_VARIABLE

__all__ = ["Used", "pinned", "submitted", "used"]


class Used(NamedTuple):
    """A model that a run has asked for without a version."""

    root: str
    """Of the workspace."""
    name: str
    version: int


def pinned(environment: Mapping[str, str], root: str, name: str, latest: int) -> int:
    """Return the version that this run uses, and note it if nobody has asked yet.

    Parameters
    ----------
    environment : mapping
        The run's variables.
    root : str
        Root of the workspace.
    name : str
    latest : int
        The version that is the latest now.
    """
    folder = environment.get(MODELS_USED_VARIABLE)
    root = os.path.abspath(root)
    wanted = submitted(environment, root).get(name, latest)
    if not folder or not os.path.isdir(os.path.dirname(folder)):
        return wanted
    path = os.path.join(folder, hashlib.sha256(f"{root}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32])
    known = _read(path)
    if known is None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _note(path, Used(root, name, wanted))
        known = _read(path)
    return wanted if known is None else known.version


def submitted(environment: Mapping[str, str], root: str) -> dict[str, int]:
    """Return the versions that were the latest when the pipeline was submitted; nothing outside of one."""
    path = environment.get(MODELS_VARIABLE)
    if not path or os.path.abspath(environment.get(WORKSPACE_VARIABLE, "")) != os.path.abspath(root):
        return {}
    found = _json(path)
    return dict(found.get("models") or {}) if isinstance(found, dict) else {}


def used(folder: str) -> list[Used]:
    """Return what the processes of a run have noted there, by name."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = (_read(os.path.join(folder, name)) for name in names)
    return sorted(one for one in found if one is not None)


def _note(path: str, what: Used) -> None:
    """Have the file there whole, or leave that of who was quicker."""
    part = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with open(part, "w", encoding="utf-8") as file:
            json.dump(what, file)
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        except OSError:  # a filesystem without links: all who are as quick have the same answer, but for a moment
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def _read(path: str) -> Used | None:
    found = _json(path)
    return Used(*found) if isinstance(found, list) and len(found) == len(Used._fields) else None


def _json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
