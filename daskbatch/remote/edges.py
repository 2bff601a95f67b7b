"""The beginnings of texts, with their headers, and the ends of Parquet files, with their footers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from daskbatch.remote.fetch import Wanted, read_range
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.store.inputs_text import record_scanner
from daskbatch.types import TableFormat

__all__ = ["Edges", "read_footer"]

_PIECE = 64 * 1024
"""Bytes that are read at first: mostly headers and footers are shorter."""

_KEPT = 64


class Edges:
    """Fetches them once for all mini-batches of an object. Any thread.

    Parameters
    ----------
    table
    options
    limit
        Of each request.
    """

    def __init__(self, table: TableFormat | None, options: StorageOptions = (), limit: Limit = USUAL) -> None:
        self._table = table
        self._options = options
        self._limit = limit
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Future[bytes]] = {}

    def header(self, wanted: Wanted) -> bytes:
        """The beginning of a text, up to the end of its header at least; only a mark where it has none.

        Raises
        ------
        StorageError
        """
        return self._once(wanted, self._read_header)

    def footer(self, wanted: Wanted) -> bytes:
        """As `read_footer`."""
        return self._once(wanted, lambda wanted: read_footer(wanted, self._options, self._limit))

    def _once(self, wanted: Wanted, read: Callable[[Wanted], bytes]) -> bytes:
        """Of threads that want the same one reads it."""
        key = (wanted.url, wanted.token)
        with self._lock:
            future = self._known.get(key)
            first = future is None
            if future is None:
                future = self._known[key] = Future()
                while len(self._known) > _KEPT:
                    del self._known[next(iter(self._known))]
        if first:
            try:
                future.set_result(read(wanted))
            except BaseException as error:
                with self._lock:
                    self._known.pop(key, None)  # who comes later tries it anew
                future.set_exception(error)
        return future.result()

    def _read_header(self, wanted: Wanted) -> bytes:
        assert self._table is not None
        size = wanted.size or 0
        has_header = self._table.format == "csv" and self._table.header
        data = self._read(wanted, 0, min(size, _PIECE if has_header else 3))
        while has_header and len(data) < size and not _first_record(data, self._table):
            data += self._read(wanted, len(data), min(size, len(data) * 4))
        return data

    def _read(self, wanted: Wanted, start: int, end: int) -> bytes:
        return read_range(wanted.url, start, end, self._options, wanted.token, self._limit)


def read_footer(wanted: Wanted, options: StorageOptions = (), limit: Limit = USUAL) -> bytes:
    """The last bytes of a Parquet file, which hold its footer.

    Raises
    ------
    StorageError
    """
    size = wanted.size or 0
    begin = max(0, size - _PIECE)
    data = read_range(wanted.url, begin, size, options, wanted.token, limit)
    length = int.from_bytes(data[-8:-4], "little") + 8 if data[-4:] == b"PAR1" else 0
    if len(data) < length <= size:
        data = read_range(wanted.url, size - length, begin, options, wanted.token, limit) + data
    return data


def _first_record(data: bytes, table: TableFormat) -> bool:
    """Whether the first record of a text ends within `data`, for certain."""
    starts, ends = record_scanner(table).feed(data, last=False)
    return bool(len(starts)) and int(ends[0]) < len(data)
