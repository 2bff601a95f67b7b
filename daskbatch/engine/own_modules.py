"""A script in the user's own process, with modules as a process of its own would have them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

__all__ = ["modules_of_its_own"]

_NEVER_ASIDE = ("__main__", "__mp_main__", "daskbatch")
"""Modules that stay those that they are, wherever a script lies."""
_PYTHON = os.path.join(os.path.dirname(os.__file__), "")


@contextmanager
def modules_of_its_own(folders: Sequence[str]) -> Iterator[None]:
    """Have a script import what lies in its folders as a new process would: another script's, or a module as it was
    before its last change, must not answer for it. What this process had imported is there again afterwards.
    """
    aside = {name: sys.modules.pop(name) for name in _modules_from(folders)}
    kept = set(sys.modules)
    try:
        yield
    finally:
        for name in _modules_from(folders) - kept:
            del sys.modules[name]
        sys.modules.update(aside)


def _modules_from(folders: Sequence[str]) -> set[str]:
    """Names of the user's modules that lie below these folders, or that these folders have others for; packages whole.

    Not of what is installed, even below a script's folder, nor of a package with compiled parts, such as a copy of
    numpy there: many cannot be loaded a second time.
    """
    roots = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
    found: set[str] = set()
    fixed = set(_NEVER_ASIDE)
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        content = getattr(module, "__dict__", None) or {}
        given = (content.get("__file__"), *(content.get("__path__") or ()))
        places = [place for place in given if isinstance(place, str)]
        if any(map(_is_fixed, places)):
            fixed.add(top)
        elif places and top not in found | fixed:
            below = any(os.path.join(os.path.realpath(place), "").startswith(roots) for place in places)
            if below or PathFinder.find_spec(top, folders) is not None:
                found.add(top)
    found -= fixed
    return {name for name in list(sys.modules) if name.partition(".")[0] in found}


def _is_fixed(place: str) -> bool:
    installed = not {"site-packages", "dist-packages"}.isdisjoint(place.split(os.sep))
    return installed or place.startswith(_PYTHON) or place.endswith(tuple(EXTENSION_SUFFIXES))
