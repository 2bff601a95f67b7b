"""An object as a file to read from, for what goes through it from its beginning."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from daskbatch.remote.fetch import read_range
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.retrying import USUAL, Limit

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ObjectReader"]

_BLOCK = 4 * 2**20
"""Bytes of a request at most. It begins with what is asked for, and doubles where one read follows the other."""


class ObjectReader(io.RawIOBase):
    """Reads an object in blocks, each by one request.

    Parameters
    ----------
    url
    options
    size
        Bytes; where it ends.
    token
        Its etag: an object that changes meanwhile is an error. Empty: not checked.
    limit
        Of each request.
    most
        Bytes of a request where less is asked for: how much may be in vain.
    """

    def __init__(
        self,
        url: str,
        options: StorageOptions = (),
        *,
        size: int,
        token: str = "",
        limit: Limit = USUAL,
        most: int = _BLOCK,
    ) -> None:
        self._url, self._options, self._size, self._token, self._limit = url, options, size, token, limit
        self._most = most
        self._place = self._begin = 0
        self._block = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` as far as the block goes that is there; 0 at the end."""
        offset = self._place - self._begin
        if not 0 <= offset < len(self._block):
            asked, before = memoryview(buffer).nbytes, len(self._block)
            follows = before and self._place == self._begin + before
            length = max(asked, 2 * before) if follows else asked
            stop = min(self._size, self._place + max(asked, min(self._most, length)))
            if stop <= self._place:
                return 0
            self._block = read_range(self._url, self._place, stop, self._options, self._token, self._limit)
            self._begin, offset = self._place, 0
        view = memoryview(buffer).cast("B")
        data = self._block[offset : offset + len(view)]
        view[: len(data)] = data
        self._place += len(data)
        return len(data)
