"""One function per kind of option value: text or number in, checked number or name out.

All raise `UsageError` with the option, the value, what is allowed and the next step.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Mapping
from numbers import Number
from typing import SupportsFloat, SupportsIndex, cast
from urllib.parse import unquote

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.types import MiniBatchSize

__all__ = [
    "byte_size",
    "choice",
    "environment",
    "local_path",
    "mini_batch_size",
    "mini_batch_size_text",
    "nearest",
    "percent",
    "result_name",
    "script_arguments",
    "seconds",
    "whole_number",
]

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
SMALLEST_RUNNER = 16 * 1024**2
"""Bytes. An idle Python process takes about this much, so a smaller limit would kill every runner."""
LONGEST_NAME = 200
"""Bytes. File systems take 255; the rest is for the suffixes of temporary and partial files."""
TAKEN_NAMES = (".daskbatch", "failed_items.jsonl", "logs", "run_summary.json")
OTHER_FORMATS = {
    *(".arrow", ".feather", ".gz", ".h5", ".hdf5", ".json", ".ndjson", ".npy", ".npz", ".orc", ".pickle", ".pkl"),
    *(".pq", ".sqlite", ".tsv", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip"),
}
"""Suffixes that promise what is not written. Any other, as people gave in Azure, gets lines of text."""

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_BYTES = re.compile(r"(\d+)(?:([kmg])b)?", re.ASCII | re.IGNORECASE)
_ROWS = re.compile(r"(\d+) ?rows?", re.ASCII | re.IGNORECASE)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.ASCII | re.IGNORECASE)


def choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """`value`, which must be one of `allowed`; case does not matter."""
    for word in allowed:
        if isinstance(value, str) and value.strip().lower() == word.lower():
            return word
    words = ", ".join(allowed[:-1]) + " or " + allowed[-1]
    raise UsageError(f"{name} must be {words}, got {value!r}.{nearest(str(value), allowed)}")


def whole_number(name: str, value: object, low: int, high: int = INT32_MAX, note: str = "") -> int:
    """A whole number from `low` to `high`, given as such or as text."""
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str):
            number = int(value)
        else:
            number = operator.index(cast(SupportsIndex, value))
    except (TypeError, ValueError):
        number = low - 1
    if not low <= number <= high:
        raise UsageError(f"{name} must be a whole number from {low} to {high}, got {value!r}.{note}")
    return number


def _number(value: object) -> float:
    """Not a number for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(cast("str | SupportsFloat", value))
    except (TypeError, ValueError, OverflowError):
        return math.nan


def percent(name: str, value: object) -> float:
    """A number from 0 to 100, given as such or as text."""
    number = _number(value)
    if not 0 <= number <= 100:
        raise UsageError(f"{name} must be a number from 0 to 100, got {value!r}. 2.5 means 2.5 percent.")
    return number


def seconds(name: str, value: object, most: float = 259200.0) -> float:
    """Seconds above 0, up to `most`: by default three days, as in ParallelRunConfig."""
    number = _number(value)
    if not 0 < number <= most:
        raise UsageError(
            f"{name} must be a number of seconds above 0 and up to {most:g}, got {value!r}."
            " Write it without a unit, such as 90 or 0.5."
        )
    return number


def byte_size(name: str, value: object) -> int:
    """Bytes of a memory limit: ``2147483648``, ``"2GB"``. K, M and G count by 1024."""
    match = None if isinstance(value, bool) else _BYTES.fullmatch(str(value).strip())
    number = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
    if match is None or number > INT64_MAX:
        raise UsageError(f"{name} must be bytes or a size such as 512MB or 4GB, got {value!r}.")
    if number < SMALLEST_RUNNER:
        hint = "" if match[2] else f" A number without a unit is bytes; did you mean {value}GB?"
        raise UsageError(f"{name} must be at least 16MB, which an empty Python process takes, got {value!r}.{hint}")
    return number


def mini_batch_size(value: object) -> MiniBatchSize:
    """``10`` files, ``"1MB"`` of a table or ``"5000rows"`` of a table.

    A bare number has the kind ``"files"``: only the planner knows the input's format, and takes
    it as bytes for tables.

    >>> mini_batch_size("1MB")
    MiniBatchSize(kind='bytes', value=1048576)
    """
    text = "" if isinstance(value, (bool, float)) else str(value).strip()
    size = None
    if rows := _ROWS.fullmatch(text):
        size = MiniBatchSize("rows", int(rows[1]))
    elif match := _BYTES.fullmatch(text):
        unit = (match[2] or "").lower()
        size = MiniBatchSize("bytes" if unit else "files", int(match[1]) * _UNITS[unit])
    if size is None or not 1 <= size.value <= INT64_MAX:
        raise UsageError(
            "mini_batch_size must be a count of files such as 10, or for tables a size such as"
            f" 512KB, 1MB or 2GB, bytes, or 5000rows; all at least 1. Got {value!r}."
        )
    return size


