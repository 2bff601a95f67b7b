"""What a workspace holds of one kind, by name: read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from daskbatch.errors import NotFound
from daskbatch.nearest import nearest

__all__ = ["Named", "not_found"]

T = TypeVar("T")


class Named(Mapping[str, T]):
    """A mapping that always shows what is on disk now.

    Parameters
    ----------
    what : str
        Such as ``"datastore"``, for messages.
    names : callable
        Returns the names, sorted.
    get : callable
        Returns the object of a name that is there.
    """

    def __init__(self, what: str, names: Callable[[], list[str]], get: Callable[[str], T]) -> None:
        self._what, self._names, self._get = what, names, get

    def __getitem__(self, name: str) -> T:
        known = self._names()
        if name not in known:
            raise not_found(self._what, name, known)
        return self._get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        return f"<{self._what}s: {', '.join(self) or 'none'}>"


def not_found(what: str, name: object, known: list[str], error: type[NotFound] = NotFound) -> NotFound:
    """The error that lists what is there."""
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return error(f"There is no {what} {name!r}.{nearest(str(name), known)} There are: {listed or 'none'}.")
