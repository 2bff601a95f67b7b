"""The digest of a function, class or other object by content: equal in another process for the same code.

cloudpickle's bytes are not: they hold file names and line numbers, random names for classes, sets in the order of
their hashes, and tell equal strings from one string met twice. They are written for a runner to load; what is
written here only goes through a hash. Imported only where there is an object, as cloudpickle is.
"""

from __future__ import annotations

import dis
import hashlib
import re
import sys
import sysconfig
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import cloudpickle

__all__ = ["object_digest"]

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_LEFT_OUT = frozenset(
    {
        *("__firstlineno__", "__static_attributes__", "__annotate_func__", "__annotations_cache__", "_abc_impl"),
        "_cloudpickle_submodules",  # those that happen to be imported by now
        "__doc__",  # that of a dataclass shows its defaults, sets and addresses too, as they print
    }
)
"""What Python and cloudpickle keep with a class or function, and that is another in each process."""
_MADE = str
"""Stands where pickle wants to be told what makes an object: it is the name of nothing of ours, and never called."""
_INSTALLED = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def object_digest(value: object) -> str:
    """SHA-256 of an object's content, as hexadecimal digits.

    Seen are bodies, constants, defaults, closures, class attributes and the globals that are used, all that as deep as
    cloudpickle goes: where it takes a function or class by name, the file of its module counts, unless it is an
    installed one. Docstrings, comments and places in a file do not count. Another Python compiles to another digest.

    Raises
    ------
    Exception
        Where the object cannot be pickled, or whatever its ``__reduce__`` raises.
    """
    sink = _Sink()
    _Canonical(sink, protocol=5).dump(value)
    return sink.hash.hexdigest()


class _Sink:
    """A file that keeps only the hash of what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.hash.update(data)


class _Canonical(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Pickles to a stream that is the same in each process, and that nothing can load."""

    def persistent_id(self, value: Any) -> int | None:
        """Values without identity, as numbers, which pickle never replaces by a reference to an earlier equal one."""
        kind = type(value)
        if kind is bytes:
            return _number(value, b"bytes")
        if kind in (str, CodeType, set, frozenset) or (kind is tuple and _is_plain(value)):
            return _number(_text(value).encode("utf-8", "surrogatepass"), b"text")
        return None

    def reducer_override(self, value: Any) -> Any:
        """As cloudpickle takes code apart, less what differs between processes."""
        if isinstance(value, ModuleType):
            # One that was made at run time is taken apart like any other object.
            return _by_name(value.__name__, "") if value.__name__ in sys.modules else NotImplemented
        if isinstance(value, TypeVar):
            return _MADE, ("TypeVar", value.__name__)
        if value is _MADE:
            return NotImplemented
        reduced = super().reducer_override(value)
        if not isinstance(value, (FunctionType, type)):
            return reduced
        if reduced is NotImplemented:
            return _by_name(value.__module__, value.__qualname__)
        if isinstance(value, FunctionType):
            own, state = reduced[2]
            return _MADE, ("function", value.__code__), (own, _without_noise(state))
        if len(reduced) == 2:
            return reduced  # a built-in one, such as the type of None
        made_of = (part for part in reduced[1] if not _is_random_name(part))
        return _MADE, ("class", *made_of), (_without_noise(reduced[2][0]),)


def _by_name(module: str, name: str) -> tuple[type, tuple[str, ...]]:
    return _MADE, ("name", module, name, _file_digest(module))


def _without_noise(state: dict[str, Any]) -> dict[str, Any]:
    # Looking at a class's annotations makes it some, empty ones.
    return {name: part for name, part in state.items() if name not in _LEFT_OUT and (part or name != "__annotations__")}


def _file_digest(module: str) -> str:
    """SHA-256 of the file of a user's own module; empty for what is installed."""
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    if not path or path.startswith(_INSTALLED) or "site-packages" in path or "dist-packages" in path:
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _is_random_name(value: object) -> bool:
    """Whether this is the name by which cloudpickle knows a class again within a process."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def _is_plain(value: object) -> bool:
    return type(value) in _ATOMS or (type(value) is tuple and all(map(_is_plain, value)))


def _number(data: bytes, kind: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=16, person=kind).digest(), "big")


def _text(value: Any) -> str:
    """A constant as text that is the same in each process."""
    kind = type(value)
    if kind in _ATOMS:
        return repr(value)
    if kind is CodeType:
        return _code_text(value)
    if kind is tuple:
        return f"({','.join(map(_text, value))})"
    if kind in (set, frozenset):
        return f"{kind.__name__}{{{','.join(sorted(map(_text, value)))}}}"
    return object_digest(value)


def _code_text(code: CodeType) -> str:
    """Compiled code without file name and lines.

    From 3.13 on, the body of a class stores its line number, and attribute names in an order of their hashes.
    """
    steps = []
    for step, after in pairwise([*dis.get_instructions(code), None]):
        if step is None or (after is not None and after.argval in ("__firstlineno__", "__static_attributes__")):
            continue
        steps.append(f"{step.opcode} {_text(step.argval) if step.opcode in dis.hasconst else step.arg}")
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_name, code.co_qualname, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return f"code{(counts, names, code.co_exceptiontable)!r}[{';'.join(steps)}]"
