"""YAML files: read without running anything in them, written in one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.options.values import local_path

__all__ = ["read_yaml", "write_yaml"]


def read_yaml(path: str | os.PathLike[str], what: str) -> tuple[dict[str, Any], Path]:
    """What a YAML file holds, and its absolute path.

    Parameters
    ----------
    path : path
    what : str
        What it should be, such as ``"pipeline"``, for messages.

    Raises
    ------
    UsageError
        It cannot be read, is no YAML, or holds no mapping with texts for keys.
    """
    import yaml

    file = Path(local_path("path", path))
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The {what} {str(file)!r} cannot be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"The {what} {str(file)!r} is no YAML: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError(f"The {what} {str(file)!r} must hold a mapping, 'key: value', got {type(found).__name__}.")
    return found, file


def write_yaml(path: str | os.PathLike[str], value: Mapping[str, Any], *, private: bool = False) -> Path:
    """Write a YAML file, over one that is there, and the folders above it; return its absolute path.

    Parameters
    ----------
    path : path
    value : mapping
        JSON values.
    private : bool
        Whether its owner alone may read it.

    Raises
    ------
    UsageError
        It cannot be written.
    """
    import yaml

    file = Path(local_path("path", path))
    content = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=120)
    temporary = file.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
            with os.fdopen(fd, "w", encoding="utf-8") as opened:
                opened.write(content)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{str(file)!r} cannot be written: {error.strerror or error}. Choose another path.") from None
    return file
