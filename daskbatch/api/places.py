"""Where data lies: the path of a folder, or the URL of a store, without keys in it."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.options.values import local_path

__all__ = ["check_no_secret", "inner_path", "is_url", "place"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.ASCII | re.IGNORECASE)
_AZURE = ("abfs", "abfss", "wasb", "wasbs")
"""Where ``container@account`` before the path is no user."""
_OTHER_SCHEMES = ("wasb", "wasbs")
"""Azure's older names, which fsspec does not know."""
_USERS = ("ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs")
"""Where a user's name without a password is usual."""
_SECRET_IN_QUERY = re.compile(
    r"[?&;#]\s*(sig|signature|x-(?:amz|goog)-(?:signature|credential|security-token)|awsaccesskeyid|credential|secret"
    r"|(?:account|access|secret|api|shared)[_-]?(?:access[_-]?)?(?:key|signature)(?:[_-]?id)?"
    r"|(?:sas|access|auth|security)?[_-]?token|passw(?:or)?d|pwd)\s*=",
    re.IGNORECASE,
)
_SECRET_IN_CONNECTION = re.compile(r"(?:^|;)\s*(AccountKey|SharedAccess(?:Key|Signature))\s*=", re.IGNORECASE)


def is_url(value: object) -> bool:
    """Whether this is a URL that is no local path."""
    match = _SCHEME.match(value) if isinstance(value, str) else None
    return match is not None and match[1].lower() != "file"


def place(name: str, value: object) -> str:
    """An absolute path, or a URL without a slash at its end.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    value : str or path
        A folder, also as ``file://``, or a URL that fsspec knows, such as ``s3://bucket/photos``.

    Raises
    ------
    UsageError
        It is neither, or holds a key.
    """
    if isinstance(value, str):
        check_no_secret(name, value)
    if not isinstance(value, str) or not is_url(value):
        if isinstance(value, str) and "://" in value and not _SCHEME.match(value):
            raise UsageError(f"{name} must be a folder or one URL such as 's3://bucket/photos', got {value!r}.")
        return local_path(name, value)
    parts = urlsplit(value)
    _check_scheme(name, parts.scheme)
    if not parts.netloc or parts.query or parts.fragment or "\0" in value:
        raise UsageError(
            f"{name} must be a URL such as 's3://bucket/photos', without what follows '?' or '#', got {value!r}."
        )
    inner_path(name, parts.path.strip("/"))
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _check_scheme(name: str, scheme: str) -> None:
    from fsspec import available_protocols

    known = {*available_protocols(), *_OTHER_SCHEMES}
    if scheme not in known:
        raise UsageError(
            f"{name} must be a folder or a URL that fsspec knows, such as 's3://bucket/photos', got one of"
            f" {scheme + '://'!r}.{nearest(scheme, known)}"
        )


def check_no_secret(name: str, value: str) -> None:
    """Refuse a URL or connection string with a key, token or password in it: files of a workspace are plain text.

    The message does not repeat the secret.

    Raises
    ------
    UsageError
    """
    found = _secret_in(value)
    if found:
        raise UsageError(
            f"{name} must not hold a key, token or password, but has {found} in it. What is registered is stored as"
            " plain text: put secrets into the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN), and give the URL without them."
        )


def _secret_in(value: str) -> str:
    """What gives a secret away, without the secret."""
    if match := _SECRET_IN_CONNECTION.search(value) or ("://" in value and _SECRET_IN_QUERY.search(value)):
        return f"{match[1] + '='!r}"
    match = re.match(r"(?:[a-z0-9+.-]+::)*([a-z][a-z0-9+.-]*)://([^/?#]*)", value, re.IGNORECASE)
    if match is None:
        return ""
    scheme, host = match[1].lower(), match[2]
    user, at, _ = host.rpartition("@")
    if at and (":" in user or scheme not in (*_AZURE, *_USERS)):
        return "a user or key before '@'"
    try:
        urlsplit(f"x://{host}").port  # noqa: B018 - asked for its error
    except ValueError:  # the secret has a slash in it: s3://KEY:ab/cd@bucket
        return "':' after what should be a bucket or host"
    return ""


def inner_path(name: str, value: object, place: str = "the datastore") -> str:
    """A path below a store's root, with ``/`` between its parts and none around them; ``""`` is the root.

    Parameters
    ----------
    name : str
        Of the argument, for messages; so is `place`.
    value : object
    place : str

    Raises
    ------
    UsageError
        It is a URL, or leads out by ``..``.
    """
    if value is None:
        return ""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or "\0" in text:
        raise UsageError(f"{name} must be a path inside {place}, such as 'mnist/train', got {value!r}.")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or is_url(text) or _SCHEME.match(text):
        raise UsageError(
            f"{name} must be a path inside {place}, such as 'mnist/train', no URL and without '..', got {value!r}."
        )
    return "/".join(parts)
