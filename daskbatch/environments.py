"""An environment becomes a Python for the runners: the present one, one that is there, or one that is built.

By default the present one runs the script, and what it lacks is told: an environment of years ago asks for packages
that no index has for a Python of today, and most scripts run without them.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from daskbatch.environments_build import build_venv
from daskbatch.environments_packages import TENSORFLOW, Package, Wanted, pins_tensorflow_below_2, wanted_packages
from daskbatch.options.interpreter import OLDEST, check_interpreter

__all__ = ["resolve"]


def resolve(environment: Mapping[str, Any], build: bool = False) -> tuple[str | None, list[str]]:
    """Find the interpreter for an environment.

    Parameters
    ----------
    environment : mapping
        As `daskbatch.Environment.as_document` gives it.
    build : bool
        Whether to make a virtual environment with what it asks for, once for the same content. It stays in
        ``$XDG_CACHE_HOME/daskbatch/environments``.

    Returns
    -------
    python : str or None
        Path of the interpreter; None for the present one.
    notices : list of str
        What differs from what was asked for, a line each.

    Raises
    ------
    UsageError
        A package is named in a way that is none; there is no such interpreter; the build fails.
    """
    name, python = environment["name"], environment["python"]
    if python["user_managed_dependencies"]:
        own = python["interpreter_path"] in ("", "python")
        if python.get("command_prefix"):  # that alone knows what the path means, and is asked when the run is made
            return None if own else python["interpreter_path"], []
        if own:
            return None, []
        return check_interpreter(python["interpreter_path"], f"interpreter_path of environment {name!r}").path, []
    wanted = wanted_packages(environment)
    if build:
        base, notices = _base(wanted.python)
        path = build_venv(name, wanted, base)
        return path, [f"environment {name!r}: {line}" for line in (*notices, *_left_out(wanted))]
    lacking = list(_lacking(wanted, pins_tensorflow_below_2(environment)))
    if lacking:
        lacking.append(
            f'{sys.executable} runs the script all the same; "build_environments": true in config.json makes a Python'
            " that has them"
        )
    return None, [f"environment {name!r}: {line}" for line in (*_stand_in(wanted), *lacking)]


def _stand_in(wanted: Wanted) -> Iterator[str]:
    if wanted.azureml:
        yield f"{', '.join(wanted.azureml)}: daskbatch stands in for what scripts import from azureml"


def _lacking(wanted: Wanted, tensorflow1: bool) -> Iterator[str]:
    """What this Python has not, or has in another version."""
    if wanted.python is not None and not _same_minor(wanted.python):
        yield f"{wanted.python.text} is asked for, this is Python {platform.python_version()}"
    for package in (*wanted.conda, *wanted.pip):
        if not package.applies or not package.pip:
            continue
        if not package.name:
            yield f"{package.text} is asked for; whether this Python has it cannot be told"
            continue
        found = _installed(package.name)
        if found is None:
            yield f"{package.text} is asked for, this Python has no {package.name}"
        elif not package.versions.contains(found, prereleases=True):
            as_v1 = tensorflow1 and package.name in TENSORFLOW
            how = ": `import tensorflow` is its tensorflow.compat.v1" if as_v1 else ""
            yield f"{package.text} is asked for, this Python has {found}{how}"


def _installed(name: str) -> str | None:
    for same in (name, *TENSORFLOW) if name in TENSORFLOW else (name,):
        try:
            return version(same)
        except PackageNotFoundError:
            continue
    return None


def _left_out(wanted: Wanted) -> Iterator[str]:
    """What a build does otherwise than conda and Azure would."""
    yield from _stand_in(wanted)
    mapped = [package for package in wanted.conda if package.pip]
    if mapped:
        pairs = ", ".join(f"{package.text} as {package.pip}" for package in mapped)
        yield f"there is no conda here; pip installs {pairs}"
    dropped = [package.text for package in wanted.conda if not package.pip]
    if dropped:
        yield f"{', '.join(dropped)}: left out, as pip has no such package"


def _same_minor(package: Package) -> bool:
    asked = _minor(package)
    return asked == sys.version_info[:2] if asked else package.versions.contains(platform.python_version())


def _minor(package: Package) -> tuple[int, int] | None:
    """``python=3.8.13`` asks for 3.8; None where it asks for a range."""
    match = re.fullmatch(r"={2,3}(\d+)\.(\d+)(\..*)?", str(package.versions))
    return (int(match[1]), int(match[2])) if match else None


def _base(package: Package | None) -> tuple[str | None, list[str]]:
    """Which Python to build with, such as ``"3.10"``; None: the present one."""
    if package is None or _same_minor(package):
        return None, []
    asked = _minor(package)
    if asked is not None and asked >= OLDEST:
        return ".".join(map(str, asked)), []
    oldest, ours = ".".join(map(str, OLDEST)), platform.python_version()
    return None, [f"{package.text} is asked for; runners need {oldest} or later, so it is made with Python {ours}"]
