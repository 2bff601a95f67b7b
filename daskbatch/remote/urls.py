"""What a URL names, and that none has a secret in it."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from daskbatch.errors import UsageError

__all__ = ["check_no_secret", "is_remote", "join", "local_or_url", "protocol_of", "shown", "split"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SECRET_QUERY = re.compile(
    r"[?&](?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)|Signature|AWSAccessKeyId"
    r"|sig|sas_token|access_token|token)=",
    re.IGNORECASE,
)
_ACCESS_POINT = re.compile(r"(arn:[^/]+:(?:accesspoint|bucket)[:/][^/]+)/?(.*)", re.DOTALL)
_NEXT = (
    "Next: give the plain URL, and let each worker find its credentials in the environment, a profile or an instance"
    " role."
)


def is_remote(path: str) -> bool:
    """Whether `path` is a URL of something that is not this host's disk.

    >>> is_remote("s3://bucket/a"), is_remote("/data/a"), is_remote("file:///data/a")
    (True, False, False)
    """
    return protocol_of(path) not in ("", "file", "local")


def protocol_of(path: str) -> str:
    """``s3`` of ``s3://bucket/key``; empty for a path. ``s3a`` is ``s3``."""
    match = _SCHEME.match(path)
    protocol = match.group(1).lower() if match else ""
    return "s3" if protocol == "s3a" else protocol


def local_or_url(path: str) -> str:
    """The path of a ``file://`` URL, any other URL as its users write it, and a path as it is.

    Raises
    ------
    UsageError
        Where a secret is in it, or a ``file://`` URL names another host.
    """
    protocol = protocol_of(path)
    if not protocol:
        return path
    check_no_secret(path)
    if protocol not in ("file", "local"):
        return f"{protocol}://{path.split('://', 1)[1]}"
    parts = urlsplit(path)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(
            f"{path} names a file on the host {parts.netloc!r}. Allowed are files of this host. Next: write three"
            f" slashes, as in file:///{parts.netloc}{parts.path}."
        )
    return unquote(path.split("://", 1)[1].removeprefix("localhost"))


def check_no_secret(url: str) -> None:
    """Refuse a URL with a secret in it; the secret is not in the message.

    Raises
    ------
    UsageError
        For ``user:password@``, signed URLs and tokens in the query.
    """
    if _authority(url)[0]:
        raise UsageError(f"{shown(url)}: the URL holds a user's name or password, which would be written down. {_NEXT}")
    if _SECRET_QUERY.search(url):
        raise UsageError(f"{shown(url)}: the URL is signed or holds a token, which would be written down. {_NEXT}")


def _authority(url: str) -> tuple[str, str]:
    """What stands before an ``@`` and is a secret, and the URL without it.

    ``abfs://container@account...`` is no secret: the container has no colon.
    """
    match = _SCHEME.match(url)
    if not match:
        return "", url
    rest = url[match.end() :]
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    # A password may hold a slash: then the @ stands behind it.
    if not at and ":" in place and not place.startswith("arn:") and "@" in path:
        user, at, host = rest.rpartition("@")
        slash = path = ""
    if not at or (":" not in user and protocol_of(url) in ("abfs", "abfss", "az", "wasb", "wasbs")):
        return "", url
    return user, f"{match.group(0)}{host}{slash}{path}"


def shown(url: str) -> str:
    """`url` as a message may show it: no password and no signature.

    >>> shown("s3://me:hush@bucket/a?X-Amz-Signature=abc")
    's3://***@bucket/a?***'
    """
    secret, plain = _authority(url)
    found = _SECRET_QUERY.search(plain)
    if found:
        plain = plain[: plain.index("?")] + "?***"
    return plain.replace("://", "://***@", 1) if secret else plain


def split(url: str) -> tuple[str, str]:
    """Bucket and key. The key is taken as it stands: nothing in it is decoded.

    >>> split("s3://bucket/a b/c?d")
    ('bucket', 'a b/c?d')

    Raises
    ------
    UsageError
        Where it is no URL, or one without a bucket.
    """
    match = _SCHEME.match(url)
    if not match:
        raise UsageError(f"{url!r} is no URL. Allowed are URLs such as s3://bucket/key.")
    rest = url[match.end() :]
    point = _ACCESS_POINT.match(rest)
    bucket, key = point.groups() if point else (rest.partition("/")[0], rest.partition("/")[2])
    if not bucket:
        raise UsageError(f"{shown(url)} names no bucket. Allowed are URLs such as s3://bucket/key.")
    return bucket, key


def join(url: str, *names: str) -> str:
    """`url` with names below it, one slash between.

    >>> join("s3://bucket", "a/", "b")
    's3://bucket/a/b'
    """
    for name in names:
        url = f"{url.rstrip('/')}/{name.lstrip('/')}"
    return url
