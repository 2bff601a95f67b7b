"""One object from many pieces, in order, copied by the server where they are large enough."""

from __future__ import annotations

import contextlib
import itertools
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from daskbatch.remote.errors import ObjectChanged, StorageError
from daskbatch.remote.fetch import PIECE, read_chunks, read_range
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.multipart import (
    MAX_PART_SIZE,
    MAX_PARTS,
    MIN_PART_SIZE,
    Sent,
    Upload,
    abort_upload,
    begun,
    pending_uploads,
)
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import put_bytes, put_file
from daskbatch.remote.requests import each, run
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.urls import shown

__all__ = [
    "Part",
    "Piece",
    "abort",
    "begin",
    "compose",
    "data_piece",
    "finish",
    "parts_of",
    "pending",
    "send_many",
    "send_part",
]

AT_ONCE = 16
"""Parts under way at the same time; those that are gathered are in memory, 5 to 10 MiB each."""

_MOST_PARTS = MAX_PARTS - 100
"""A part more than the arithmetic says must not be one too many."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes ``[start, end)`` of an object, or bytes at hand."""

    url: str = ""
    start: int = 0
    end: int = 0
    token: str = ""
    """The object's etag; empty: whatever is there."""
    data: bytes = b""
    """Instead of an object."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data) if self.data else self.end - self.start

    def cut(self, start: int, end: int) -> Piece:
        """Bytes ``[start, end)`` of this piece."""
        if self.data:
            return Piece(data=self.data[start:end])
        return Piece(self.url, self.start + start, self.start + end, self.token)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload; can be sent by any process that reaches the store."""

    number: int
    """From 1."""
    pieces: tuple[Piece, ...]

    @property
    def copied(self) -> bool:
        """Whether the server copies it; else whoever sends it fetches its pieces and sends their bytes."""
        return len(self.pieces) == 1 and not self.pieces[0].data and self.pieces[0].size >= MIN_PART_SIZE


def data_piece(data: bytes) -> Piece:
    """Bytes at hand, such as a header line."""
    return Piece(data=data)


