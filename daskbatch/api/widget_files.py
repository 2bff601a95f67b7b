"""Ends of logs and the first failures, for RunDetails to show: read again only where they have grown."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daskbatch.layout import FAILED_ITEMS, LOGS
from daskbatch.report.words import quantity

__all__ = ["MOST_FAILURES", "FailedFile", "Failure", "LogEnd", "LogFile", "latest_file"]

MOST_FAILURES = 10
"""Failed mini-batches shown of a step; there may be millions."""
MOST_LINES = 40
"""Of a log."""

_MOST_BYTES = 16 * 1024  # of a log
_LONGEST_ENTRY = 4 * 1024**2  # bytes; a mini-batch may have thousands of paths
_LONGEST = 300  # characters of an error's message
_MOST_PATHS = 20
_MOST_TRACEBACK = 8_000  # characters
_MOST_FILES = 400  # looked at for the latest log: a large run has a file for each process
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_FRAME = re.compile(r'^ *File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The last lines of a log."""

    name: str
    path: Path
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A mini-batch that has finally failed, or returned too little."""

    name: str
    """Its files in short."""
    error: str
    message: str
    """The first line."""
    where: str
    """File, line and function of the user's code, where they are known."""
    paths: tuple[str, ...]
    traceback: str
    told: str
    """Which mini-batch, after how many tries, where."""


class LogFile:
    """The end of a log that may be growing."""

    def __init__(self) -> None:
        self._seen: tuple[Path, int, int] | None = None
        self._end: LogEnd | None = None

    def read(self, name: str, path: Path | None) -> LogEnd | None:
        """Its last lines, None where there are none."""
        try:
            if path is None or not stat.S_ISREG((now := path.stat()).st_mode) or not now.st_size:
                return None
            if self._seen == (path, now.st_size, now.st_mtime_ns):
                return self._end
            self._seen = (path, now.st_size, now.st_mtime_ns)
            with path.open("rb") as file:
                file.seek(max(0, now.st_size - _MOST_BYTES))
                data = file.read(_MOST_BYTES)
        except OSError:
            return None
        if now.st_size > _MOST_BYTES:
            data = data.partition(b"\n")[2] or data
        lines = data.decode(errors="replace").rstrip("\r\n").split("\n")[-MOST_LINES:]
        self._end = LogEnd(name, path, tuple(_plain(line) for line in lines))
        return self._end


class FailedFile:
    """The first lines of ``failed_items.jsonl``, which may be growing."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FAILED_ITEMS
        self._seen: tuple[int, int] | None = None
        self._found: tuple[Failure, ...] = ()

    def read(self) -> tuple[Failure, ...]:
        """The first failures."""
        try:
            now = self.path.stat()
            seen, self._seen = self._seen, (now.st_ino, now.st_size)
            grown = seen is None or seen[0] != now.st_ino or seen[1] > now.st_size
            if not grown and (seen == self._seen or len(self._found) == MOST_FAILURES):
                return self._found
            with self.path.open("rb") as file:
                lines = [file.readline(_LONGEST_ENTRY) for _ in range(MOST_FAILURES)]
        except OSError:
            self._seen, self._found = None, ()
            return self._found
        entries = [entry for line in lines if line.endswith(b"\n") and (entry := _entry(line))]
        alike = _alike([entry["paths"][0] for entry in entries if entry["paths"]])
        self._found = tuple(_of(entry, alike) for entry in entries)
        return self._found


def latest_file(folder: Path, kind: str) -> Path | None:
    """Where the user's code has written last: of the files of all processes below ``logs/user/<kind>``."""
    best, newest = None, -1
    looked = 0
    try:
        with os.scandir(folder / LOGS / "user" / kind) as nodes:
            for node in nodes:
                if looked >= _MOST_FILES or not node.is_dir(follow_symlinks=False):
                    continue
                with os.scandir(node.path) as files:
                    for file in files:
                        looked += 1
                        now = file.stat(follow_symlinks=False)
                        if now.st_size and now.st_mtime_ns > newest:
                            best, newest = Path(file.path), now.st_mtime_ns
                        if looked >= _MOST_FILES:
                            break
    except OSError:
        return best
    return best


def _plain(line: str) -> str:
    """What a terminal would show in the end: a progress bar draws itself again and again."""
    return _TERMINAL.sub("", line.rstrip("\r").rpartition("\r")[2])


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            return None
        made = {**entry, "paths": [str(path) for path in entry.get("paths") or ()]}
        _of(made, ())
    except (ValueError, LookupError, TypeError):
        return None
    return made


def _alike(paths: Iterable[str]) -> set[str]:
    """Names of files that are in several folders."""
    folders: dict[str, set[str]] = {}
    for path in paths:
        folder, name = os.path.split(path.rstrip("/"))
        folders.setdefault(name, set()).add(folder)
    return {name for name, inside in folders.items() if len(inside) > 1}


def _of(entry: Mapping[str, Any], alike: Container[str]) -> Failure:
    paths = entry["paths"]
    shown = paths[:_MOST_PATHS]
    if len(paths) > _MOST_PATHS:
        shown.append(f"and {quantity(len(paths) - _MOST_PATHS, 'other')}")
    traceback = str(entry.get("traceback") or "").rstrip()
    frames = _FRAME.findall(traceback)
    where = "{}:{} in {}".format(os.path.basename(frames[-1][0]), *frames[-1][1:]) if frames else ""
    told = [f"Mini-batch {entry['mini_batch']}"]
    if entry.get("tries"):
        told.append(f"after {quantity(entry['tries'], 'try')}")
    if entry.get("worker"):
        told.append(f"last on {entry['worker']}")
    return Failure(
        name=_name(entry, paths, alike),
        error=str(entry["error"]),
        message=_short(str(entry["message"])),
        where=where,
        paths=tuple(shown),
        traceback=traceback if len(traceback) <= _MOST_TRACEBACK else f"...{traceback[-_MOST_TRACEBACK:]}",
        told=", ".join(told),
    )


def _name(entry: Mapping[str, Any], paths: list[str], alike: Container[str]) -> str:
    """The files of a mini-batch; its own name where it has none, as in a collection."""
    if not paths:
        return f"mini-batch {entry['mini_batch']}"
    folder, text = os.path.split(paths[0].rstrip("/"))
    if text in alike:
        text = os.path.join(os.path.basename(folder), text)
    if len(paths) > 1:
        text += f" and {quantity(len(paths) - 1, 'other')}"
    if "range" not in entry:
        return text
    if "row_group" in entry or paths[0].lower().endswith((".parquet", ".pq")):
        group = entry.get("row_group", 0)
        return text + ", rows {} to {}".format(*entry["range"]) + (f" from row group {group} on" if group else "")
    return text + ", bytes {} to {}".format(*entry["range"])


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
