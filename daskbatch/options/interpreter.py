"""Another Python for the runners: is it one, and new enough?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

from daskbatch.errors import UsageError
from daskbatch.options.values import local_path

__all__ = ["OLDEST", "Interpreter", "check_interpreter", "refuse_in_process"]

OLDEST = (3, 9)
"""What the runner's side is written for."""

_PATIENCE = 20.0  # seconds; a cold network disk takes some for a Python and its standard library
_ASK = "import sys; sys.stdout.write('python %d %d %d' % sys.version_info[:3])"  # old ones shall answer too
_ANSWER = re.compile(r"^python (\d+) (\d+) (\d+)$", re.MULTILINE)
_EXAMPLE = "such as '/path/to/venv/bin/python'"


class Interpreter(NamedTuple):
    """A Python that has answered."""

    path: str
    """Absolute. Links are not followed: a virtual environment's Python is one."""
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        """Such as ``"3.11"``."""
        return ".".join(map(str, self.version[:2]))


def check_interpreter(value: object, name: str = "python") -> Interpreter:
    """Start a Python and ask for its version.

    Parameters
    ----------
    value : path
        Of the interpreter; a name without a folder is looked for on PATH.
    name : str
        Of the option, for messages.

    Raises
    ------
    UsageError
        It does not exist, cannot be started, is no Python, is older than 3.9, or does not answer in 20 s.
    """
    path = _path(value, name)
    version = sys.version_info[:3] if path == sys.executable else _ask(path, name)
    if version < OLDEST:
        raise UsageError(
            f"{name} must be Python {_text(OLDEST)} or later, but {path!r} is Python {_text(version)}. Make a virtual"
            " environment with a newer one."
        )
    return Interpreter(path, version)


def refuse_in_process(value: object, how: str) -> None:
    """Where the script runs in this process, there is no other interpreter to run it.

    Parameters
    ----------
    value : path or None
        The option ``python``.
    how : str
        What runs in this process, such as ``"compute 'serial'"``.

    Raises
    ------
    UsageError
        It is not the interpreter of this process.
    """
    if value is not None and _path(value, "python") != sys.executable:
        raise UsageError(
            f"{how} runs the script in this process, which is {sys.executable!r}, got python {os.fspath(value)!r}."  # type: ignore[call-overload]
            " Leave python out there."
        )


def _path(value: object, name: str) -> str:
    text = value if isinstance(value, str) else ""
    if text and not os.path.dirname(text) and not os.path.exists(text):
        found = shutil.which(text)
        if found is None:
            raise UsageError(f"{name} must be a Python interpreter, but there is no {text!r} on PATH. Give its path.")
        text = found
    path = local_path(name, text or value)
    if os.path.isdir(path):
        inside = os.path.join(path, "bin", "python")
        meant = f" Did you mean {inside!r}?" if os.path.exists(inside) else f" Give the interpreter, {_EXAMPLE}."
        raise UsageError(f"{name} must be a Python interpreter, got the folder {path!r}.{meant}")
    if not os.path.exists(path):
        broken = " It is a link to one that is gone." if os.path.islink(path) else ""
        raise UsageError(f"{name} must be a Python interpreter, {_EXAMPLE}, but {path!r} does not exist.{broken}")
    if not os.access(path, os.X_OK):
        raise UsageError(f"{name} must be a Python interpreter, {_EXAMPLE}, but {path!r} is not executable.")
    return path


def _ask(path: str, name: str) -> tuple[int, int, int]:
    command = [path, "-E", "-S", "-c", _ASK]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
        said = done.stderr.strip()[-500:]
        answer = None if done.returncode else _ANSWER.search(done.stdout)
    except subprocess.TimeoutExpired:
        said, answer = f"no answer within {_PATIENCE:g} s", None
    except OSError as error:
        said, answer = str(error.strerror or error), None
    if answer is None:
        raise UsageError(
            f"{name} must be a Python interpreter, {_EXAMPLE}, but {path!r} does not tell its version"
            f"{': ' + said if said else ''}. Try: {path} --version"
        )
    return int(answer[1]), int(answer[2]), int(answer[3])


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
