"""Another Python for the runners: is it one, and new enough?"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from daskbatch.errors import UsageError
from daskbatch.options.values import local_path
from daskbatch.worker.prefix import filled

__all__ = ["OLDEST", "Interpreter", "check_interpreter", "parse_prefix", "refuse_in_process"]

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


def check_interpreter(value: object, name: str = "python", prefix: Sequence[str] = ()) -> Interpreter:
    """Start a Python and ask for its version.

    Parameters
    ----------
    value : path
        Of the interpreter; a name without a folder is looked for on PATH. None: the present one.
    name : str
        Of the option, for messages.
    prefix : sequence of str
        Command that starts it, from `parse_prefix`. Where there is one, it alone knows what the path means.

    Raises
    ------
    UsageError
        It does not exist, cannot be started, is no Python, is older than 3.9, or does not answer in 20 s.
    """
    if prefix:
        path = sys.executable if value is None else os.fsdecode(value)  # type: ignore[arg-type]
        version = _ask([*filled(prefix, [os.getcwd()]), path], "command_prefix must start a Python, but")
    else:
        path = _path(value, name)
        told = f"{name} must be a Python interpreter, {_EXAMPLE}, but"
        version = sys.version_info[:3] if path == sys.executable else _ask([path], told)
    if version < OLDEST:
        raise UsageError(
            f"{name} must be Python {_text(OLDEST)} or later, but {path!r} is Python {_text(version)}. Make a virtual"
            " environment with a newer one."
        )
    return Interpreter(path, version)


def parse_prefix(value: object) -> tuple[str, ...]:
    """A command as a text, split as a shell does, or as a list.

    Parameters
    ----------
    value : str or list of str, optional

    Returns
    -------
    tuple of str
        The first is the absolute path of a program.

    Raises
    ------
    UsageError
        It is no such thing, or there is no such program.
    """
    try:
        parts = shlex.split(value) if isinstance(value, str) else list(value or ())  # type: ignore[call-overload]
    except (TypeError, ValueError):
        parts = [None]
    if not all(isinstance(part, str) and "\0" not in part for part in parts):
        raise UsageError(
            "command_prefix must be a command such as 'apptainer exec image.sif', or a list of its words, got"
            f" {value!r}."
        )
    if not parts:
        return ()
    program = shutil.which(os.path.expanduser(parts[0]))
    if program is None:
        raise UsageError(f"command_prefix must begin with a program, but there is no {parts[0]!r} on PATH.")
    return (os.path.abspath(program), *parts[1:])


def refuse_in_process(value: object, prefix: object, how: str) -> None:
    """Where the script runs in this process, there is no other interpreter to run it.

    Parameters
    ----------
    value : path or None
        The option ``python``.
    prefix : str, list or None
        The option ``command_prefix``.
    how : str
        What runs in this process, such as ``"compute 'serial'"``.

    Raises
    ------
    UsageError
        It is not the interpreter of this process, or a command would start it.
    """
    if prefix:
        raise UsageError(f"{how} runs the script in this process, got command_prefix {prefix!r}. Leave it out there.")
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


def _ask(command: Sequence[str], must: str) -> tuple[int, int, int]:
    try:
        done = subprocess.run(
            [*command, "-E", "-S", "-c", _ASK],
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
            f"{must} {command[-1]!r} does not tell its version"
            f"{': ' + said if said else ''}. Try: {shlex.join([*command, '--version'])}"
        )
    return int(answer[1]), int(answer[2]), int(answer[3])


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