def mini_batch_size_text(size: MiniBatchSize) -> str:
    """What `mini_batch_size` reads as this size again.

    >>> mini_batch_size_text(MiniBatchSize("bytes", 3 * 1024**2))
    '3MB'
    """
    if size.kind == "rows":
        return f"{size.value}rows"
    if size.kind == "bytes":
        for unit in "gmk":
            if size.value % _UNITS[unit] == 0:
                return f"{size.value // _UNITS[unit]}{unit.upper()}B"
    return str(size.value)


def local_path(name: str, value: object) -> str:
    """Absolute path of a local file, folder or glob; ``~`` and ``file://`` are resolved."""
    try:
        path = os.fsdecode(cast("str | os.PathLike[str]", value))
    except TypeError:
        raise UsageError(f"{name} must be a path, got {value!r} of type {type(value).__name__}.") from None
    if not path or "\0" in path:
        raise UsageError(f"{name} must be a path, got {path!r}. Use '.' for the current folder.")
    if url := _URL.match(path):
        if url[1].lower() != "file":
            raise UsageError(
                f"{name} must be a local path, got {path!r}. Copy or mount the data first, and give that path."
            )
        path = unquote(path[url.end() :])
        if not path.startswith("/"):
            host, _, rest = path.partition("/")
            if host != "localhost":
                raise UsageError(
                    f"{name} must be a local path, got {value!r}, which names the host {host!r}."
                    f" A file URL has three slashes: 'file:///{path}'."
                )
            path = "/" + rest
    return os.path.abspath(os.path.expanduser(path))


def result_name(value: object) -> str:
    """A file name without a folder, whose suffix promises no format that is not written."""
    name = value if isinstance(value, str) else ""
    _, slash, last = name.replace("\\", "/").rpartition("/")
    if slash:
        raise UsageError(
            f"append_row_file_name must be a file name without a folder, got {value!r}."
            f" Name the folder with output, and the file {last!r} here."
        )
    suffix = os.path.splitext(name)[1].lower()
    if suffix in OTHER_FORMATS or name.strip(". ") == "":
        raise UsageError(
            "append_row_file_name must end with .csv, .jsonl, .parquet or .txt, which chooses the format, got"
            f" {value!r}.{nearest(suffix, ('.csv', '.jsonl', '.parquet'))}"
        )
    if not name.isprintable() or len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(
            f"append_row_file_name must be printable and at most {LONGEST_NAME} bytes long, got {value!r}."
        )
    if name in TAKEN_NAMES:
        raise UsageError(
            f"append_row_file_name must not be {name!r}: every run has something else of that name in its output"
            " folder. Choose another name, such as 'predictions.jsonl'."
        )
    return name


def environment(value: object) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs from a dict or from ``NAME=VALUE`` texts."""
    example = 'a dict such as {"NAME": "value"} or as texts such as NAME=value'
    pairs = _pairs(value, example)
    for name, word in pairs.items():
        if not name or "=" in name or "\0" in name + word:
            raise UsageError(
                "environment_variables: a name must be one character or more without '=', and"
                f" neither name nor value may hold a NUL, got {name!r} and a value that is not shown."
            )
    return tuple(pairs.items())


def _pairs(value: object, example: str) -> dict[str, str]:
    """What a mapping or ``NAME=VALUE`` texts say; of two of one name the later wins."""
    if isinstance(value, Mapping):
        return {str(name): _word(str(name), word) for name, word in value.items()}
    texts = [value] if isinstance(value, str) else value
    pairs = {}
    for text in texts if isinstance(texts, (list, tuple)) else [texts]:
        name, equals, word = text.partition("=") if isinstance(text, str) else ("", "", "")
        if not equals:
            raise UsageError(f"environment_variables must be given as {example}, got {text!r}.")
        pairs[name] = word
    return pairs


def _word(name: str, value: object) -> str:
    """The text of a variable; no message shows what it was, as people put secrets there."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, (str, Number)):
        raise UsageError(
            f"environment_variables: the value of {name!r} must be a text or a number, got one of type"
            f" {type(value).__name__}. Next: make it a text, such as by json.dumps(value)."
        )
    return str(value)


def script_arguments(value: object) -> tuple[str, ...]:
    """The texts that the entry script finds in ``sys.argv[1:]``."""
    if not isinstance(value, (list, tuple)):
        raise UsageError(
            f"arguments must be a list such as ['--model', 'm.keras'], got {value!r}."
            " On the command line they follow '--'."
        )
    texts = tuple(os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in value)
    if any("\0" in text for text in texts):
        raise UsageError(f"arguments must not hold a NUL character, got {value!r}.")
    return texts
