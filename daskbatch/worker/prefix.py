"""A command that starts the runners' interpreter: a container's, ``nice``, ``env``.

It must run in the same process namespace, and hand on the environment, the working folder and open files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

__all__ = ["FOLDERS", "filled"]

FOLDERS = "{folders}"
"""Stands for the folders that a container has to show under their own paths, separated by commas."""


def filled(prefix: Sequence[str], folders: Iterable[str]) -> list[str]:
    """The command with folders in the place of `FOLDERS`: those that are there, none inside another.

    Parameters
    ----------
    prefix : sequence of str
    folders : iterable of str
        Absolute paths.

    Examples
    --------
    >>> filled(["apptainer", "exec", "--bind", "{folders}"], ["/", "/usr"])
    ['apptainer', 'exec', '--bind', '/']
    """
    kept: list[str] = []
    for folder in sorted(set(folders), key=len):
        if not any(os.path.commonpath([folder, other]) == other for other in kept):
            kept.append(folder)
    return [part.replace(FOLDERS, ",".join(kept)) for part in prefix]
