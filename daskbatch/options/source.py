"""The code of a run: a source directory's digest and copy, and the modules beside a script."""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from daskbatch.errors import EntryScriptError
from daskbatch.options.source_files import SourceFile, source_files

__all__ = ["archived", "copy_source", "modules_beside", "source_digest"]


def source_digest(source: str, output: str | os.PathLike[str]) -> str:
    """SHA-256 of the names and contents of a source directory's files, as hexadecimal digits.

    Raises
    ------
    EntryScriptError
        As `source_files`.
    """
    with _told(source):
        return _digest((file, _content(file.path)) for file in source_files(source, output))


def copy_source(source: str, target: Path, output: str | os.PathLike[str], script: str | None = None) -> str:
    """Copy what `source_digest` sees into a new folder, and give the digest of what was copied.

    Raises
    ------
    EntryScriptError
        As `source_files`.
    OSError
        The copy cannot be written.
    """
    target.mkdir()

    def copies() -> Iterator[tuple[SourceFile, bytes]]:
        for file in source_files(source, output, script=script):
            copy = target / file.relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.path, copy)
            yield file, _content(copy)

    with _told(source):
        return _digest(copies())


def archived(folder: Path) -> bytes:
    """A zip archive of all files in a folder.

    Raises
    ------
    EntryScriptError
        A name cannot stand in one.
    OSError
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if "\\" in name or name != name.encode("utf-8", "replace").decode():
                raise EntryScriptError(
                    f"source_directory: {name!r} cannot be put into an archive for the nodes, as its name holds a"
                    " backslash or is no UTF-8. Next: rename it, or list it in .amlignore there."
                )
            if path.is_file():
                archive.write(path, name)
    return made.getvalue()


def _digest(contents: Iterable[tuple[SourceFile, bytes]]) -> str:
    digest = hashlib.sha256()
    for file, content in contents:
        digest.update(os.fsencode(file.relative) + b"\0" + content)
    return digest.hexdigest()


def _content(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextlib.contextmanager
def _told(source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EROFS):
            raise
        raise EntryScriptError(
            f"source_directory: {error.filename or source} cannot be read: {error.strerror}."
            " It is copied for the workers: move what is no code out of it, or list it in .amlignore there."
        ) from error


def modules_beside(script: str) -> dict[str, str]:
    """SHA-256 of the modules in a script's own folder that it imports, by their path there.

    Those that they import in turn too; of a package all modules. Imports by a name that is made up at run time are
    not seen.
    """
    folder = os.path.dirname(script)
    found: dict[str, str] = {}
    waiting = [script]
    while waiting:
        for path in _imported(waiting.pop(), folder):
            name = os.path.relpath(path, folder)
            if name not in found and path != script:
                with open(path, "rb") as file:
                    found[name] = hashlib.file_digest(file, "sha256").hexdigest()
                waiting.append(path)
    return dict(sorted(found.items()))


def _imported(path: str, folder: str) -> Iterator[str]:
    """Files in `folder` that the module at `path` imports."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    for name in sorted(names):
        if os.path.isfile(os.path.join(folder, f"{name}.py")):
            yield os.path.join(folder, f"{name}.py")
        elif os.path.isdir(os.path.join(folder, name)):
            for found in sorted(Path(folder, name).rglob("*.py")):
                yield str(found)
