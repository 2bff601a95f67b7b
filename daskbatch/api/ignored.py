"""What Azure has and a folder cannot have: it is accepted, and said once."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest

__all__ = ["IgnoredWarning", "accept", "ignore", "users_line"]


class IgnoredWarning(UserWarning):
    """Something was given that has no meaning here, and was ignored."""


_said: set[tuple[str, str]] = set()
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def ignore(what: str, names: Iterable[str]) -> None:
    """Say that these names mean nothing here, each once in a process.

    Parameters
    ----------
    what : str
        To whom they were given, such as ``"Workspace.create"``.
    names : iterable of str
    """
    new = [name for name in names if (what, name) not in _said]
    _said.update((what, name) for name in new)
    if new:
        told = f"{what}: {', '.join(new)} had a meaning in Azure alone, and {'is' if len(new) == 1 else 'are'} ignored."
        warnings.warn(told, IgnoredWarning, stacklevel=users_line())


def accept(what: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """Ignore the keyword arguments that Azure knows; refuse all others. None counts as not given.

    Raises
    ------
    UsageError
        For a name that is not among `known`.
    """
    caller = sys._getframe(1).f_code
    own = caller.co_varnames[: caller.co_argcount + caller.co_kwonlyargcount]
    for name in given:
        if name not in known:
            raise UsageError(f"{what} has no argument {name!r}.{nearest(name, (*own, *known))}")
    ignore(what, [name for name, value in given.items() if value is not None])


def users_line() -> int:
    """How far up the line is that called this package, as `warnings.warn` counts in the function that asks."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
