"""Files and folders that the script is told of, by arguments and as side inputs: what they are like now.

What is told apart elsewhere is left out: the inputs themselves, and the run's own output.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from daskbatch.layout import SIDE_INPUT_VARIABLE, STATE_FOLDER, WORKSPACE_FOLDER
from daskbatch.spec import RunSpec

__all__ = ["changed_paths", "kept_paths", "named_paths", "side_inputs"]

_FILES = 100_000
"""Of a folder among the arguments as many count, so that one such as ``/`` does not hold a run up: a second or so."""
_NOT_DATA = ("__pycache__", ".git", ".ipynb_checkpoints", STATE_FOLDER)
_EVER = 2**63  # nanoseconds: later than all


def side_inputs(spec: RunSpec) -> dict[str, str]:
    """Digest of names, sizes and modification times of each side input of files, by its name."""
    return {name: _state(path, spec, None)[0] for name, path in _sides(spec).items()}


def named_paths(spec: RunSpec) -> dict[str, list[Any]]:
    """What is there under the paths among the arguments.

    Returns
    -------
    dict
        Absolute path to a digest of names, sizes and modification times, and to when something there was last changed.
    """
    return {path: list(_state(path, spec, _FILES)) for path in _named(spec)}


def changed_paths(before: Mapping[str, Any], spec: RunSpec, ended: int, *, reuse: bool) -> list[str]:
    """Paths under which something has changed that the run has not written itself, as far as that can be told.

    Parameters
    ----------
    before : mapping
        What `named_paths` gave when the run began.
    spec : RunSpec
    ended : int
        When the run was last at work, in nanoseconds.
    reuse : bool
        Of a run that is complete only new files that came while it was at work are its own. Of one that goes on all
        that changed then may be, such as a log that it appends to.
    """
    changed = []
    for path, (digest, last) in before.items():
        now, newest = _state(path, spec, _FILES, (last, ended) if reuse else None)
        if (now != digest) if reuse else (now != digest and newest > ended):
            changed.append(path)
    return changed


def kept_paths(before: Mapping[str, Any], spec: RunSpec) -> dict[str, list[Any]]:
    """The same for a run that goes on, None as the digest where a file that it found was changed since."""
    now = {path: _state(path, spec, _FILES, (last, _EVER))[0] for path, (_, last) in before.items()}
    return {path: [digest if digest == now[path] else None, last] for path, (digest, last) in before.items()}


def _sides(spec: RunSpec) -> dict[str, str]:
    start = len(SIDE_INPUT_VARIABLE)
    return {name[start:]: path for name, path in spec.environment_variables if name.startswith(SIDE_INPUT_VARIABLE)}


def _named(spec: RunSpec) -> list[str]:
    """Absolute paths among the arguments, as ``path`` and as ``--option=path``, that are there."""
    known = [*spec.input.paths, *_sides(spec).values(), spec.output, spec.script_folder]
    found: dict[str, None] = {}
    for text in spec.arguments:
        for part in (text, text.partition("=")[2]):
            path = os.path.normpath(os.path.join(spec.folder, part))
            if part and "\0" not in part and not any(_is_in(path, one) for one in known) and _holds_data(path):
                found[path] = None
    return list(found)


def _holds_data(path: str) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)  # others, such as /dev/null, change as they like


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _state(path: str, spec: RunSpec, limit: int | None, without: tuple[int, int] | None = None) -> tuple[str, int]:
    """A digest, and when something there was last changed: in nanoseconds, by the filesystem's own clock.

    That is not the modification time, which a copy can bring along. `without`: files that were changed after the first
    and not after the second moment are none of it.
    """
    digest = hashlib.blake2b(digest_size=16)
    newest = 0
    for count, (relative, status) in enumerate(_walk(path, spec)):
        if count == limit:
            break
        changed = 0 if status is None else status.st_ctime_ns
        newest = max(newest, changed)
        is_folder = status is not None and stat.S_ISDIR(status.st_mode)
        if is_folder or (without is not None and without[0] < changed <= without[1]):
            continue
        what = None if status is None else (status.st_size, status.st_mtime_ns)
        digest.update(os.fsencode(relative) + f"\0{what}\n".encode())
    return digest.hexdigest(), newest


def _walk(path: str, spec: RunSpec) -> Iterator[tuple[str, os.stat_result | None]]:
    own = (spec.output, spec.script_folder)
    waiting = [path]
    while waiting:
        here = waiting.pop()
        yield os.path.relpath(here, path), _stat(here)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:  # a file, or it is gone
            continue
        in_workspace = any(entry.name == "config.json" for entry in entries)
        for entry in entries:
            if entry.name in _NOT_DATA or entry.path in own or (in_workspace and entry.name == WORKSPACE_FOLDER):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                yield os.path.relpath(entry.path, path), _stat(entry.path)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
