"""``storage_options``, checked: how a store is reached, and never who may use it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.remote.credentials import places_of
from daskbatch.remote.urls import check_no_secret

__all__ = ["StorageOptions", "checked", "from_json"]

StorageOptions = tuple[tuple[str, str | bool], ...]
"""Names and values, sorted by name: can be hashed, pickled, written as JSON, and holds no secret."""

_OF_S3: dict[str, type] = {
    "addressing_style": str,
    "anon": bool,
    "endpoint_url": str,
    "profile": str,
    "region": str,
    "requester_pays": bool,
    "verify": str,
}
_OF_OTHERS: dict[str, dict[str, type]] = {
    "abfs": {"account_name": str, "account_host": str, "anon": bool},
    "gs": {"project": str, "anon": bool, "endpoint_url": str, "requester_pays": bool},
    "memory": {},
}
_ALIASES = {"abfss": "abfs", "az": "abfs", "gcs": "gs", "s3a": "s3"}
_STYLES = ("auto", "path", "virtual")
_SECRETS = {
    "account_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "client_secret",
    "connection_string", "credential", "key", "passwd", "password", "sas_token", "secret", "session", "token",
    "username",
}  # fmt: skip
_NESTED = {"client_kwargs": "region, verify or endpoint_url", "config_kwargs": "addressing_style"}


def checked(options: Mapping[str, Any] | Iterable[tuple[str, Any]] | None, protocol: str = "s3") -> StorageOptions:
    """Check what the user gave as ``storage_options``.

    Raises
    ------
    UsageError
        For a secret, a name that the protocol does not have, or a value of the wrong type. Values of secrets are
        never in the message.
    """
    given = dict(options or {})
    protocol = _ALIASES.get(protocol, protocol)
    allowed = _OF_S3 if protocol == "s3" else _OF_OTHERS.get(protocol, {"anon": bool, "endpoint_url": str})
    for name in given:
        _refuse_secret(name, protocol)
        if name in _NESTED and protocol == "s3":
            raise UsageError(
                f"storage_options: {name} may hold secrets and is not taken. Next: give {_NESTED[name]} itself."
            )
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            emulator = ""
            if protocol == "abfs" and name == "endpoint_url":
                emulator = " AZURE_STORAGE_CONNECTION_STRING in the environment names the endpoint of an emulator."
            raise UsageError(
                f"storage_options: {protocol} has no option {name!r}.{nearest(name, allowed)} Allowed are:"
                f" {known}.{emulator}"
            )
    return tuple(sorted((name, _value(name, value, allowed[name])) for name, value in given.items()))


def from_json(text: str) -> StorageOptions:
    """Read back what ``json.dumps`` made of options."""
    return tuple((name, value) for name, value in json.loads(text))


def _refuse_secret(name: str, protocol: str) -> None:
    plain = name.lower().replace("-", "_")
    if plain in _SECRETS or any(word in plain for word in ("secret", "password", "token")):
        more = "; to choose between several, give profile, or a datastore that names one" if protocol == "s3" else ""
        raise UsageError(
            f"storage_options: {name} is a secret, and would be written to the run's files. Credentials come"
            f" from {places_of(protocol or 's3')}, on each worker. Next: leave {name} out{more}."
        )


def _value(name: str, value: Any, kind: type) -> str | bool:
    taken: str | bool = value
    if name == "verify":
        if not isinstance(value, (bool, str)):
            raise UsageError(f"storage_options: verify must be true, false or the path of a CA bundle, got {value!r}.")
        return taken
    if not isinstance(value, kind) or value == "":
        what = "true or false" if kind is bool else "a string that is not empty"
        raise UsageError(f"storage_options: {name} must be {what}, got {value!r}.")
    if name == "addressing_style" and value not in _STYLES:
        raise UsageError(f"storage_options: addressing_style must be one of {', '.join(_STYLES)}, got {value!r}.")
    if name == "endpoint_url" and isinstance(value, str):
        check_no_secret(value)
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(
                f"storage_options: endpoint_url must be such as https://host:port, got {value!r}. Next: put http:// or"
                " https:// before the host."
            )
    return taken
