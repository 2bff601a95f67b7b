"""The name that was perhaps meant, for messages.

Runs in the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(got: str, allowed: Iterable[str]) -> str:
    """``" Did you mean 'csv'?"`` where a name is close, else nothing.

    >>> nearest("cvs", ["csv", "parquet"])
    " Did you mean 'csv'?"
    """
    words = {word.lower(): word for word in allowed}
    close = difflib.get_close_matches(got.lower(), list(words), n=1)
    return f" Did you mean {words[close[0]]!r}?" if close else ""
