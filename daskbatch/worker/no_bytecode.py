"""Modules beside an entry script leave no compiled copies there.

Many processes would write them at once, perhaps on a shared filesystem, and into a folder that is the user's. Of
packages elsewhere the copies are wanted: without them each process would compile pandas again.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import Any

__all__ = ["write_no_bytecode"]

_folders: set[str] = set()


class _Loader(SourceFileLoader):
    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing; who imports takes that for a folder that is read-only."""


_find_in = FileFinder.path_hook(
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (_Loader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)  # as Python's own, but for the loader


def write_no_bytecode(folders: Iterable[str]) -> None:
    """Have what is imported from these folders, absolute paths, and from those below them leave no bytecode there.

    An environment that lies below one, with this very interpreter, is excepted.
    """
    _folders.update(os.path.join(folder, "") for folder in folders)
    if _hook not in sys.path_hooks:
        sys.path_hooks.insert(0, _hook)
    for path in [path for path in sys.path_importer_cache if _is_below(path)]:
        del sys.path_importer_cache[path]


def _hook(path: str) -> Any:
    if not _is_below(path):
        raise ImportError  # what tells Python to ask the next hook
    return _find_in(path)


def _is_below(path: str) -> bool:
    path = os.path.join(path, "")
    own = os.path.join(sys.prefix, "")
    return path.startswith(tuple(_folders)) and not path.startswith(own)
