"""Get the bytes of a text table's mini-batches: ranges of plain files. Streams are in `inputs_stream`.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from daskbatch.errors import MiniBatchError
from daskbatch.types import MiniBatch, TableFormat

__all__ = [
    "Opener",
    "Piece",
    "TextFile",
    "cuts_at_newline_bytes",
    "is_scanned",
    "is_stream",
    "open_file",
    "open_text",
    "reads_as_utf8",
    "record_scanner",
    "text_is_utf8",
]

_PAGE = 256 * 1024
"""Bytes read at least: small mini-batches share a page."""

_AHEAD = 16 * 1024
"""Bytes read past a range: a guess at a record's length, so that one read is mostly enough."""

_BOM = b"\xef\xbb\xbf"


Opener = Callable[[str], BinaryIO]


class Piece(NamedTuple):
    """The records of one mini-batch, still as text."""

    data: bytes
    """Whole records, without the header."""
    begin: int
    """First byte's place in the text, for messages."""


def reads_as_utf8(encoding: str) -> bool:
    """Whether the bytes need no decoding. A byte order mark is dealt with elsewhere."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def cuts_at_newline_bytes(encoding: str) -> bool:
    """Whether each newline byte is a newline, so that raw bytes can be cut there."""
    name = codecs.lookup(encoding).name
    if name == "utf-8-sig":
        return True
    shifting = name.startswith(("utf-7", "hz", "iso2022", "iso-2022", "idna", "punycode"))
    return not shifting and '\r\n",'.encode(name) == b'\r\n",'


def text_is_utf8(table: TableFormat) -> bool:
    """Whether what `open_text` gives is UTF-8."""
    return reads_as_utf8(table.encoding) or not cuts_at_newline_bytes(table.encoding)


def is_stream(path: str, table: TableFormat) -> bool:
    """Whether a text file can only be read from its beginning."""
    return path.lower().endswith(".gz") or not cuts_at_newline_bytes(table.encoding)


def is_scanned(table: TableFormat) -> bool:
    """Whether the ranges of plain text are exact, found by a scan, and not arithmetic."""
    return table.size.kind == "rows" or (table.multi_line and table.format == "csv")


def open_file(path: str) -> BinaryIO:
    """Open a file of this host to read bytes."""
    return open(path, "rb")


def open_text(path: str, table: TableFormat, opener: Opener = open_file) -> Iterator[bytes]:
    """Blocks of a text file: unzipped, and in UTF-8 where its own bytes cannot be cut.

    Parameters
    ----------
    opener
        Opens what `path` names, to read bytes.

    Raises
    ------
    MiniBatchError
        Where the file is damaged.
    """
    size = max(1024**2, min(table.size.value if table.size.kind == "bytes" else 0, 16 * 1024**2))
    decoder = None
    if not cuts_at_newline_bytes(table.encoding):
        decoder = codecs.getincrementaldecoder(table.encoding)()
    with opener(path) as raw, gzip.open(raw, "rb") if path.lower().endswith(".gz") else raw as file:
        while True:
            try:
                block = file.read(size)
                if decoder is not None:
                    text = decoder.decode(block, final=not block)
                    if text or not block:
                        yield text.encode("utf-8")
                    if not block:
                        return
                    continue
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise MiniBatchError(f"{path} is damaged gzip: {error}. Write the file again.") from error
            except UnicodeDecodeError as error:
                raise MiniBatchError(f"{path} is not {table.encoding}: {error}. Give its encoding=.") from error
            if not block:
                return
            yield block


def record_scanner(table: TableFormat) -> Any:
    """A `RecordScanner` for this format."""
    from daskbatch.store.scan import RecordScanner

    json = table.format == "jsonl"
    return RecordScanner(quotes=table.multi_line and not json, separator=table.separator, json=json)


def _next_start(data: bytes, place: int, lone_cr: bool) -> int:
    """First record start at or after `place`, which is 1 or more; -1 where `data` does not tell."""
    newline = data.find(b"\n", place - 1)
    if lone_cr:
        ret = data.find(b"\r", place - 1, newline if newline >= 0 else len(data))
        if ret >= 0 and ret + 1 != newline:
            return ret + 1 if ret + 1 < len(data) else -1
    return newline + 1 if newline >= 0 else -1


class TextFile:
    """A plain text file, kept open between its mini-batches.

    Attributes
    ----------
    header
        The bytes of the line of column names; empty without one.
    """

    def __init__(self, path: str, table: TableFormat) -> None:
        self.path = path
        self.header = b""
        self._lone_cr = table.format == "csv"
        self._exact = is_scanned(table)
        self._page, self._page_at = b"", 0
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            self._first = self._find_first(table)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _find_first(self, table: TableFormat) -> int:
        """Byte at which the records may begin: after byte order mark and header."""
        begin = len(_BOM) if self._read(0, len(_BOM)) == _BOM else 0
        if table.format != "csv" or not table.header:
            return begin
        scanner, place = record_scanner(table), 0
        while True:
            block = self._read(place, _PAGE)
            place += len(block)
            starts, ends = scanner.feed(block, last=not block)
            if len(starts):
                self.header = self._read(int(starts[0]), int(ends[0] - starts[0]))
                return int(ends[0])
            if not block:
                return place

    def _read(self, begin: int, length: int) -> bytes:
        """Bytes from `begin`; fewer than `length` only at the end of the file."""
        offset = begin - self._page_at
        if offset >= 0 and offset + length <= len(self._page):
            return self._page[offset : offset + length]
        wanted = max(length, _PAGE)
        data = os.pread(self._file, wanted, begin)
        while 0 < len(data) < length:  # one call gives at most 2 GB
            more = os.pread(self._file, wanted - len(data), begin + len(data))
            if not more:
                break
            data += more
        if length < _PAGE:
            self._page, self._page_at = data, begin
            return data[:length]
        return data

    def piece(self, mini_batch: MiniBatch) -> Piece | None:
        """The records that start in the mini-batch's range, or None where there are none."""
        if self._exact:
            begin, data = mini_batch.start, self._read(mini_batch.start, mini_batch.stop - mini_batch.start)
            return Piece(data, begin) if data else None
        first, start, stop = self._first, mini_batch.start, mini_batch.stop
        # The byte before the range says whether a record starts at its first byte.
        base = start - 1 if start > first else first
        if base >= stop:
            return None
        data = self._read(base, stop - base + _AHEAD)
        low = _next_start(data, 1, self._lone_cr) if start > first else 0
        if low < 0 or base + low >= min(stop, base + len(data)):
            return None
        return Piece(self._until_next_start(data, low, stop - base, base), base + low)

    def _until_next_start(self, data: bytes, low: int, place: int, base: int) -> bytes:
        """``data[low:]`` up to the first record start at or after `place`; reads on where that lies further."""
        ahead = _AHEAD
        while True:
            high = _next_start(data, place, self._lone_cr)
            if high >= 0:
                return data[low:high]
            ahead *= 4
            more = self._read(base + len(data), ahead)
            if not more:
                return data[low:]
            place = max(place, len(data))
            data += more
