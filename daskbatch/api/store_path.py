"""A place on a store that is used like a path, as far as the result of a run needs it."""

from __future__ import annotations

import io
from typing import BinaryIO

from daskbatch.remote.objects import object_state, read_object
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import join

__all__ = ["StorePath"]


class StorePath:
    """A URL with what `pathlib.Path` has for reading.

    Parameters
    ----------
    url : str
    options
        How the store is reached; no secrets.
    """

    def __init__(self, url: str, options: StorageOptions = ()) -> None:
        self._url = url.rstrip("/")
        self._options = options

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"StorePath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and (self._url, self._options) == (other._url, other._options)

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(join(self._url, name), self._options)

    @property
    def name(self) -> str:
        """What stands behind the last slash."""
        return self._url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Such as ``".csv"``."""
        dot = self.name.rpartition(".")
        return f".{dot[2]}" if dot[0] else ""

    def exists(self) -> bool:
        """Whether there is an object.

        Raises
        ------
        StorageError
            The store cannot be asked.
        """
        return object_state(self._url, self._options) is not None

    def read_bytes(self) -> bytes:
        """All of the object.

        Raises
        ------
        FileNotFoundError
            There is none.
        StorageError
        """
        data = read_object(self._url, self._options)
        if data is None:
            raise FileNotFoundError(self._url)
        return data

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of the object as text; raises as `read_bytes`."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The object as a file to read from, all of it in memory; raises as `read_bytes`."""
        if mode != "rb":
            raise ValueError(f"mode must be 'rb', got {mode!r}. An object on a store is only read here.")
        return io.BytesIO(self.read_bytes())
