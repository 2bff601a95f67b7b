"""A store's client: one in a process for the same options."""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import protocol_of, shown

__all__ = ["MAX_CONNECTIONS", "filesystem", "is_s3", "token_of"]

MAX_CONNECTIONS = 128
"""Connections of one process to one store: eight slots of 16 gets."""

_PACKAGES = {"s3": "s3fs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "gs": "gcsfs", "gcs": "gcsfs"}
_CONNECT_TIMEOUT = 10.0
"""Seconds."""
_READ_TIMEOUT = 60.0
"""Seconds without a byte: a server-side copy of 5 GiB answers late, but sends blanks meanwhile."""


def filesystem(url: str, options: StorageOptions = ()) -> Any:
    """Return the fsspec filesystem for `url`; the same one for the same options in this process.

    fsspec keeps it by process id, so a forked child gets its own. It is made without credentials: the client finds
    them by itself, in the environment, a profile or an instance role of this host.

    Raises
    ------
    UsageError
        Where no package for the protocol is installed, or it is not known.
    """
    import fsspec

    protocol = protocol_of(url)
    try:
        return fsspec.filesystem(protocol, **_arguments(protocol, dict(options)))
    except ImportError as error:
        package = _PACKAGES.get(protocol, f"the package for {protocol}://")
        raise UsageError(
            f"{shown(url)}: {package} cannot be imported on this host ({error}). Next: pip install {package}"
        ) from error
    except ValueError as error:
        if "rotocol" not in str(error):
            raise
        raise UsageError(
            f"{shown(url)}: {protocol}:// is not known. Allowed are s3://, abfs://, gs://, file:// and what fsspec"
            " knows."
        ) from error


def is_s3(file_system: Any) -> bool:
    """Whether requests go to an S3 server."""
    protocols = file_system.protocol
    return "s3" in ((protocols,) if isinstance(protocols, str) else protocols)


def token_of(info: dict[str, Any]) -> str:
    """What changes with the content of an object, of what fsspec tells: its etag, else its time; empty for neither."""
    for name in ("ETag", "etag", "mtime", "updated", "last_modified", "LastModified", "created"):
        if value := info.get(name):
            # One filesystem tells the same time as a number in its listing and as a date elsewhere.
            return str(value.timestamp() if isinstance(value, datetime) else value).strip('"')
    return ""


def _arguments(protocol: str, given: dict[str, Any]) -> dict[str, Any]:
    if protocol != "s3":
        # The memory filesystem keeps no listing; others would hide objects that another process has just put.
        return given if protocol == "memory" else {**given, "use_listings_cache": False}
    importlib.import_module("s3fs")
    client = {
        name: given.pop(ours) for ours, name in (("region", "region_name"), ("verify", "verify")) if ours in given
    }
    config: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "max_pool_connections": MAX_CONNECTIONS,
        # One loop decides on retries, ours: two in one another would multiply their tries.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        # The checksums of newer clients come in a framing that many other stores do not understand. Uploads carry
        # their MD5 instead, which all check.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    style = given.pop("addressing_style", "path" if "endpoint_url" in given else None)
    if style:
        config["s3"] = {"addressing_style": style}
    return {**given, "client_kwargs": client, "config_kwargs": config, "use_listings_cache": False}
