"""Copying files between folders: each appears whole, and where nobody asked for it none is replaced."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from daskbatch.errors import UsageError
from daskbatch.options.values import local_path as local

__all__ = ["below", "copy", "local", "local_folder", "relative"]

_PART = ".daskbatch-part"


def local_folder(name: str, value: object) -> Path:
    """A folder that is there.

    Raises
    ------
    UsageError
    """
    path = Path(local(name, value))
    if not path.is_dir():
        raise UsageError(
            f"{name} must be a folder, got {str(path)!r}, which is {'a file' if path.exists() else 'not there'}."
        )
    return path


def below(root: Path, prefix: str = "") -> list[str]:
    """Paths of the files below a folder, seen from it, that begin so; each folder's in UTF-8 byte order."""
    above, _, stem = prefix.rpartition("/")
    found = []
    for folder, folders, files in os.walk(root / above):
        if stem and folder == str(root / above):
            folders[:] = [name for name in folders if name.startswith(stem)]
        folders.sort(key=os.fsencode)
        for name in sorted(files, key=os.fsencode):
            path = Path(folder, name).relative_to(root).as_posix()
            if path.startswith(prefix) and not name.endswith(_PART):
                found.append(path)
    return found


def relative(files: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str] | None) -> list[tuple[Path, str]]:
    """Each file with its path as seen from a folder above all of them; by default from the closest.

    Raises
    ------
    UsageError
        A file is not there or not below the folder, or there is none at all.
    """
    if isinstance(files, (str, os.PathLike)):
        raise UsageError(
            f"files must be a list of paths, got {files!r}. Write [{files!r}], or use upload for a folder."
        )
    paths = [Path(local("files", file)) for file in files]
    for path in paths:
        if not path.is_file():
            raise UsageError(
                f"files must be files, got {str(path)!r}, which is {'a folder' if path.is_dir() else 'not there'}."
            )
    if not paths:
        raise UsageError("files must name at least one file, got none.")
    above = Path(local("relative_root", root) if root is not None else os.path.commonpath([p.parent for p in paths]))
    for path in paths:
        if not path.is_relative_to(above):
            raise UsageError(
                f"relative_root must be a folder above all files, but {str(path)!r} is not below {str(above)!r}."
            )
    return [(path, path.relative_to(above).as_posix()) for path in paths]


def copy(pairs: Iterable[tuple[Path, Path]], overwrite: bool, show: bool, verb: str) -> int:
    """Copy files, and return how many were copied. A link at the target is replaced and not followed.

    Raises
    ------
    UsageError
        One cannot be read or written.
    """
    copied = 0
    for source, target in pairs:
        if not overwrite and os.path.lexists(target):
            if show:
                print(f"{target} is there already: passed over. Give overwrite=True to replace it.")
            continue
        if show:
            print(f"{verb} {source} to {target}")
        part = target.with_name(f"{secrets.token_hex(8)}{_PART}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(source, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"{str(source)!r} cannot be copied to {str(target)!r}: {error.strerror or error}. Choose a folder that"
                " you may write to, with room left."
            ) from None
        copied += 1
    return copied
