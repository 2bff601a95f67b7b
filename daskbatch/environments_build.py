"""A virtual environment for each list of packages, built once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from daskbatch.environments_packages import Wanted
from daskbatch.errors import UsageError
from daskbatch.options.interpreter import check_interpreter

__all__ = ["build_venv", "cache_folder"]

_FORM = 1
"""Goes up when the same list shall give another environment."""
_BUILDING = ".building-"
_ABANDONED = 86400.0  # seconds; no build takes a day
_TOLD = 6000  # characters of what a tool said: an error and its surroundings
_WITH_TABLES = ("azureml-dataset-runtime", "azureml-dataprep")
"""Packages of Azure's that bring along what reads tables, which runners need."""


def cache_folder() -> Path:
    """Where environments stay: on this node, or wherever its user's cache is."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return Path(root if os.path.isabs(root) else os.path.expanduser("~/.cache"), "daskbatch", "environments")


def build_venv(name: str, wanted: Wanted, base: str | None = None) -> str:
    """Build a virtual environment, or find it built.

    It appears under its name in one step: of two that build the same at once, one is kept.

    Parameters
    ----------
    name : str
        For messages.
    wanted : Wanted
    base : str, optional
        Minor version of Python; by default the present one.

    Returns
    -------
    str
        Path of its interpreter.

    Raises
    ------
    UsageError
        A tool fails, which is quoted; the cache cannot be written to.
    """
    lines = _requirements(wanted)
    uv = shutil.which("uv")
    python = sys.executable if base is None else base if uv else _python_on_path(base, name)
    cache = cache_folder()
    home = cache / _digest(lines, wanted, python)
    if not _is_usable(home):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _build(name, lines, uv, python, home)
        except OSError as error:
            raise UsageError(
                f"The environment {name!r} cannot be built in {str(cache)!r}: {error.strerror or error}. Set"
                " XDG_CACHE_HOME to a folder that you may write to, with room left."
            ) from error
    return str(_python_in(home))


def _requirements(wanted: Wanted) -> list[str]:
    """Lines as pip's requirements files have them."""
    lines = [*wanted.options, *(package.pip for package in (*wanted.conda, *wanted.pip) if package.pip)]
    if any(text.startswith(_WITH_TABLES) for text in wanted.azureml):
        given = {package.name for package in (*wanted.conda, *wanted.pip)}
        lines += [text for text in ("pandas", "pyarrow") if text not in given]
    return lines


def _digest(lines: Sequence[str], wanted: Wanted, python: str) -> str:
    version = platform.python_version() if python == sys.executable else python
    local = [Path(package.pip) for package in wanted.pip if not package.name and os.path.exists(package.pip)]
    content = [_stamp(path) for path in local]
    parts = [_FORM, version, sys.platform, platform.machine(), list(lines), content]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _stamp(path: Path) -> list[object]:
    """What tells a package that lies in a file, or in a folder, from what it was."""
    if path.is_file():
        return [hashlib.sha256(path.read_bytes()).hexdigest()]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return [[str(file.relative_to(path)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]


def _python_on_path(minor: str, name: str) -> str:
    try:
        return check_interpreter(f"python{minor}").path
    except UsageError as error:
        raise UsageError(
            f"The environment {name!r} asks for Python {minor}, and there is none on PATH ({error}) Install it, or the"
            " program uv, which gets it by itself; or leave the version out."
        ) from None


def _python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def _is_usable(folder: Path) -> bool:
    """Whether it is there, and the Python that it was made with too."""
    return os.access(_python_in(folder), os.X_OK)


def _build(name: str, lines: Sequence[str], uv: str | None, python: str, home: Path) -> None:
    _sweep(home.parent)
    folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=home.parent))
    try:
        _call(name, [uv, "venv", "--python", python, str(folder)] if uv else [python, "-m", "venv", str(folder)])
        if lines:
            listed = folder / "requirements.txt"
            listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
            inside = str(_python_in(folder))
            tool = [uv, "pip", "install", "--python", inside] if uv else [inside, "-m", "pip", "install", "--no-input"]
            _call(name, [*tool, "-r", str(listed)])
            listed.unlink()  # it may hold an index's password
        _move_scripts(folder, home)
        _publish(folder, home)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, home: Path) -> None:
    if home.exists() and not _is_usable(home):  # the Python that it was made with is gone
        aside = tempfile.mkdtemp(prefix=_BUILDING, dir=home.parent)
        home.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        folder.rename(home)
    except OSError:
        if not _is_usable(home):
            raise
        # Somebody was quicker.


def _move_scripts(folder: Path, home: Path) -> None:
    """Programs name their interpreter by its path, which is about to change."""
    for path in (folder / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if bytes(folder) in content:
                path.write_bytes(content.replace(bytes(folder), bytes(home)))


def _sweep(cache: Path) -> None:
    """Remove what builders that were killed have left."""
    for path in cache.glob(f"{_BUILDING}*"):
        try:
            abandoned = time.time() - path.stat().st_mtime > _ABANDONED
        except OSError:
            continue
        if abandoned:
            shutil.rmtree(path, ignore_errors=True)


def _call(name: str, command: Sequence[str | None]) -> None:
    """Run a tool to its end.

    Raises
    ------
    UsageError
        It fails, with its own words.
    """
    words = [word for word in command if word is not None]
    # PIP_USER: a user's configuration for installs elsewhere would forbid this one.
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode:
        raise UsageError(
            f"The environment {name!r} could not be built: `{' '.join(words)}` ended with exit status"
            f" {done.returncode}. It said:\n{done.stdout.strip()[-_TOLD:]}\nNext: mend the environment's list of"
            " packages; or leave build out, and the present Python runs the script."
        )
