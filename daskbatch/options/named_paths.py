"""Files that the script is told of, by arguments and as side inputs: what they are like now.

What is told apart elsewhere is left out: the inputs themselves, the script, and the run's own output.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from daskbatch.layout import SIDE_INPUT_VARIABLE, STATE_FOLDER, WORKSPACE_FOLDER
from daskbatch.spec import RunSpec

__all__ = ["ChangedFile", "changed_files", "file_states", "named_files", "side_inputs"]

_FILES = 1000
_SAMPLE = 2**16  # bytes, of the start and of the end
_NOT_DATA = ("__pycache__", ".git", ".ipynb_checkpoints", STATE_FOLDER)
_NOT_FILES = ("/dev", "/proc", "/sys")  # what is there changes by itself


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that an argument names, which is not as it was."""

    name: str
    """As `named_files` has it."""
    written: int
    """When, in nanoseconds, as the filesystem has it; 0: it is gone."""
    what: str
    """For people, such as ``"its size was 3 bytes, now 5"``."""

    @property
    def path(self) -> str:
        """For people."""
        return os.path.normpath(self.name)


def side_inputs(spec: RunSpec) -> dict[str, str]:
    """Digest of names, sizes and modification times of each side input of files, by its name."""
    return {name: _digest(path, spec) for name, path in _sides(spec).items()}


def named_files(spec: RunSpec) -> dict[str, list[Any]]:
    """The regular files that arguments name, as ``path`` or as ``--option=path``; folders are none of it.

    Returns
    -------
    dict
        Absolute path to size, modification time, inode, device, and a digest of the file's start and end.
    """
    entry = spec.entry
    known = [*spec.input.paths, *_sides(spec).values(), spec.output, spec.script_folder]
    known += [path for path in (entry.script, entry.source_directory) if path is not None]
    known = [*map(os.path.realpath, known), *_NOT_FILES]
    found: dict[str, None] = {}
    for text in spec.arguments:
        for part in (text, text.partition("=")[2] if text.startswith("-") else ""):
            path = os.path.join(spec.folder, part)
            if not part or "\0" in part or path in found or len(found) == _FILES:
                continue
            # As it is given too: /dev/stdout leads to wherever a shell has put it
            places = (os.path.normpath(path), os.path.realpath(path))
            if os.path.isfile(path) and not any(_is_known(place, known) for place in places):
                found[path] = None
    return file_states(found)


def file_states(paths: Iterable[str]) -> dict[str, list[Any]]:
    """The same of files by their paths; those that are gone are left out."""
    found: dict[str, list[Any]] = {}
    for path in paths:
        status = _stat(path)
        if status is not None and stat.S_ISREG(status.st_mode):
            sample = _sample(path, status.st_size)
            found[path] = [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev, sample]
    return found


def changed_files(before: Mapping[str, Any]) -> list[ChangedFile]:
    """Those of them that are not as they were. One that was only appended to is a log: it is as it was.

    Parameters
    ----------
    before : mapping
        What `named_files` gave when the run began.
    """
    changed = []
    for path, (size, written, inode, device, sample) in before.items():
        now = _stat(path)
        if now is None:
            changed.append(ChangedFile(path, 0, "it is gone"))
        elif (now.st_size, now.st_mtime_ns) != (size, written):
            grown = (now.st_ino, now.st_dev) == (inode, device) and now.st_size > size
            if grown and sample is not None and _sample(path, size) == sample:
                continue
            what = f"its size was {size} bytes, now {now.st_size}"
            if now.st_size == size:
                what = f"it was last written at {_moment(written)}, now at {_moment(now.st_mtime_ns)}"
            changed.append(ChangedFile(path, now.st_mtime_ns, what))
    return changed


def _moment(nanoseconds: int) -> str:
    return dt.datetime.fromtimestamp(nanoseconds / 1e9).astimezone().isoformat(sep=" ", timespec="milliseconds")


def _sides(spec: RunSpec) -> dict[str, str]:
    start = len(SIDE_INPUT_VARIABLE)
    return {name[start:]: path for name, path in spec.environment_variables if name.startswith(SIDE_INPUT_VARIABLE)}


def _is_known(path: str, known: list[str]) -> bool:
    if STATE_FOLDER in path.split(os.sep):
        return True
    return any(path.startswith(one.rstrip(os.sep) + os.sep) or PurePath(path).match(one) for one in known)


def _sample(path: str, size: int) -> str | None:
    """Digest of start and end of the file's first `size` bytes, None where it cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            digest.update(file.read(min(size, _SAMPLE)))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(min(size, _SAMPLE)))
    except OSError:
        return None
    return digest.hexdigest()


def _digest(path: str, spec: RunSpec) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for relative, status in _walk(path, spec):
        if status is None or not stat.S_ISDIR(status.st_mode):
            what = None if status is None else (status.st_size, status.st_mtime_ns)
            digest.update(os.fsencode(relative) + f"\0{what}\n".encode())
    return digest.hexdigest()


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
