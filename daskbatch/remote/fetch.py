"""From objects to local files: whole, or some ranges of them."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from daskbatch.remote import others
from daskbatch.remote.errors import ObjectChanged, StorageError, code_of
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.requests import each, once, plain_etag, request, run
from daskbatch.remote.retrying import USUAL, Limit, retried
from daskbatch.remote.urls import shown

__all__ = [
    "AT_ONCE",
    "PIECE",
    "Wanted",
    "fetch",
    "fetch_many",
    "fetch_ranges",
    "read_chunks",
    "read_into_memory",
    "read_range",
]

AT_ONCE = 16
"""Gets that go on at the same time for one caller."""

PIECE = 16 * 2**20
"""Bytes of one get: what has to be fetched again when a connection breaks."""


_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object and where it is to lie."""

    url: str
    path: str
    """Local file; its folder must be there. It appears in one step."""
    size: int | None = None
    """Bytes, as listed; None: not known."""
    token: str = ""
    """The etag, as listed; empty: whatever is there now."""


def fetch(wanted: Wanted, options: StorageOptions = (), limit: Limit = USUAL) -> None:
    """Fetch one object whole.

    Raises
    ------
    ObjectChanged
        Where its size or etag is not the one wanted, or it changes meanwhile.
    StorageError
    """
    if error := fetch_many([wanted], options, limit=limit)[0]:
        raise error


def fetch_many(
    wanted: Sequence[Wanted], options: StorageOptions = (), at_once: int = AT_ONCE, limit: Limit = USUAL
) -> list[StorageError | None]:
    """Fetch objects of one store whole, many at the same time.

    Returns
    -------
    list
        For each its error, None where it is there: one bad object does not end the others. What is wrong with all of
        them, such as credentials, is there as often as it was met.
    """
    if not wanted:
        return []
    file_system = filesystem(wanted[0].url, options)
    outcomes: list[StorageError | None] = [None] * len(wanted)

    def keep(place: int, error: StorageError) -> None:
        outcomes[place] = error

    if not is_s3(file_system):

        def get_other(place: int) -> None:
            try:
                _other_whole(file_system, wanted[place], limit)
            except StorageError as error:
                keep(place, error)

        _at_once(get_other, range(len(wanted)), at_once)
        return outcomes

    async def get(item: tuple[int, Wanted]) -> None:
        try:
            await _whole(file_system, item[1], at_once, limit)
        except StorageError as error:
            keep(item[0], error)

    run(file_system, each(enumerate(wanted), get, min(at_once, len(wanted))))
    return outcomes


