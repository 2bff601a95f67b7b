"""The bytes between a Dask worker and its runner.

Downwards (work pipe): frames of two lengths, a JSON text and an Arrow blob.
Upwards (result pipe): a fixed header and a payload. Beside the pipes lies one shared
page: the runner writes there what it is doing, so that the supervisor can watch deadlines
without a message per mini-batch, and the worker sets the stop flag there.

Runs in the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

from daskbatch.store.checksum import crc32
from daskbatch.types import UNKNOWN_ITEMS, MiniBatch, MiniBatchSize, TableFormat

__all__ = [
    "COLUMNS",
    "EMPTY",
    "END",
    "FAILED",
    "IDLE",
    "PAGE_SIZE",
    "PHASE_NAMES",
    "READ",
    "READY",
    "RESULT",
    "RUN",
    "SHUTDOWN",
    "START",
    "Frame",
    "FrameReader",
    "NotAFrame",
    "Page",
    "PageState",
    "anonymous_file",
    "decode_row",
    "encode_row",
    "pack_frame",
    "read_exactly",
    "seal_page",
    "send_work",
    "table_format",
]

# Frames upwards.
READY = b"R"  # init() is done; payload: JSON {"init_seconds"}
RESULT = b"O"  # one mini-batch succeeded; payload: its result
EMPTY = b"N"  # a range without records: no run(), nothing to count
FAILED = b"F"  # one try, or init(), failed; payload: JSON of the failure
COLUMNS = b"C"  # the column signature that later results mean by their number
END = b"E"  # the row is over; payload: JSON {"whole"}: false when the time budget or a stop cut it

_MAGIC = b"dskb"
_HEADER = struct.Struct("<4scIIIIIIQId")
_LENGTHS = struct.Struct("<QQ")
_BUFFER_BYTES = 1 << 18  # at the beginning; it grows with the frames
_KEPT_BYTES = 1 << 22  # a larger one goes with its frame

# Phases, as the shared page tells them.
IDLE, START, READ, RUN, SHUTDOWN = range(5)
PHASE_NAMES = ("idle", "start", "read", "run", "shutdown")

PAGE_SIZE = 4096
_STATE = struct.Struct("<dIIII")  # began, phase, file, index, items
_STATE_AT = 8


class PageState(NamedTuple):
    """What a runner is doing."""

    began: float
    """``time.monotonic()`` at the beginning of the phase; the clock is one for the host."""
    phase: int
    file: int
    index: int  # type: ignore[assignment]
    items: int


class Page:
    """The shared page, over any writable buffer of `PAGE_SIZE` bytes."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def enter(self, phase: int, file: int = 0, index: int = 0, items: int = UNKNOWN_ITEMS) -> None:
        """Runner: the phase begins now."""
        _STATE.pack_into(self.buffer, _STATE_AT, time.monotonic(), phase, file, index, items)

    def state(self) -> PageState:
        """Supervisor: the present phase. May be torn; read twice before acting on it."""
        state = PageState(*_STATE.unpack_from(self.buffer, _STATE_AT))
        # Where the page cannot be sealed, user code may have written on it.
        return state if state.phase < len(PHASE_NAMES) else state._replace(phase=RUN)

    def request_stop(self) -> None:
        """Worker: end the row after the present mini-batch."""
        self.buffer[0] = 1

    def clear_stop(self) -> None:
        """Worker: a new row may run."""
        self.buffer[0] = 0

    @property
    def stop(self) -> bool:
        """Whether the row is to end after the present mini-batch."""
        return bool(self.buffer[0])


class Frame(NamedTuple):
    """One message of a runner."""

    kind: bytes
    file: int
    index: int  # type: ignore[assignment]
    items: int
    returned: int
    rows: int
    columns: int
    checksum: int
    seconds: float
    payload: bytes

    def json(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.payload)


# What ``_make`` does, without a Python function's call for each of a million.
_FRAME = partial(tuple.__new__, Frame)
_MINI_BATCH = partial(tuple.__new__, MiniBatch)


def pack_frame(
    kind: bytes,
    payload: bytes = b"",
    file: int = 0,
    index: int = 0,
    items: int = 0,
    returned: int = 0,
    rows: int = 0,
    columns: int = 0,
    seconds: float = 0.0,
) -> bytes:
    """One frame, checksum included."""
    numbers = (file, index, items, returned, rows, columns, len(payload), crc32(payload))
    head = _HEADER.pack(_MAGIC, kind, *numbers, seconds)
    return head + payload


class NotAFrame(Exception):
    """Raised when bytes on a result pipe are no frame: user code has written there."""


