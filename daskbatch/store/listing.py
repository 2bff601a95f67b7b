"""From files, folders and globs to files, in order, each once."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Iterator

from daskbatch.errors import InputError

__all__ = ["Found", "Pattern", "list_files"]

Found = tuple[bytes, bool]
"""Absolute path; and whether a name that a walk met on the way begins with ``_``."""


def list_files(paths: tuple[str, ...]) -> Iterator[Found]:
    """Files of all inputs, in the order given; below a folder in the byte order of their paths.

    A path that is met twice is given once, at its first place. Names that begin with a dot are left out
    unless they are named. Folders that a glob matches are walked, as if they had been given themselves:
    so it makes no difference whether the shell expands a glob or daskbatch does.

    Raises
    ------
    InputError
        Where a path does not exist, a glob matches nothing, or a folder is empty or cannot be read.
    """
    inputs = list(dict.fromkeys(os.path.abspath(path) for path in paths))
    seen: set[bytes] | None = set() if _may_overlap(inputs) else None
    for given in inputs:
        empty = True
        for found in _expand(given):
            empty = False
            if seen is not None:
                # 16 bytes stand for a path: a million paths themselves would take 100 MB and more.
                mark = hashlib.blake2b(found[0], digest_size=16).digest()
                if mark in seen:
                    continue
                seen.add(mark)
            yield found
        if empty:
            raise InputError(_nothing(given))


def _nothing(given: str) -> str:
    if os.path.isdir(given):
        return f"inputs: the folder {given} is empty. Names that begin with '.' are left out. Next: check the path."
    return (
        f"inputs: the glob {given} matches nothing. '*' matches within a name, '**' any number of folders."
        " Next: check the path."
    )


def _may_overlap(inputs: list[str]) -> bool:
    """Whether one file can be reached from two of the inputs. Where it cannot, no path need be remembered."""
    last = ""
    for root in sorted(_glob_parts(path)[0].rstrip("/") + "/" for path in inputs):
        if last and root.startswith(last):
            return True
        last = root
    return False


def _glob_parts(path: str) -> tuple[str, list[str]]:
    """A folder to begin at, and the parts of the pattern below it: none where `path` is no glob."""
    if not glob.has_magic(path) or os.path.lexists(path):
        return path, []
    parts = path.split(os.sep)
    first = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return os.sep.join(parts[:first]) or os.sep, parts[first:]


def _expand(path: str) -> Iterator[Found]:
    base, parts = _glob_parts(path)
    if parts:
        if os.path.isdir(base):
            pattern = Pattern(parts)
            yield from _below(os.fsencode(base), pattern, pattern.begin, False, ())
        return
    if os.path.isdir(base):
        yield from _below(os.fsencode(base), None, frozenset(), False, ())
    elif os.path.isfile(base):
        yield os.fsencode(base), False
    elif os.path.exists(base):
        raise InputError(f"inputs: {path} is no regular file and no folder. Next: copy its content to a file.")
    elif os.path.islink(base):
        raise InputError(f"inputs: {path} is a link to {os.readlink(base)}, which does not exist.")
    else:
        raise InputError(f"inputs: {path} does not exist. Allowed are files, folders and globs. Next: check the path.")


class Pattern:
    """A glob as a set of places within it, so that each name is met once whatever ``**`` may mean."""

    def __init__(self, parts: list[str]) -> None:
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self._dotted = [part.startswith(".") for part in parts]
        self.end = len(parts)
        self.begin = self._closed({0})

    def _closed(self, places: set[int]) -> frozenset[int]:
        """``**`` may stand for no folder at all."""
        for place in sorted(places):
            while place < self.end and self._parts[place] is None:
                place += 1
                places.add(place)
        return frozenset(places)

    def step(self, places: frozenset[int], name: bytes) -> frozenset[int]:
        """Where the pattern stands after the folder `name`; nowhere: nothing below matches."""
        return self._closed(self._after(places, name))

    def takes(self, places: frozenset[int], name: bytes) -> bool:
        """Whether the file `name` matches. A ``**`` behind a name asks for a folder of that name."""
        after = self._after(places, name)
        return self.end in after or any(
            self._parts[place] is None and place + 1 == self.end for place in after & places
        )

    def _after(self, places: frozenset[int], name: bytes) -> set[int]:
        text = os.fsdecode(name)
        hidden = text.startswith(".")
        after = set()
        for place in places:
            if place == self.end or (hidden and not self._dotted[place]):
                continue
            part = self._parts[place]
            if part is None:
                after.add(place)
            elif part.match(text):
                after.add(place + 1)
        return after


def _names(folder: bytes, hidden: bool) -> list[bytes]:
    """Names in a folder, those of folders with a slash behind: then they sort as whole paths do."""
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(b".") and not hidden:
                    continue
                if entry.is_dir():
                    names.append(name + b"/")
                elif entry.is_file() or entry.is_symlink():
                    names.append(name)
    except OSError as error:
        raise InputError(f"inputs: the folder {os.fsdecode(folder)} cannot be read: {error.strerror}.") from error
    names.sort()
    return names


def _below(
    folder: bytes,
    pattern: Pattern | None,
    places: frozenset[int],
    underscored: bool,
    above: tuple[tuple[int, int], ...],
) -> Iterator[Found]:
    """Files below a folder: those that the pattern matches, or without one all."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link to a folder above: it would go round for ever
    prefix = folder.rstrip(b"/") + b"/"
    for name in _names(folder, hidden=pattern is not None):
        is_folder = name.endswith(b"/")
        name = name.rstrip(b"/")
        if pattern is None:
            mark = underscored or name.startswith(b"_")
            if is_folder:
                yield from _below(prefix + name, None, places, mark, (*above, here))
            else:
                yield prefix + name, mark
            continue
        if not is_folder:
            if pattern.takes(places, name):
                yield prefix + name, underscored
        elif after := pattern.step(places, name):
            inner = None if pattern.end in after else pattern
            yield from _below(prefix + name, inner, after, underscored, (*above, here))