def parts_of(pieces: Iterable[Piece], smallest: int = MIN_PART_SIZE, largest: int = MAX_PART_SIZE) -> list[Part]:
    """Cut and gather pieces into parts that a store takes: pure arithmetic, the order kept.

    A piece that is too small takes what it lacks from the next ones, so that the rest of a large one can be copied.

    Parameters
    ----------
    smallest, largest
        Bytes of a part. Where there would be more parts than a store takes, `smallest` grows.
    """
    todo = [piece for piece in pieces if piece.size]
    smallest = max(smallest, math.ceil(sum(piece.size for piece in todo) / _MOST_PARTS))
    parts: list[tuple[Piece, ...]] = []
    held: list[Piece] = []
    lacking = smallest
    for piece in todo:
        at = 0
        if held:
            at = min(lacking, piece.size)
            held.append(piece.cut(0, at))
            lacking -= at
            if lacking > 0:
                continue
            parts.append(tuple(held))
            held, lacking = [], smallest
        rest = piece.size - at
        if rest >= smallest:
            count = math.ceil(rest / largest)
            cuts = [at + rest * number // count for number in range(count + 1)]
            parts += [(piece.cut(start, end),) for start, end in itertools.pairwise(cuts)]
        elif rest:
            held.append(piece.cut(at, piece.size))
            lacking = smallest - rest
    if held:
        parts.append(tuple(held))
    return [Part(number, part) for number, part in enumerate(parts, 1)]


def begin(
    url: str, options: StorageOptions = (), record: Callable[[str], object] | None = None, limit: Limit = USUAL
) -> Upload:
    """Begin an upload whose parts other processes send; end it with `finish` or `abort`.

    Parameters
    ----------
    record
        Is called with the upload id before anything is sent: what a later process needs to `abort` it. In this
        thread, so it may wait for other requests. What it raises ends the upload, and Ctrl-C does.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    made: list[Upload] = []  # not a returned value: a Ctrl-C may come when it has begun and before that is here
    try:
        run(file_system, _begin(file_system, url, made, limit))
        if record is not None:
            record(made[0].upload_id)
    except BaseException:
        for upload in made:
            with contextlib.suppress(StorageError):  # what went wrong first is what is told
                abort(url, upload.upload_id, options, limit)
        raise
    return made[0]


async def _begin(file_system: Any, url: str, made: list[Upload], limit: Limit) -> None:
    async with begun(file_system, url, limit=limit) as upload:
        made.append(upload)


def send_part(upload: Upload, part: Part, options: StorageOptions = (), limit: Limit = USUAL) -> Sent:
    """Send one part, from any process. Sending it twice is harmless.

    Raises
    ------
    ObjectChanged
        Where a piece is not what it was.
    StorageError
    """
    file_system = filesystem(upload.url, options)
    return run(file_system, _send(file_system, upload, part, limit))


def send_many(
    upload: Upload, parts: Sequence[Part], options: StorageOptions = (), limit: Limit = USUAL, at_once: int = 8
) -> list[Sent]:
    """Send some parts, several at a time; otherwise as `send_part`.

    Raises
    ------
    ObjectChanged
    StorageError
    """
    file_system = filesystem(upload.url, options)
    sent: list[Sent] = []

    async def send(part: Part) -> None:
        sent.append(await _send(file_system, upload, part, limit))

    run(file_system, each(parts, send, min(at_once, max(1, len(parts)))))
    return sent


def finish(upload: Upload, sent: Sequence[Sent], options: StorageOptions = (), limit: Limit = USUAL) -> str:
    """Let the object appear, in one step; its etag.

    Raises
    ------
    StorageError
        The upload may still be pending: `abort` it.
    """
    file_system = filesystem(upload.url, options)
    return run(file_system, upload.finish(file_system, list(sent), limit))


def abort(url: str, upload_id: str, options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Abort an upload; well too where it is complete or aborted already.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(url, options)
    run(file_system, abort_upload(file_system, url, upload_id, limit))


def pending(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> list[tuple[str, str]]:
    """Keys and upload ids of the uploads pending below a URL."""
    file_system = filesystem(url, options)
    return run(file_system, pending_uploads(file_system, url, limit))


def compose(
    url: str,
    pieces: Iterable[Piece],
    options: StorageOptions = (),
    record: Callable[[str], object] | None = None,
    at_once: int = AT_ONCE,
    limit: Limit = USUAL,
) -> str:
    """Make one object of the pieces, in their order; its etag. It appears in one step.

    Pieces under 5 MiB go through this process; larger ones stay on the store. Filesystems other than S3 have no copy
    of parts: there all goes through a local file.

    Parameters
    ----------
    record
        As for `begin`. After an error or Ctrl-C nothing is left pending; after a kill this is what tells of it.

    Raises
    ------
    ObjectChanged
        Where a piece is not what it was.
    StorageError
    """
    file_system = filesystem(url, options)
    pieces = list(pieces)
    if not is_s3(file_system):
        return _spooled(url, pieces, options, limit)
    parts = parts_of(pieces)
    if len(parts) <= 1 and not any(part.copied for part in parts):
        small = parts[0].pieces if parts else ()
        return put_bytes(url, run(file_system, _gathered(file_system, small, limit)), options, limit)
    return run(file_system, _compose(file_system, url, parts, record, at_once, limit))


async def _compose(
    file_system: Any,
    url: str,
    parts: list[Part],
    record: Callable[[str], object] | None,
    at_once: int,
    limit: Limit,
) -> str:
    async with begun(file_system, url, record, limit) as upload:
        sent: list[Sent] = []

        async def send(part: Part) -> None:
            sent.append(await _send(file_system, upload, part, limit))

        await each(parts, send, at_once)
        return await upload.finish(file_system, sent, limit)


async def _send(file_system: Any, upload: Upload, part: Part, limit: Limit) -> Sent:
    if part.copied:
        piece = part.pieces[0]
        return await upload.copy(file_system, part.number, piece.url, piece.start, piece.end, piece.token, limit)
    return await upload.send(file_system, part.number, await _gathered(file_system, part.pieces, limit), limit)


async def _gathered(file_system: Any, pieces: Sequence[Piece], limit: Limit) -> bytes:
    """Fetch small pieces of one part into memory, in order."""
    found: dict[int, list[bytes]] = {}

    async def get(item: tuple[int, Piece]) -> None:
        place, piece = item
        found[place] = [piece.data] if piece.data else await _exactly(file_system, piece, limit)

    await each(enumerate(pieces), get, max(1, min(AT_ONCE, len(pieces))))
    return b"".join(chunk for place in range(len(pieces)) for chunk in found[place])


async def _exactly(file_system: Any, piece: Piece, limit: Limit) -> list[bytes]:
    chunks = await read_chunks(file_system, piece.url, piece.start, piece.end, piece.token, limit)
    _check(piece, sum(map(len, chunks)))
    return chunks


def _check(piece: Piece, got: int) -> None:
    if got != piece.size:
        raise ObjectChanged(
            f"{shown(piece.url)}: bytes {piece.start} to {piece.end} were to be there, got {got} of them. The object"
            " has changed. Next: start a new run."
        )


def _spooled(url: str, pieces: Sequence[Piece], options: StorageOptions, limit: Limit) -> str:
    with tempfile.NamedTemporaryFile() as spool:
        for piece in pieces:
            if piece.data:
                spool.write(piece.data)
            else:
                for at in range(0, piece.size, PIECE):
                    cut = piece.cut(at, min(at + PIECE, piece.size))
                    data = read_range(cut.url, cut.start, cut.end, options, cut.token, limit)
                    _check(cut, len(data))
                    spool.write(data)
        spool.flush()
        return put_file(url, spool.name, options, limit)
