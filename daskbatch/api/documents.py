"""Plain JSON files under names that users choose: written whole or not at all, safe with two writers.

There are no locks: they would not hold on network file systems. A new file appears by a hard link and a new version by
``mkdir``, and of two processes that try, one succeeds.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskbatch.errors import UsageError

__all__ = [
    "check_name",
    "names",
    "next_version",
    "read_document",
    "versions",
    "with_versions",
    "write_document",
    "write_version",
]

LONGEST_NAME = 250
"""Bytes. File systems take 255; the rest is for ``.json``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME_WITH_SPACES = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]*[A-Za-z0-9._-])?")
_VERSION = re.compile(r"([1-9][0-9]{0,17})(\.json)?")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


def check_name(what: str, value: object, *, spaces: bool = False) -> str:
    """A name that can be a file's: what users call what they register.

    Parameters
    ----------
    what : str
        What it names, such as ``"model_name"``.
    value : str
    spaces : bool
        Whether there may be spaces inside, as in the names of datasets.

    Raises
    ------
    UsageError
    """
    pattern = _NAME_WITH_SPACES if spaces else _NAME
    if not isinstance(value, str) or not pattern.fullmatch(value) or len(value) > LONGEST_NAME:
        raise UsageError(
            f"{what} must begin with a letter or digit and go on with letters, digits, '.', '_', '-'"
            f"{' or spaces' if spaces else ''}, at most {LONGEST_NAME} in all, got {value!r}. Choose such a name."
        )
    return value


def write_document(path: Path, value: Mapping[str, Any], *, overwrite: bool, private: bool = False) -> None:
    """Write a JSON file in one step and durably, and the folders above it.

    Parameters
    ----------
    path : Path
    value : mapping
        JSON values.
    overwrite : bool
        Whether to replace a file that is there.
    private : bool
        Whether its owner alone may read it.

    Raises
    ------
    FileExistsError
        It is there, and `overwrite` is off. Of two processes at once, one gets this.
    UsageError
        It cannot be written.
    """
    content = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    mode = 0o600 if private else 0o666
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _create(temporary, content, mode)
            if overwrite:
                temporary.replace(path)
            else:
                _link(temporary, path, content, mode)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError) and not overwrite and os.path.lexists(path):
            raise
        raise _refused(path, error) from None


def _create(path: Path, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(temporary: Path, path: Path, content: bytes, mode: int) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _create(path, content, mode)  # file systems without links: still one creator, for a moment with half a file


def read_document(path: Path) -> dict[str, Any] | None:
    """Read a JSON file that `write_document` wrote; None where there is none.

    Raises
    ------
    UsageError
        It cannot be read, or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is no JSON: {error}. Mend or delete it.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{str(path)!r} must hold a JSON object, {{...}}. Mend or delete it.")
    return value


def names(folder: Path, suffix: str = ".json") -> list[str]:
    """Names of the documents in a folder, sorted; with the suffix ``""``, of all in it that is not hidden."""
    found = [name.removesuffix(suffix) for name in _entries(folder) if name.endswith(suffix)]
    return sorted(name for name in found if _NAME_WITH_SPACES.fullmatch(name))


def versions(folder: Path) -> list[int]:
    """The versions that have a name in a folder, as ``3`` or ``3.json``, in order."""
    return sorted({int(match[1]) for name in _entries(folder) if (match := _VERSION.fullmatch(name))})


def with_versions(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold a version, sorted."""
    return [name for name in names(folder, "") if versions(folder / name)]


def next_version(folder: Path) -> int:
    """Make the folder of the next version, which no other process gets, and return its number.

    Raises
    ------
    UsageError
        It cannot be made.
    """
    number = max(versions(folder), default=0)
    while True:
        number += 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(number)).mkdir()
        except FileExistsError as error:
            if folder.is_dir():
                continue
            raise _refused(folder, error) from None
        except OSError as error:
            raise _refused(folder, error) from None
        return number


def write_version(folder: Path, value: Mapping[str, Any], *, private: bool = False) -> int:
    """Write the document of the next version, ``3.json``, and return its number. Not beside `next_version`.

    Parameters
    ----------
    folder, value, private
        As for `write_document`.

    Raises
    ------
    UsageError
        It cannot be written.
    """
    number = max(versions(folder), default=0)
    while True:
        number += 1
        try:
            write_document(folder / f"{number}.json", value, overwrite=False, private=private)
        except FileExistsError:
            continue
        return number


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f"The folder {str(folder)!r} cannot be read: {error.strerror or error}.") from None


def _refused(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{str(path)!r} cannot be written: {error.strerror or error}. Choose a workspace in a folder that you may"
        " write to, with room left."
    )
