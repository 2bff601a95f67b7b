"""Which files of a source directory count: one answer for its digest, its copy, and whoever checks it beforehand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pathspec import GitIgnoreSpec

from daskbatch.errors import EntryScriptError
from daskbatch.layout import STATE_FOLDER, WORKSPACE_FOLDER

__all__ = ["SourceFile", "source_files"]

_CHANGES_BY_ITSELF = (".DS_Store", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__")
_NOT_SOURCE = (".git", ".venv", STATE_FOLDER, *_CHANGES_BY_ITSELF)
_OF_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")
_SOURCE_LIMIT = 300 * 10**6  # bytes
_ENOUGH_SEEN = 50_000  # files of a directory that is too large: it may be somebody's whole home
_NAMED = 3


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that counts."""

    relative: str
    """Its path in the source directory."""
    path: str
    size: int
    """Bytes."""


def source_files(
    source: str, output: str | os.PathLike[str] | None = None, *, script: str | None = None
) -> list[SourceFile]:
    """List the regular files of a source directory that count, linked ones too, by name.

    What ``.amlignore`` in it lists is left out; where there is none, what ``.gitignore`` lists, there and in the
    folders below. That is the rule of Azure Machine Learning's snapshots, and the patterns are git's. Repositories,
    virtual environments, caches, notebooks, the workspace's own folder and the outputs of runs never count: a
    notebook is saved again and again while its run goes on, so a run started from it would never be the same.

    Parameters
    ----------
    source : str
    output : path, optional
        The output folder of the run, which may lie in it.
    script : str, optional
        A file that has to be among them if it lies in the directory: the entry script.

    Raises
    ------
    EntryScriptError
        More than 300 MB count, the script is left out, or something cannot be read.
    """
    root = _Place(source, "", None if output is None else Path(output).resolve(), ())
    found: list[SourceFile] = []
    total = 0
    try:
        for file in _files(root.with_rules(os.listdir(source)), ()):
            found.append(file)
            total += file.size
            if total > _SOURCE_LIMIT and len(found) >= _ENOUGH_SEEN:
                break
    except OSError as error:
        raise EntryScriptError(
            f"source_directory: {error.filename or source} cannot be read: {error.strerror}."
            " It is copied for the workers: move what is no code out of it, or list it in .amlignore there."
        ) from error
    if total > _SOURCE_LIMIT:
        raise EntryScriptError(_too_large(source, found, total))
    if script is not None:
        _require(os.path.relpath(script, source), source, found)
    return found


@dataclass(frozen=True, slots=True)
class _Rules:
    """One ignore file."""

    folder: str
    """Where it stands, relative to the source directory, with a slash at the end unless that is the directory."""
    patterns: GitIgnoreSpec

    def __call__(self, relative: str) -> bool | None:
        """Whether it leaves a path out, or keeps it; None where it says nothing. Folders end with a slash."""
        path = relative.removeprefix(self.folder)
        if not path.endswith("/"):
            return self.patterns.check_file(path).include
        # A folder is only asked about once those above it are kept, so the last pattern that matches it decides.
        for pattern in reversed(list(self.patterns.patterns)):
            whole = not str(getattr(pattern, "pattern", "")).rstrip().endswith("/**")  # that means what is in it
            if whole and pattern.include is not None and pattern.match_file(path) is not None:
                return pattern.include
        return None


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder of the source directory, and what decides about the names in it."""

    path: str
    relative: str
    output: Path | None
    rules: tuple[_Rules, ...]
    alone: bool = False
    """The only rules are those of the root's ``.amlignore``."""

    def with_rules(self, names: list[str]) -> _Place:
        """The folder with the rules of its own ignore file."""
        if self.alone:
            return self
        alone = not self.relative and ".amlignore" in names
        name = ".amlignore" if alone else ".gitignore"
        path = os.path.join(self.path, name)
        if name not in names or not os.path.isfile(path):
            return self
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = file.read().splitlines()
        try:
            own = _Rules(self.relative, GitIgnoreSpec.from_lines(lines))
        except ValueError as error:
            raise EntryScriptError(
                f"{path!r} holds a pattern that git does not know either: {error}. Next: correct that line."
            ) from error
        return replace(self, rules=(*self.rules, own), alone=alone)

    def below(self, name: str) -> _Place:
        return replace(self, path=os.path.join(self.path, name), relative=f"{self.relative}{name}/")

    def leaves_out(self, name: str, names: list[str]) -> bool:
        path = os.path.join(self.path, name)
        if name in _NOT_SOURCE or name.endswith(".ipynb"):
            return True
        if name == WORKSPACE_FOLDER and "config.json" in names:  # registered data and models, earlier runs
            return True
        if self.output is not None and Path(path).resolve() == self.output:
            return True
        is_folder = os.path.isdir(path)
        if is_folder and any(os.path.lexists(os.path.join(path, mark)) for mark in (STATE_FOLDER, *_OF_ENVIRONMENTS)):
            return True  # another run's output, or an installed Python
        relative = f"{self.relative}{name}{'/' if is_folder else ''}"
        verdicts = (rules(relative) for rules in reversed(self.rules))  # the nearest ignore file has the last word
        return next((verdict for verdict in verdicts if verdict is not None), False)


def _files(place: _Place, above: tuple[tuple[int, int], ...]) -> Iterator[SourceFile]:
    status = os.stat(place.path)
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise EntryScriptError(
            f"source_directory: {place.path!r} is a link to a folder above it, so a copy would never end."
            " Remove the link."
        )
    names = os.listdir(place.path)
    place = place.with_rules(names)
    for name in sorted(names):
        path = os.path.join(place.path, name)
        if place.leaves_out(name, names):
            continue
        if os.path.isdir(path):
            yield from _files(place.below(name), (*above, here))
        elif os.path.isfile(path):
            yield SourceFile(place.relative + name, path, os.path.getsize(path))


def _too_large(source: str, found: list[SourceFile], total: int) -> str:
    folders: Counter[str] = Counter()
    for file in found:
        folder = os.path.dirname(file.relative)
        if folder:
            folders[f"{folder}/"] += file.size
    files = {file.relative: file.size for file in found}
    at_least = "at least " if len(found) >= _ENOUGH_SEEN else ""
    return (
        f"source_directory {source!r} holds {at_least}{_megabytes(total)} in {at_least}{len(found)} files, allowed are"
        f" {_megabytes(_SOURCE_LIMIT)}: it is copied for the workers. The largest files: {_largest(files)}."
        f"{f' The largest folders: {_largest(folders)}.' if folders else ''} Next: list what is no code in .amlignore"
        " there (the patterns of .gitignore), or move it out; models and data are given by path or as inputs."
    )


def _largest(sizes: Mapping[str, int]) -> str:
    first = sorted(sizes.items(), key=lambda one: (-one[1], one[0]))[:_NAMED]
    return ", ".join(f"{name} ({_megabytes(size)})" for name, size in first)


def _megabytes(size: int) -> str:
    return f"{size / 10**6:.1f} MB".replace(".0 ", " ")


def _require(relative: str, source: str, found: list[SourceFile]) -> None:
    outside = relative == os.pardir or relative.startswith(os.pardir + os.sep)
    if outside or relative in {file.relative for file in found} or not os.path.isfile(os.path.join(source, relative)):
        return
    raise EntryScriptError(
        f"The entry script {relative!r} is left out of source_directory {source!r}, by .amlignore or .gitignore there,"
        f" or as it lies in a folder that is no source. Next: keep it with a line '!/{relative}' at the end of that"
        " file, or move it."
    )
