"""Read the ledgers of all epochs back.

To do a mini-batch again is always right, only slow. So what cannot be read of a ledger does not count, and a
word about it goes to the user; nothing here fails but where there is no ledger at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daskbatch.errors import RunFailed
from daskbatch.store.checksum import crc32
from daskbatch.store.ledger import is_sealed
from daskbatch.types import Chunk

__all__ = ["Replay", "has_ended", "header_of", "is_begun", "replay"]

Key = tuple[int, int]
_LINES = 4096  # parsed at once
_LAST_LINE = 200  # bytes; more than the line of an end has


@dataclass(slots=True)
class Replay:
    """What the ledgers of all epochs say."""

    run_id: str
    epoch: int
    """The latest."""
    accepted: list[tuple[str, int]] = field(default_factory=list)
    """(file name, bytes) of each ledger that was read: the next epoch's ``earlier``."""
    chunks: list[Chunk] = field(default_factory=list)
    """In the order of their commits."""
    streams: set[int] = field(default_factory=set)
    """Files whose streams have come to their end."""
    tries: dict[Key, int] = field(default_factory=dict)
    """Charged tries of each mini-batch that had a failed one."""
    tried: int = 0
    """Failed tries in total."""
    failed: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """The line of each final failure, and of each mini-batch that returned too little: ``error`` and ``entry``."""
    listed: tuple[int, str] | None = None
    """How far an input was listed while work was done already: files, and their digest."""
    ended: str | None = None
    """How the latest epoch ended; None: it goes on, or was killed."""
    uploads: list[tuple[str, str]] = field(default_factory=list)
    """(URL, upload id) of each upload that was begun, pending or not."""
    damage: list[str] = field(default_factory=list)
    """What could not be read, for people."""


def header_of(path: Path) -> dict[str, Any] | None:
    """The first line of a ledger; None where there is none yet."""
    try:
        with path.open("rb") as file:
            first = file.readline()
    except FileNotFoundError:
        return None
    return _header(first) if first.endswith(b"\n") else None


def is_begun(path: Path) -> bool:
    """Whether the ledger at `path` has a header: its engine was not killed before it had written one."""
    return header_of(path) is not None


def has_ended(path: Path) -> bool:
    """Whether the engine that writes the ledger has ended in order, or has lost it. Reads the last line alone."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_LINE))
            last = file.read().splitlines(keepends=True)[-1:]
    except FileNotFoundError:  # somebody has discarded the run
        return True
    return bool(last) and last[0].startswith(b'{"ended":') and last[0].endswith(b"\n")


def replay(path: Path) -> Replay:
    """Read an epoch's ledger and those that it names. A torn last line does not count.

    Raises
    ------
    RunFailed
        The ledger cannot be read or is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFailed(f"ledger {path} cannot be read: {error.strerror}") from None
    header = _header(data[: data.find(b"\n") + 1])
    if header is None:
        raise RunFailed(f"{path} is no ledger: its first line is no header")
    result = Replay(header["run"], header["epoch"])
    for name, accepted in header["earlier"]:
        earlier = path.with_name(Path(name).name)
        size = _apply(result, earlier, _earlier(result, earlier, accepted))
        result.accepted.append((name, size))
    result.ended = None
    result.accepted.append((path.name, _apply(result, path, data)))
    if result.damage:
        result.streams.clear()  # of results that came right before such an end the lines may be lost
    return result


def _header(line: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(line)
    except ValueError:
        return None
    return header if isinstance(header, dict) and {"epoch", "run", "earlier"} <= header.keys() else None


def _earlier(result: Replay, path: Path, accepted: int) -> bytes:
    """The accepted bytes of an earlier epoch, as far as they are there."""
    try:
        data = path.read_bytes()
    except OSError as error:
        result.damage.append(f"ledger {path} cannot be read: {error.strerror}")
        return b""
    if len(data) < accepted:
        result.damage.append(f"ledger {path} has {len(data)} bytes, {accepted} of them had been accepted")
    return data[:accepted]


def _apply(result: Replay, path: Path, data: bytes) -> int:
    """Take in what whole lines say; return how many bytes count."""
    whole = data[: data.rfind(b"\n") + 1]
    size = 0
    for line in _parsed(whole):
        if line is None:
            result.damage.append(f"ledger {path} is damaged after {size} bytes; what comes behind does not count")
            return size
        value, length = line
        _take(result, value)
        size += length
    return size


def _parsed(data: bytes) -> Iterator[tuple[dict[str, Any], int] | None]:
    """Lines, and how many bytes each is; None where one is not as it was written."""
    raw = data.splitlines(keepends=True)
    checksum = 0
    for start in range(0, len(raw), _LINES):
        some = []
        for line in raw[start : start + _LINES]:
            if not is_sealed(line, checksum):
                break
            some.append(line)
            checksum = crc32(line, checksum)
        # One call for many is twice as fast.
        yield from zip(json.loads(b"[" + b",".join(some) + b"]"), map(len, some), strict=True)
        if len(some) < len(raw[start : start + _LINES]):
            yield None


def _take(result: Replay, line: dict[str, Any]) -> None:
    if "gathered" in line:
        parts = {(segment, offset) for segment, offset in line["gathered"]}
        result.chunks = [chunk for chunk in result.chunks if (chunk.segment, chunk.offset) not in parts]
    if "chunk" in line:
        result.chunks.append(Chunk(*line["chunk"]))
    if "streams" in line:
        result.streams.update(line["streams"])
    if "tried" in line:
        file, index = line["tried"]
        result.tries[file, index] = max(line["attempt"], result.tries.get((file, index), 0))
        result.tried += 1
    elif "failed" in line:
        file, index = line["failed"]
        result.failed[file, index] = line
    elif "void" in line:
        gone = None if line["void"] is None else tuple(line["void"])
        result.chunks = [chunk for chunk in result.chunks if (chunk.segment, chunk.offset) != gone]
        result.streams.clear()  # their last results may have been in it: they are read on after what is left
    elif "listed" in line:
        files, digest = line["listed"]
        result.listed = files, digest
    elif "cleared" in line:
        _clear(result)
    elif "upload" in line:
        url, upload_id = line["upload"]
        result.uploads.append((url, upload_id))
    elif "ended" in line:
        result.ended = line["ended"]


def _clear(result: Replay) -> None:
    """Failures are forgotten; of a mini-batch that returned too little the results stay, and so does its line."""
    for key, line in list(result.failed.items()):
        if "missing" not in (line["entry"] or {}):
            del result.failed[key]
            result.streams.discard(key[0])
    # Streams with something to be tried again are read on after what is settled: it may have been their last.
    result.streams.difference_update(file for file, _ in result.tries)
    result.tries.clear()
