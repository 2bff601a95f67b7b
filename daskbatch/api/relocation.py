"""Runs of a workspace that was moved or copied: their documents name paths of the place where it was."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["relocated"]


def relocated(value: Any, old: str, new: str) -> Any:
    """A JSON value whose texts that are paths in the folder `old` are paths in `new`.

    >>> relocated({"paths": ["/old/data", "--model=/old/m", "/older", "s3://old"]}, "/old", "/new")
    {'paths': ['/new/data', '--model=/new/m', '/older', 's3://old']}
    """
    if isinstance(value, str):
        option, equals, path = value.partition("=")
        if equals and option.startswith("-"):
            return f"{option}={relocated(path, old, new)}"
        return new + value.removeprefix(old) if value == old or value.startswith(old + os.sep) else value
    if isinstance(value, dict):
        return {key: relocated(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [relocated(one, old, new) for one in value]
    return value
