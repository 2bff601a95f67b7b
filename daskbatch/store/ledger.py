"""What counts: an append-only file of JSON lines, written by the engine alone.

The first line is the epoch's header::

    {"epoch": 2, "run": "...", "earlier": [["ledger-1.jsonl", 8120]]}

``earlier`` names the ledgers of earlier epochs, oldest first, and how many bytes of each are accepted:
an engine that wakes after another took over writes beyond that, into the void. Every other line is one of::

    {"chunk": ["slot-0.seg", 0, 812, 4096, 40, 2837465]}         these mini-batches are done
    {"tried": [3, 17], "attempt": 2, "error": "RunTimeout"}      the second try of mini-batch 3-17 failed
    {"failed": [3, 17], "error": "RunTimeout", "entry": null}    it has finally failed, or returned too little

A chunk counts once its line is on disk. The other lines become durable with the next chunk, at the latest
at `Ledger.close`; what a crash of the machine takes of them is tried again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daskbatch.errors import RunFailed
from daskbatch.store.segments import sync_folder, write_all
from daskbatch.types import Chunk

__all__ = ["Ledger", "Replay", "replay"]

Key = tuple[int, int]


class Ledger:
    """One epoch's ledger, being written."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self.path = path

    @classmethod
    def create(cls, path: Path, run_id: str, *, epoch: int = 1, earlier: Sequence[tuple[str, int]] = ()) -> Ledger:
        """Begin an epoch.

        Parameters
        ----------
        earlier
            (file name beside `path`, bytes accepted) of each earlier epoch, oldest first.

        Raises
        ------
        FileExistsError
            Someone else has begun this epoch.
        """
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        ledger = cls(fd, path)
        ledger._write([{"epoch": epoch, "run": run_id, "earlier": [list(one) for one in earlier]}])
        os.fsync(fd)
        sync_folder(path.parent)
        return ledger

    def commit(self, *chunks: Chunk) -> None:
        """Make chunks count, and with them all lines before. On return this is durable."""
        self._write([{"chunk": list(chunk)} for chunk in chunks])
        os.fsync(self._fd)

    def attempt_failed(self, mini_batch: Key, attempt: int, error: str) -> None:
        """Note a failed try.

        Parameters
        ----------
        attempt
            Tries charged to the mini-batch so far, this one included.
        error
            Type of the error, such as ``"RunTimeout"``.
        """
        self._write([{"tried": list(mini_batch), "attempt": attempt, "error": error}])

    def failed(self, mini_batch: Key, error: str, entry: Mapping[str, Any] | None = None) -> None:
        """Note a final failure, or missing items of one that succeeded.

        Parameters
        ----------
        entry
            Its line in ``failed_items.jsonl``, where that must survive too.
        """
        self._write([{"failed": list(mini_batch), "error": error, "entry": entry and dict(entry)}])

    def close(self) -> None:
        """Make all lines durable and let go of the file. A second call does nothing."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        write_all(self._fd, text.encode())


@dataclass(slots=True)
class Replay:
    """What the ledgers of all epochs say."""

    run_id: str
    epoch: int
    """The latest."""
    accepted: list[tuple[str, int]]
    """(file name, bytes) of each ledger that was read: the next epoch's ``earlier``."""
    chunks: list[Chunk] = field(default_factory=list)
    """In the order of their commits."""
    tries: dict[Key, int] = field(default_factory=dict)
    """Charged tries of each mini-batch that had a failed one."""
    failed: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """The line of each final failure: ``error`` and ``entry``."""


def replay(path: Path) -> Replay:
    """Read an epoch's ledger and those that it names. A torn last line does not count.

    Raises
    ------
    RunFailed
        A ledger is missing, shorter than what was accepted of it, or damaged before its last line.
    """
    header, lines, size = _read(path, None)
    result = Replay(header["run"], header["epoch"], [])
    for name, accepted in header["earlier"]:
        _, earlier, _ = _read(path.with_name(Path(name).name), accepted)
        _apply(result, earlier)
        result.accepted.append((name, accepted))
    _apply(result, lines)
    result.accepted.append((path.name, size))
    return result


def _read(path: Path, accepted: int | None) -> tuple[dict[str, Any], Iterator[dict[str, Any]], int]:
    """Return the header, the other lines and how many bytes they are."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFailed(f"ledger {path} cannot be read: {error.strerror}") from None
    if accepted is not None:
        if len(data) < accepted:
            raise RunFailed(f"ledger {path} has {len(data)} bytes, {accepted} of them had been accepted")
        data = data[:accepted]
    data = data[: data.rfind(b"\n") + 1]
    lines = _parsed(path, data)
    header = next(lines, {})
    if not {"epoch", "run", "earlier"} <= header.keys():
        raise RunFailed(f"{path} is no ledger: its first line is no header")
    return header, lines, len(data)


def _parsed(path: Path, data: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise RunFailed(f"ledger {path} is damaged in line {number}")
        yield entry


def _apply(result: Replay, lines: Iterator[dict[str, Any]]) -> None:
    for line in lines:
        if "chunk" in line:
            result.chunks.append(Chunk(*line["chunk"]))
        elif "tried" in line:
            file, index = line["tried"]
            result.tries[file, index] = max(line["attempt"], result.tries.get((file, index), 0))
        elif "failed" in line:
            file, index = line["failed"]
            result.failed[file, index] = line
