"""What an input is like: its files, their sizes and modification times, one digest over them all, and what is new.

No file of the input is opened and nothing is written here, so that a run which is repeated learns cheaply whether its
input is still the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

from daskbatch.errors import InputError
from daskbatch.plan_cuts import read_entries
from daskbatch.plan_format import choose_formats
from daskbatch.plan_listing import Entry, ObjectPath
from daskbatch.spec import InputSpec

__all__ = ["InputChanged", "InputState", "Tally", "difference_of_inputs", "state_of_inputs"]

_AT_ONCE = 4096
"""Entries that are digested at once."""

_UNMATCHED = 100_000
"""Entries that are remembered while two listings are compared: 30 MB or so."""

_quoted = json.encoder.encode_basestring_ascii


@dataclass(frozen=True, slots=True)
class InputState:
    """An input as it was found. Equal: the same files in the same order, none written since."""

    files: int
    """Listed; tables of zero bytes, which are skipped later, count."""
    bytes: int
    """Of all of them on disk."""
    digest: str
    """Of path, size and modification time (or etag) of each, in order; hexadecimal."""


class InputChanged(InputError):
    """Raised when the files that an earlier listing had found are not the first of this one."""


class Tally:
    """Sees the files of an input go by.

    Parameters
    ----------
    listed
        Number of files that an earlier listing had found before it was broken off, and its digest at that moment.
    """

    def __init__(self, listed: tuple[int, str] | None = None) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._files = self._bytes = 0
        self._begun = False
        self._listed = listed

    def begin_dataset(self) -> None:
        """The files of another dataset follow: where one ends and the next begins makes a difference."""
        if self._begun:
            self._digest.update(b"[]\n")
        self._begun = True

    def chunks(self, paths: Iterator[bytes], at_once: int = _AT_ONCE) -> Iterator[tuple[list[Entry], str]]:
        """Entries of the files, up to `at_once` at a time, with their lines in a plan file.

        Raises
        ------
        InputChanged
            Where the first files are not those that had been listed before.
        InputError
            Where a file cannot be looked at: it has vanished, for one.
        """
        while entries := [_entry(path) for path in islice(paths, self._most(at_once))]:
            # As json.dumps would write them, in a fourth of its time.
            if isinstance(entries[0][2], int):
                lines = "".join([f"[{_quoted(path)},{size},{mtime_ns}]\n" for path, size, mtime_ns in entries])
            else:
                lines = "".join([f"[{_quoted(url)},{size},{_quoted(str(etag))}]\n" for url, size, etag in entries])
            self._digest.update(lines.encode("ascii"))
            self._files += len(entries)
            self._bytes += sum([size for _, size, _ in entries])
            self._compare()
            yield entries, lines

    def _most(self, at_once: int) -> int:
        """How many files may go by before the next comparison."""
        left = 0 if self._listed is None else self._listed[0] - self._files
        return min(at_once, left) if left > 0 else at_once

    def _compare(self, *, ended: bool = False) -> None:
        if self._listed is None or (self._files < self._listed[0] and not ended):
            return
        before, self._listed = self._listed, None
        if (self._files, self._digest.hexdigest()) != before:
            raise InputChanged(
                f"the input was {before[0]:,} files and more when the run was ended while they were listed; these are"
                " not the same now"
            )

    def state(self) -> InputState:
        """Of the files that have gone by."""
        return InputState(self._files, self._bytes, self._digest.hexdigest())

    def end(self) -> InputState:
        """Of all of them.

        Raises
        ------
        InputChanged
            There are fewer than had been listed before.
        """
        self._compare(ended=True)
        return self.state()


def _entry(path: bytes) -> Entry:
    if isinstance(path, ObjectPath):
        return os.fsdecode(path), path.size, path.token
    try:
        status = os.stat(path)
    except OSError as error:
        name = os.fsdecode(path)
        link = f" (a link to {os.fsdecode(os.readlink(path))!r})" if os.path.islink(path) else ""
        raise InputError(
            f"inputs: {name} cannot be read: {error.strerror}{link}. Next: mend or remove it, or name the input more"
            " narrowly."
        ) from error
    return os.fsdecode(path), status.st_size, status.st_mtime_ns


def state_of_inputs(spec: InputSpec) -> InputState:
    """What the input is like now: what `make_plan` would find, without reading or writing anything.

    Raises
    ------
    InputError
        Where the input is missing, empty, of mixed formats, or cannot be looked at.
    """
    tally = Tally()
    for chosen in choose_formats(spec):
        tally.begin_dataset()
        for _ in tally.chunks(chosen.paths):
            pass
    return tally.state()


def difference_of_inputs(plan_path: Path, spec: InputSpec, shown: int = 5) -> list[str]:
    """How the input differs from what a plan file tells of it, for people, where the digests say that it does.

    Both are read in step, and neither is kept.

    Parameters
    ----------
    plan_path
        The plan file.
    spec
        The input, to be listed as it is now.
    shown
        Files to name at most.

    Returns
    -------
    list of str
        A line for each file that is named, and one for the rest. Where none differs, what else it can be. Empty where
        the plan file is gone or damaged.

    Raises
    ------
    InputError
        As `state_of_inputs`.
    """
    chosen = choose_formats(spec)
    tables = chosen[0].name != "files"
    paths = chain.from_iterable(one.paths for one in chosen)
    empty: set[str] = set()
    found = _Differences(shown)
    try:
        planned = ((path, size, mtime_ns) for path, size, mtime_ns, *_ in read_entries(str(plan_path)))
        for before, now in zip_longest(planned, _full(paths, empty if tables else None)):
            found.compare(before, now)
    except (OSError, ValueError):
        return []
    lines = list(islice(found.lines(empty), shown))
    if found.too_many:
        return [f"{found.planned:,} files when the run was planned, {found.listed:,} now, and most in other places"]
    if found.count > len(lines):
        lines.append(f"and {found.count - len(lines):,} more")
    if lines:
        return lines
    if found.moved:
        return ["the files are the same, in another order"]
    return ["tables of zero bytes are new, gone or written again"] if tables else []


def _full(paths: Iterator[bytes], empty: set[str] | None) -> Iterator[Entry]:
    """The files as they are now. A plan has no tables of zero bytes: their names go to `empty`."""
    for entries, _ in Tally().chunks(paths):
        for entry in entries:
            if entry[1] or empty is None:
                yield entry
            else:
                empty.add(entry[0])


class _Differences:
    """Takes the entries of a plan and of a listing pair by pair; remembers those that have not met their like yet.

    Both have the same order as a rule: then these are as many as there are additions and removals.
    """

    def __init__(self, shown: int) -> None:
        self.planned = self.listed = 0
        self.moved = False
        self.too_many = False
        self._shown = shown
        self._gone: dict[str, Entry] = {}
        self._new: dict[str, Entry] = {}
        self._changed: list[str] = []
        self._changed_count = 0

    def compare(self, before: Entry | None, now: Entry | None) -> None:
        """Take one of each; None after the last."""
        self.planned += before is not None
        self.listed += now is not None
        if before is not None and now is not None and before[0] == now[0]:
            self._match(before, now)
            return
        self.moved = True
        if self.too_many:
            return
        if before is not None:
            self._meet(before, self._new, self._gone)
        if now is not None:
            self._meet(now, self._gone, self._new)
        if len(self._gone) + len(self._new) > _UNMATCHED:
            self.too_many = True
            self._gone, self._new = {}, {}

    def _meet(self, entry: Entry, others: dict[str, Entry], own: dict[str, Entry]) -> None:
        other = others.pop(entry[0], None)
        if other is None:
            own[entry[0]] = entry
        else:
            self._match(*((entry, other) if own is self._gone else (other, entry)))

    def _match(self, before: Entry, now: Entry) -> None:
        if before == now:
            return
        self._changed_count += 1
        if self._changed_count <= self._shown:
            self._changed.append(_change(now[0], before[1], now[1]))

    @property
    def count(self) -> int:
        """Files that differ."""
        return self._changed_count + len(self._gone) + len(self._new)

    def lines(self, empty: Collection[str]) -> Iterator[str]:
        """What is different of each; `empty`: the names of tables that are there and have no content."""
        yield from self._changed
        for path, size, _ in self._gone.values():
            yield _change(path, size, 0) if path in empty else f"{path}: gone"
        for path in self._new:
            yield f"{path}: new"


def _change(path: str, before: int, now: int) -> str:
    return f"{path}: written again" if before == now else f"{path}: changed ({before:,} bytes, now {now:,})"
