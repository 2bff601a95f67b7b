"""Which object a local copy stands for: scripts open the copy, people are told of the object.

Runs inside the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import os
import re

__all__ = ["CopyNames"]

_NUMBERS = rf"\d+{re.escape(os.sep)}[\d.]+{re.escape(os.sep)}"


class CopyNames:
    """Names of objects, by the paths of their copies: ``<folder>/<number>/<numbers>/<bucket>/<key>``.

    Parameters
    ----------
    folder
        Where copies lie. Empty: nothing is a copy, and every path is its own name.
    prefix
        Such as ``"s3://"``.
    """

    def __init__(self, folder: str = "", prefix: str = "") -> None:
        self._copy = re.compile(re.escape(folder + os.sep) + _NUMBERS) if folder else None
        self._prefix = prefix

    def of(self, path: str) -> str:
        """The URL of the object, or the path itself."""
        if self._copy is None:
            return path
        copy = self._copy.match(path)
        return path if copy is None else self._prefix + path[copy.end() :]

    def within(self, text: str) -> str:
        """`text` with URLs in the place of the copies' paths."""
        return text if self._copy is None else self._copy.sub(lambda _: self._prefix, text)
