"""Tells secrets in what a definition of compute says."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["is_secret", "tells_secret"]

_SECRET = re.compile(r"password|passwd|secret|token(?!iz)|credential|api_?key|access_?key", re.IGNORECASE)
_ASSIGNED = re.compile(r"([\w.-]+)\s*=\s*(?=\"?[^\s$`\"])|--?([\w-]+)\s+(?=\"?[^\s$`\"-])")
"""The name of what is set, unless to a variable or to what a command prints: ``NAME=value``, ``--name value``."""
_SHOWN = re.compile(
    r"://[^/\s:@]+:[^/\s@$`]+@|\bAuthorization:\s*\w+\s+[^\s$`]|---- ?BEGIN [\w ]*PRIVATE KEY", re.IGNORECASE
)
"""A secret without a name: in a URL, in the header of a request, a key itself."""
_PLACE = re.compile(r"[_-](file|path|dir|folder)$", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether what has this name is a secret."""
    return bool(_SECRET.search(name)) and not _PLACE.search(name)


def tells_secret(given: object) -> bool:
    """Whether a text holds a secret, or one of those in lists and mappings, or a key of these names one."""
    if isinstance(given, str):
        return bool(_SHOWN.search(given)) or any(is_secret(one or other) for one, other in _ASSIGNED.findall(given))
    if isinstance(given, Mapping):
        names = [name for name in given if isinstance(name, str)]
        return any(is_secret(name) for name in names) or tells_secret([*names, *given.values()])
    return isinstance(given, (list, tuple)) and any(tells_secret(part) for part in given)
