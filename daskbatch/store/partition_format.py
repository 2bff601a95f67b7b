"""What a file's path says of its content: ``'/{Department}/{Day:yyyy/MM/dd}/data.csv'``.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Union

from daskbatch.errors import InputError, UsageError

__all__ = ["PartitionFormat", "Value", "parse_format"]

Value = Union[str, datetime]

_PIECE = re.compile(r"\{([^{}]*)\}|([^{}]+)")
_TOKENS = {"yyyy": "year", "MM": "month", "dd": "day", "HH": "hour", "mm": "minute", "ss": "second"}
_TOKEN = re.compile("|".join(_TOKENS))
_EXAMPLE = "such as '/{Department}/{Day:yyyy/MM/dd}/data.csv'"


@dataclass(frozen=True)
class PartitionFormat:
    """A format of paths, parsed. It stands for the end of a path, from the first key on."""

    text: str
    """As it was given."""
    names: tuple[str, ...]
    """Of the keys, in order."""
    times: tuple[str, ...]
    """Those whose values are datetimes; the others are strings."""
    pattern: re.Pattern[str]
    """Of whole paths."""
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    """For each key its name and the parts of a datetime that its groups hold, such as ``year``; none for a string."""

    def match(self, path: str) -> dict[str, Value] | None:
        """The values that a path says, by key; None where it is not of this format.

        Parameters
        ----------
        path
            Absolute or relative.
        """
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        texts = iter(found.groups())
        values: dict[str, Value] = {}
        for name, parts in self.groups:
            if not parts:
                values[name] = next(texts)
                continue
            numbers = {"month": 1, "day": 1, **{part: int(next(texts)) for part in parts}}
            try:
                values[name] = datetime(**numbers)  # type: ignore[arg-type]  # noqa: DTZ001
            except ValueError:
                return None
        return values

    def values(self, path: str) -> dict[str, Value]:
        """The same, where each path must be of this format.

        Raises
        ------
        InputError
            It is not.
        """
        found = self.match(path)
        if found is None:
            raise InputError(
                f"inputs: {path} does not end as partition_format={self.text!r} says. The format goes from the first"
                " key to the end of each path; '*' stands for any part of a name. Next: correct the format, or leave"
                " such files out by a glob."
            )
        return found


def parse_format(text: object) -> PartitionFormat:
    """Parse the format of an input's paths.

    ``{name}`` is a string without a slash. ``{name:yyyy/MM/dd/HH/mm/ss}``, or some of it, is a datetime; what else
    stands in it is itself. ``*`` is any part of a name. The first key begins a name, unless it is a datetime.

    Raises
    ------
    UsageError
        It is no such text.

    Examples
    --------
    >>> parse_format("/{Department}/{Day:yyyy/MM/dd}/*.csv").match("/data/Accounts/2019/01/31/a.csv")
    {'Department': 'Accounts', 'Day': datetime.datetime(2019, 1, 31, 0, 0)}
    """
    if not isinstance(text, str):
        raise UsageError(f"partition_format must be a text {_EXAMPLE}, got {text!r}.")
    groups: list[tuple[str, tuple[str, ...]]] = []
    pattern, place = "", 0
    for piece in _PIECE.finditer(text):
        if piece.start() != place:
            break
        place = piece.end()
        if piece[2] is not None:
            pattern += re.escape(piece[2]).replace(r"\*", "[^/]*")
            continue
        name, parts, part_pattern = _key(piece[1], text)
        if name in dict(groups):
            raise UsageError(f"partition_format must name each key once, got {name!r} twice in {text!r}.")
        groups.append((name, parts))
        pattern += part_pattern
    if place != len(text):
        raise UsageError(f"partition_format: braces come in pairs and hold one key each, {_EXAMPLE}, got {text!r}.")
    if not groups:
        raise UsageError(f"partition_format must name a key in braces, {_EXAMPLE}, got {text!r}.")
    # A name may begin anywhere in a path only where its pattern says how long it is.
    before = ".*?" if text.startswith("{") and groups[0][1] else "(?:.*/)?"
    if pattern.startswith("/"):
        pattern, before = pattern[1:], "(?:.*/)?"
    names = tuple(name for name, _ in groups)
    times = tuple(name for name, parts in groups if parts)
    return PartitionFormat(text, names, times, re.compile(before + pattern, re.DOTALL), tuple(groups))


def _key(inside: str, text: str) -> tuple[str, tuple[str, ...], str]:
    """Name, parts of a datetime, and pattern of what stands between two braces."""
    name, colon, times = inside.partition(":")
    if not name.strip() or name != name.strip():
        raise UsageError(f"partition_format: each key needs a name, {_EXAMPLE}, got '{{{inside}}}' in {text!r}.")
    if not colon:
        return name, (), "([^/]+?)"
    parts = tuple(_TOKENS[token] for token in _TOKEN.findall(times))
    rest = _TOKEN.sub("", times)
    if "year" not in parts or len(set(parts)) != len(parts) or re.search(r"[^\W\d_]", rest):
        raise UsageError(
            f"partition_format: the datetime {name!r} must be written with yyyy and, each once if at all, MM, dd, HH,"
            f" mm, ss, got {times!r}. Write {{{name}}} for a string."
        )
    pattern, place = "", 0
    for token in _TOKEN.finditer(times):
        pattern += re.escape(times[place : token.start()]) + ("([0-9]{4})" if token[0] == "yyyy" else "([0-9]{2})")
        place = token.end()
    return name, parts, pattern + re.escape(times[place:])
