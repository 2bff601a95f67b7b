"""Some files of a folder that stay open for a while, to be read from at many places."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Self

from daskbatch.errors import SegmentDamaged

__all__ = ["OpenFiles"]

_OPEN_FILES = 64


class OpenFiles:
    """Some files of a folder that stay open for a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fds: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def read(self, segment: str, start: int, end: int) -> memoryview:
        """Return bytes ``[start, end)``.

        Raises
        ------
        SegmentDamaged
            The file is gone or ends before.
        """
        fd = self._fds.pop(segment, -1)
        if fd < 0:
            if len(self._fds) >= _OPEN_FILES:
                os.close(self._fds.popitem(last=False)[1])
            fd = self._open(segment)
        self._fds[segment] = fd
        parts = []
        while start < end:  # Linux gives at most 2 GB at once
            data = os.pread(fd, end - start, start)
            if not data:
                path = self._folder / segment
                raise SegmentDamaged(f"{path} is shorter than what was committed: it ends before byte {end}")
            parts.append(data)
            start += len(data)
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def _open(self, segment: str) -> int:
        """A link is not followed."""
        try:
            return os.open(self._folder / segment, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SegmentDamaged(f"{self._folder / segment} cannot be read: {error.strerror}") from None
