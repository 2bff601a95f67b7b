"""A store's client: one in a process for the same options."""

from __future__ import annotations

import importlib
import os
from datetime import datetime
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.remote.credentials import places_of
from daskbatch.remote.errors import CredentialsRefused
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import protocol_of, shown, split

__all__ = ["MAX_CONNECTIONS", "filesystem", "is_azure", "is_memory", "is_s3", "time_of", "token_of"]

MAX_CONNECTIONS = 128
"""Connections of one process to one store: eight slots of 16 gets."""

_PACKAGES = {"s3": "s3fs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "gs": "gcsfs", "gcs": "gcsfs"}
_CREDENTIALS_IN = ("AWS_", "AZURE_", "GOOGLE_")
"""How the names of the environment's variables begin that clients read."""
_FOUND: dict[str, int] = {}
"""The hash of those variables that a protocol's clients were made with."""
_AZURE = ("abfs", "abfss", "az")
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
    CredentialsRefused
        Where an Azure account is not told, or another one than that of the credentials.
    """
    import fsspec

    protocol = protocol_of(url)
    given = dict(options)
    if protocol in _AZURE:
        protocol, given = "abfs", {**_account(url), **given}
    try:
        _forget_other_credentials(protocol)
        made = fsspec.filesystem(protocol, **_arguments(protocol, dict(given)))
    except ImportError as error:
        package = _PACKAGES.get(protocol, f"the package for {protocol}://")
        raise UsageError(
            f"{shown(url)}: {package} cannot be imported on this host ({error}). Next: pip install {package}"
        ) from error
    except ValueError as error:
        if protocol == "abfs":
            raise CredentialsRefused(
                f"{shown(url)}: no Azure storage account is told ({error}). Next: give storage_options account_name, or"
                f" the account and its credentials by {places_of('abfs')} of this host."
            ) from error
        if "rotocol" not in str(error):
            raise
        raise UsageError(
            f"{shown(url)}: {protocol}:// is not known. Allowed are s3://, abfs://, gs://, file:// and what fsspec"
            " knows."
        ) from error
    if protocol == "abfs":
        _refuse_other_account(url, made, str(given.get("account_name", "")))
    return made


def is_s3(file_system: Any) -> bool:
    """Whether requests go to an S3 server."""
    return _speaks(file_system, "s3")


def is_azure(file_system: Any) -> bool:
    """Whether it is adlfs's, of Azure Blob storage."""
    return _speaks(file_system, "abfs")


def is_memory(file_system: Any) -> bool:
    """Whether its objects are this process's own."""
    return _speaks(file_system, "memory")


def _speaks(file_system: Any, protocol: str) -> bool:
    protocols = file_system.protocol
    return protocol in ((protocols,) if isinstance(protocols, str) else protocols)


def token_of(info: dict[str, Any]) -> str:
    """What changes with the content of an object, of what fsspec tells: its etag, else its time; empty for neither."""
    for name in ("ETag", "etag", "mtime", "updated", "last_modified", "LastModified", "created"):
        if value := info.get(name):
            # One filesystem tells the same time as a number in its listing and as a date elsewhere.
            return str(value.timestamp() if isinstance(value, datetime) else value).strip('"')
    return ""


def time_of(info: dict[str, Any]) -> float:
    """When an object was last changed, of what fsspec tells: seconds since 1970; 0 where it tells nothing."""
    for name in ("mtime", "updated", "last_modified", "LastModified", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0


def _forget_other_credentials(protocol: str) -> None:
    """Drop the clients made before the environment changed: a notebook that sets new credentials means them."""
    if protocol not in _PACKAGES:
        return
    import fsspec

    found = hash(frozenset(item for item in os.environ.items() if item[0].startswith(_CREDENTIALS_IN)))
    if _FOUND.setdefault(protocol, found) != found:
        _FOUND[protocol] = found
        fsspec.get_filesystem_class(protocol).clear_instance_cache()


def _account(url: str) -> dict[str, Any]:
    """What ``abfs://container@account.dfs.core.windows.net/name`` says of the account."""
    host = split(url)[0].partition("@")[2]
    if not host:
        return {}
    name, dot, rest = host.partition(".")
    host = f"{name}.blob.{rest.removeprefix('dfs.').removeprefix('blob.')}" if dot else ""
    return {"account_name": name, **({} if host in ("", f"{name}.blob.core.windows.net") else {"account_host": host})}


def _refuse_other_account(url: str, file_system: Any, asked: str) -> None:
    """A connection string in the environment wins over options and URL: it may be of another account."""
    used = str(file_system.service_client.account_name or "")
    if asked and used and asked != used:
        raise CredentialsRefused(
            f"{shown(url)}: the account {asked!r} is asked for, but AZURE_STORAGE_CONNECTION_STRING is of {used!r}."
            " Next: leave one of them out."
        )


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
        # their MD5 instead, which all check, or their SHA-256 where the signature has it.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    style = given.pop("addressing_style", "path" if "endpoint_url" in given else None)
    if style:
        config["s3"] = {"addressing_style": style}
    return {**given, "client_kwargs": client, "config_kwargs": config, "use_listings_cache": False}