def fetch_ranges(
    wanted: Wanted,
    ranges: Iterable[tuple[int, int]],
    options: StorageOptions = (),
    at_once: int = AT_ONCE,
    limit: Limit = USUAL,
) -> None:
    """Fetch ranges ``(start, end)`` into a sparse file that is as long as the object: what reads it finds every byte
    of the ranges at its own offset, and zeros elsewhere.

    A file that is there already is added to.

    Raises
    ------
    ObjectChanged
        As `fetch` does.
    StorageError
    """
    file_system = filesystem(wanted.url, options)
    pieces = [piece for start, end in ranges for piece in _pieces(start, end)]
    number = os.open(wanted.path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if wanted.size is not None:
            os.truncate(number, wanted.size)
        if is_s3(file_system):

            async def get(piece: tuple[int, int]) -> None:
                await _piece(file_system, wanted, number, piece, limit)

            run(file_system, each(pieces, get, at_once))
        else:

            def get_piece(piece: tuple[int, int]) -> None:
                _other_piece(file_system, wanted, number, piece, limit)

            _at_once(get_piece, pieces, at_once)
    finally:
        os.close(number)


def read_range(
    url: str, start: int, end: int, options: StorageOptions = (), token: str = "", limit: Limit = USUAL
) -> bytes:
    """Bytes ``[start, end)`` of an object, into memory. Fewer where the object ends before.

    Raises
    ------
    ObjectChanged
        Where its etag is not `token`, unless that is empty.
    StorageError
    """
    file_system = filesystem(url, options)
    if not is_s3(file_system):
        return others.read(file_system, url, start, end, token, limit)
    try:
        return run(file_system, read_into_memory(file_system, url, start, end, token, limit))
    except StorageError as error:
        if code_of(error) in ("InvalidRange", "416"):  # the object ends before `start`
            return b""
        raise


async def read_into_memory(file_system: Any, url: str, start: int, end: int, token: str, limit: Limit) -> bytes:
    """Do the same as `read_range`, on the client's loop; of an S3 store alone."""
    return b"".join(await read_chunks(file_system, url, start, end, token, limit))


async def read_chunks(file_system: Any, url: str, start: int, end: int, token: str, limit: Limit) -> list[bytes]:
    """Do the same as `read_into_memory`, for who puts together more than that."""
    chunks: list[bytes] = []

    def take(chunk: bytes, _: int) -> None:
        chunks.append(chunk)  # they come in order, after a broken connection too

    await _get(file_system, Wanted(url, "", None, token), (start, end), take, limit)
    return chunks


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    for at in range(start, end, PIECE):
        yield at, min(at + PIECE, end)


def _write(number: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(number, view, at)
        view, at = view[written:], at + written


async def _whole(file_system: Any, wanted: Wanted, at_once: int, limit: Limit) -> None:
    if wanted.size is None:
        head = await request(file_system, "head_object", wanted.url, "asking for it", limit, **_match(wanted))
        wanted = Wanted(wanted.url, wanted.path, int(head["ContentLength"]), wanted.token or plain_etag(head))
    with _Appearing(wanted.path) as number:
        assert wanted.size is not None
        if wanted.size <= PIECE:
            await _piece(file_system, wanted, number, (0, wanted.size), limit)
        else:
            os.truncate(number, wanted.size)
            pieces = _pieces(0, wanted.size)
            await each(pieces, lambda piece: _piece(file_system, wanted, number, piece, limit), at_once)
        if (got := os.fstat(number).st_size) != wanted.size:
            raise _other_size(wanted, got)


async def _piece(file_system: Any, wanted: Wanted, number: int, piece: tuple[int, int], limit: Limit) -> None:
    got = await _get(file_system, wanted, piece, lambda data, at: _write(number, data, at), limit)
    if got != piece[1] - piece[0]:
        raise _other_size(wanted, piece[0] + got)


async def _get(
    file_system: Any,
    wanted: Wanted,
    piece: tuple[int, int],
    take: Callable[[bytes, int], None],
    limit: Limit,
) -> int:
    """Hand the bytes of a piece to `take`, with their offsets; a broken body goes on where it broke. How many."""
    start, end = piece
    at, token, whole = start, wanted.token, start == 0 and end == wanted.size
    if start == end and not whole:
        return 0

    async def attempt(_: int) -> None:
        nonlocal at, token
        if at >= end and at:
            return  # only the end of the body was lost
        wide = None if whole and not at else f"bytes={at}-{end - 1}"
        match = f'"{token}"' if token else None
        async with asyncio.timeout(limit.seconds):  # a body that comes byte by byte never times out by itself
            answer = await once(file_system, "get_object", wanted.url, Range=wide, IfMatch=match)
            seen = plain_etag(answer)
            if token and seen and seen != token:  # a store without If-Match
                raise _changed(wanted, f"its etag was {token} and is {seen}")
            token = token or seen
            async with answer["Body"] as body:
                while chunk := await body.read(2**20):
                    take(chunk, at)
                    at += len(chunk)

    await retried(attempt, wanted.url, "reading", limit)
    return at - start


def _match(wanted: Wanted) -> dict[str, str]:
    return {"IfMatch": f'"{wanted.token}"'} if wanted.token else {}


def _changed(wanted: Wanted, how: str) -> ObjectChanged:
    return ObjectChanged(
        f"{shown(wanted.url)}: the object has changed since it was listed: {how}. Next: start a new run, or bring the"
        " object back."
    )


def _other_size(wanted: Wanted, got: int) -> ObjectChanged:
    return _changed(wanted, f"it had {wanted.size} bytes and has {got}")


class _Appearing:
    """A file under a temporary name beside `path`, which is renamed when all has gone well and else removed."""

    def __init__(self, path: str) -> None:
        self._path = path
        # No longer than any name may be, and no other's: the same object may be fetched twice at the same time.
        name = f".partial-{os.getpid()}-{next(_NUMBERS)}"
        self._partial = os.path.join(os.path.dirname(path), name)

    def __enter__(self) -> int:
        self._number = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        return self._number

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._number)
        if kind is None:
            os.replace(self._partial, self._path)
        else:
            os.unlink(self._partial)


def _at_once(do: Callable[[Any], None], items: Sequence[Any], at_once: int) -> None:
    """Do it for every item in threads, since these calls block. The first error in their order is raised."""
    if len(items) <= 1:
        for item in items:
            do(item)
        return
    with ThreadPoolExecutor(min(at_once, len(items)), thread_name_prefix="daskbatch-fetch") as pool:
        # Each in a copy of this thread's context: what ends this thread's calls ends theirs.
        futures = [pool.submit(contextvars.copy_context().run, do, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _other_whole(file_system: Any, wanted: Wanted, limit: Limit) -> None:
    if not wanted.size:  # of nothing nothing is read that would tell whether it is there
        size, token, _ = others.look(file_system, wanted.url, limit)
        if wanted.token and token != wanted.token:
            raise _changed(wanted, f"its token was {wanted.token} and is {token}")
        if wanted.size is not None and size != wanted.size:
            raise _other_size(wanted, size)
        wanted = Wanted(wanted.url, wanted.path, size, token)
    assert wanted.size is not None
    with _Appearing(wanted.path) as number:
        for start, end in _pieces(0, wanted.size):
            # A byte more than the last: an object that has grown tells so.
            more = int(end == wanted.size)
            data = others.read(file_system, wanted.url, start, end + more, wanted.token, limit)
            if len(data) != end - start:
                raise _other_size(wanted, start + len(data))
            _write(number, data, start)


def _other_piece(file_system: Any, wanted: Wanted, number: int, piece: tuple[int, int], limit: Limit) -> None:
    start, end = piece
    data = others.read(file_system, wanted.url, start, end, wanted.token, limit)
    if len(data) != end - start:
        raise _other_size(wanted, start + len(data))
    _write(number, data, start)