class FrameReader:
    """Cuts what comes through a result pipe into frames, in one buffer for all; a torn last frame stays unread."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0  # of what is not yet read

    def read(self, fd: int) -> int:
        """Take what the pipe holds, as far as there is room; `frames` makes room.

        Returns
        -------
        int
            Bytes; 0 at the pipe's end.
        """
        got = os.readv(fd, [memoryview(self._buffer)[self._end :]])
        self._end += got
        return got

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that are whole now.

        Raises
        ------
        NotAFrame
            After all frames before it.
        """
        buffer, at, end, head = self._buffer, self._begin, self._end, _HEADER.size
        view, torn = memoryview(buffer), 0
        try:
            while end - at >= head:
                fields = _HEADER.unpack_from(buffer, at)
                magic, kind, file, index, items, returned, rows, columns, length, crc, seconds = fields
                if magic != _MAGIC:
                    raise NotAFrame
                stop = at + head + length
                if stop > end:
                    torn = head + length
                    break
                payload = bytes(view[at + head : stop])
                if crc32(payload) != crc:
                    raise NotAFrame
                at = stop
                yield _FRAME((kind, file, index, items, returned, rows, columns, crc, seconds, payload))
        finally:
            self._begin = at
            self._make_room(torn)

    def _make_room(self, torn: int) -> None:
        """Have room for more of a frame of that size. Each byte is moved a few times at most, however it comes.

        The buffer grows with what is there, and not with what a frame says of itself: its header may be forged.
        """
        buffer, begin, end = self._buffer, self._begin, self._end
        rest = end - begin
        if not rest:
            if len(buffer) > _KEPT_BYTES:
                self._buffer = bytearray(_BUFFER_BYTES)
        elif rest <= begin:
            buffer[:rest] = buffer[begin:end]
        elif end == len(buffer):
            self._buffer = bytearray(min(2 * end, max(torn, end + _BUFFER_BYTES)))
            self._buffer[:rest] = buffer[begin:end]
        else:
            return
        self._begin, self._end = 0, rest


def encode_row(mini_batches: Iterable[MiniBatch], budget: float, retries: Mapping[tuple[int, int], int]) -> bytes:
    """A row of mini-batches with its time budget in seconds, as the runner reads it.

    `retries` holds the failed tries so far of those that had any.
    """
    # Field by field, and not one list a mini-batch: most fields are the same all along, and few lists are read fast.
    columns = list(zip(*mini_batches))
    work = [_packed(column) for column in columns]
    tries = [[*key, count] for key, count in retries.items()]
    count = len(columns[0]) if columns else 0
    row = json.dumps({"budget": budget, "count": count, "work": work, "retries": tries}, separators=(",", ":"))
    # Paths shrink to a tenth for half a microsecond each. A Dask scheduler keeps its last thousand messages.
    return zlib.compress(row.encode(), 1)


def decode_row(data: bytes) -> tuple[Iterator[MiniBatch], float, dict[tuple[int, int], int]]:
    """The inverse of `encode_row`. The mini-batches are made one by one: some ten thousand at once would cost more."""
    row = json.loads(zlib.decompress(data))
    columns = [_unpacked(packed, row["count"]) for packed in row["work"]]
    work = map(_MINI_BATCH, zip(*columns))
    return work, row["budget"], {(file, index): count for file, index, count in row["retries"]}


def _packed(column: tuple[Any, ...]) -> dict[str, Any]:
    """One field of many mini-batches."""
    if column[0] == column[-1] and column.count(column[0]) == len(column):
        return {"all": column[0]}
    if not isinstance(column[0], tuple):
        return {"each": column}
    widths = set(map(len, column))
    return {"flat": list(chain.from_iterable(column)), "widths": list(widths if len(widths) == 1 else map(len, column))}


def _unpacked(packed: Mapping[str, Any], count: int) -> Iterable[Any]:
    if "all" in packed:
        value = packed["all"]
        return repeat(tuple(value) if isinstance(value, list) else value, count)
    if "each" in packed:
        return packed["each"]  # type: ignore[no-any-return]
    values, widths = iter(packed["flat"]), packed["widths"]
    if len(widths) == 1:
        return zip(*[values] * widths[0])
    return (tuple(islice(values, width)) for width in widths)


def table_format(fields: Mapping[str, Any]) -> TableFormat:
    """A `TableFormat` from its ``_asdict()`` after JSON."""
    values = dict(fields)
    values["size"] = MiniBatchSize(*values["size"])
    for name in ("columns", "dtype"):
        values[name] = tuple(tuple(pair) for pair in values[name])
    values["selection"] = tuple(values.get("selection", ()))  # a plan of an earlier version has none
    return TableFormat(**values)


def anonymous_file() -> int:
    """A descriptor of a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("daskbatch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal_page(fd: int) -> None:
    """From here on the page is written through the mappings that are there, and not through a descriptor."""
    with contextlib.suppress(OSError, AttributeError):  # macOS, Linux before 5.1
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE


def send_work(fd: int, message: bytes, blob: bytes | memoryview = b"") -> None:
    """Write one downward frame whole."""
    for part in (_LENGTHS.pack(len(message), len(blob)), message, blob):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]


def read_exactly(fd: int) -> tuple[bytes, bytes] | None:
    """Read one downward frame; None at the end of the pipe."""
    head = _read(fd, _LENGTHS.size)
    if head is None:
        return None
    message_length, blob_length = _LENGTHS.unpack(head)
    message = _read(fd, message_length)
    blob = _read(fd, blob_length)
    return None if message is None or blob is None else (message, blob)


def _read(fd: int, length: int) -> bytes | None:
    parts = []
    while length:
        part = os.read(fd, min(length, 1 << 20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
