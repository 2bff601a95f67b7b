"""What counts of a source directory: which of its files, and their digest."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from daskbatch.errors import EntryScriptError
from daskbatch.layout import STATE_FOLDER, WORKSPACE_FOLDER

__all__ = ["left_out", "modules_beside", "source_digest"]

_CHANGES_BY_ITSELF = (".DS_Store", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__")
_NOT_SOURCE = (".git", ".venv", STATE_FOLDER, *_CHANGES_BY_ITSELF)
_SOURCE_LIMIT = 300 * 2**20


def left_out(output: str | os.PathLike[str]) -> Callable[[str, list[str]], list[str]]:
    """Tell `shutil.copytree` what is no source: caches, notebooks, repositories, this run's own output.

    A notebook is saved again and again while its run goes on, so a run started from it would never be the same.
    """
    own = Path(output).resolve()

    def ignore(folder: str, names: list[str]) -> list[str]:
        return [
            name
            for name in names
            if name in _NOT_SOURCE
            or name.endswith(".ipynb")
            or Path(folder, name).resolve() == own
            or os.path.isdir(os.path.join(folder, name, STATE_FOLDER))  # another run's output
            or (name == WORKSPACE_FOLDER and "config.json" in names)  # registered data and models, earlier runs
        ]

    return ignore


def source_digest(source: str, output: str | os.PathLike[str]) -> str:
    """SHA-256 of the names and contents of a source directory's files, as hexadecimal digits.

    Raises
    ------
    EntryScriptError
        It is too large to be source code, or cannot be read.
    """
    digest, total = hashlib.sha256(), 0
    try:
        for path in _files(source, left_out(output), ()):
            total += os.path.getsize(path)
            if total > _SOURCE_LIMIT:
                raise EntryScriptError(
                    f"source_directory {source!r} holds more than {_SOURCE_LIMIT >> 20} MiB. It is copied for the "
                    "workers: keep code there, and pass models and data by path in the arguments."
                )
            digest.update(os.fsencode(os.path.relpath(path, source)) + b"\0")
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise EntryScriptError(
            f"source_directory: {error.filename or source} cannot be read: {error.strerror}."
            " It is copied for the workers: move what is no code out of it."
        ) from error
    return digest.hexdigest()


def _files(
    folder: str, ignore: Callable[[str, list[str]], list[str]], above: tuple[tuple[int, int], ...]
) -> Iterator[str]:
    """Regular files below a folder, linked ones too, as a copy holds them; by name."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise EntryScriptError(
            f"source_directory: {folder!r} is a link to a folder above it, so a copy would never end. Remove the link."
        )
    names = os.listdir(folder)
    for name in sorted(set(names).difference(ignore(folder, names))):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            yield from _files(path, ignore, (*above, here))
        elif os.path.isfile(path):
            yield path


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
