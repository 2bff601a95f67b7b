"""What a store's client raises, sorted by what is to be done about it.

::

    DaskbatchError
    └── StorageError                a request to a store failed
        ├── StorageUnavailable      throttled, broken or silent for longer than the limit; later it may go well
        ├── StorageRefused          wrong for as long as nobody mends it; a UsageError too, so that it ends a command
        │   │                       with 2 before a run starts
        │   ├── CredentialsRefused  none found, expired, invalid, or not allowed to do this
        │   ├── BucketMissing       no such bucket
        │   ├── RegionWrong         the bucket lies in another region
        │   └── EndpointWrong       nobody answers there, no such host, or its certificate is not trusted
        ├── ObjectMissing           no such object
        ├── ObjectChanged           the object is not the one that was listed
        └── ObjectExists            it was to be made, and there is one
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from enum import Enum
from typing import Any

from daskbatch.errors import DaskbatchError, MiniBatchError, UsageError
from daskbatch.remote.credentials import places_of
from daskbatch.remote.urls import protocol_of, shown, split

__all__ = [
    "BucketMissing",
    "CredentialsRefused",
    "EndpointWrong",
    "Kind",
    "ObjectChanged",
    "ObjectExists",
    "ObjectMissing",
    "RegionWrong",
    "StorageError",
    "StorageRefused",
    "StorageUnavailable",
    "code_of",
    "explained",
    "is_of_one",
    "is_transient",
    "kind_of",
]


class StorageError(DaskbatchError):
    """Raised when a request to a store failed."""


class StorageUnavailable(StorageError):
    """Raised when a store throttled, failed or was silent for longer than the limit."""


class StorageRefused(StorageError, UsageError):
    """Raised when a request cannot go well before somebody mends the options, the credentials or the store."""


class CredentialsRefused(StorageRefused):
    """Raised when no credentials are found, or they are expired, invalid or not allowed to do this."""


class BucketMissing(StorageRefused):
    """Raised when there is no such bucket."""


class RegionWrong(StorageRefused):
    """Raised when the bucket lies in another region."""


class EndpointWrong(StorageRefused):
    """Raised when nobody answers at the endpoint, its name is not known, or its certificate is not trusted."""


class ObjectMissing(StorageError):
    """Raised when there is no such object."""


class ObjectChanged(StorageError):
    """Raised when an object is not the one that was listed."""


class ObjectExists(StorageError):
    """Raised when an object was to be made and there is one of that name already."""


class Kind(Enum):
    """What to do about an error."""

    TRANSIENT = "try again"
    CONNECT = "try again; a wrong endpoint looks the same"
    CREDENTIALS = "credentials"
    BUCKET = "bucket"
    REGION = "region"
    CERTIFICATE = "certificate"
    MISSING = "missing"
    CHANGED = "changed"
    OTHER = "other"


_BY_CODE = {
    **dict.fromkeys(
        (
            "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded",
            "TooManyRequests", "RequestTimeout", "RequestTimeoutException", "InternalError", "InternalFailure",
            "OperationAborted", "ConditionalRequestConflict", "BadDigest", "IncompleteBody", "Md5Mismatch",
            "ServerBusy", "OperationTimedOut",
            "XAmzContentSHA256Mismatch", "429", "500", "502", "503", "504",
        ),
        Kind.TRANSIENT,
    ),
    **dict.fromkeys(
        (
            "AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "ExpiredTokenException",
            "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSecurity", "InvalidToken", "RequestExpired",
            "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired", "UnrecognizedClientException",
            "401", "403",
            # Azure's
            "AccountIsDisabled", "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch",
            "AuthorizationProtocolMismatch", "AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch",
            "AuthorizationSourceIPMismatch", "InsufficientAccountPermissions", "InvalidAuthenticationInfo",
            "KeyBasedAuthenticationNotPermitted", "NoAuthenticationInformation", "PublicAccessNotPermitted",
        ),
        Kind.CREDENTIALS,
    ),
    **dict.fromkeys(
        ("NoSuchBucket", "InvalidBucketName", "ContainerBeingDeleted", "ContainerDisabled", "ContainerNotFound",
         "FilesystemNotFound", "InvalidResourceName"),
        Kind.BUCKET,
    ),
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "301", "307"),
        Kind.REGION,
    ),
    **dict.fromkeys(
        ("NoSuchKey", "NoSuchUpload", "NoSuchVersion", "NotFound", "404", "BlobNotFound", "PathNotFound"), Kind.MISSING
    ),
    **dict.fromkeys(("PreconditionFailed", "412", "ConditionNotMet", "TargetConditionNotMet"), Kind.CHANGED),
    "InvalidObjectState": Kind.OTHER,  # it is archived; the status is that of a refusal
    "BlobArchived": Kind.OTHER,
}  # fmt: skip
_BY_CLASS = {
    **dict.fromkeys(
        (
            "ConnectionClosedError", "ReadTimeoutError", "ResponseParserError", "ResponseStreamingError",
            "IncompleteReadError", "IncompleteRead", "ClientPayloadError", "ServerDisconnectedError", "ProtocolError",
            "FSTimeoutError", "ClientOSError", "ServiceResponseError",
        ),
        Kind.TRANSIENT,
    ),
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "ClientConnectorError",
         "ServiceRequestError"),
        Kind.CONNECT,
    ),
    **dict.fromkeys(
        (
            "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
            "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "NoAuthTokenError",
            "ClientAuthenticationError",
        ),
        Kind.CREDENTIALS,
    ),
    "SSLError": Kind.CERTIFICATE,
    "ClientConnectorCertificateError": Kind.CERTIFICATE,
    "ParamValidationError": Kind.OTHER,
    "HTTPClientError": Kind.TRANSIENT,
}  # fmt: skip
"""By name, so that no package of a store must be there to know its errors."""

_NOT_ALLOWED = (
    "AccessDenied", "403", "AllAccessDisabled", "AuthorizationFailure", "AuthorizationPermissionMismatch",
    "InsufficientAccountPermissions",
)  # fmt: skip
_NONE_FOUND = (
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ClientAuthenticationError",
    "CredentialUnavailableError", "NoAuthenticationInformation", "PublicAccessNotPermitted",
)  # fmt: skip


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: s3fs hides a server's answer behind an OSError."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__


def code_of(error: BaseException) -> str:
    """The server's own word for it, such as ``SlowDown``; empty where it is no server's answer."""
    for at in _chain(error):
        response: Any = getattr(at, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        code = getattr(at, "error_code", None)  # Azure's, of its own kind of text
        if isinstance(code, str) and code:
            return str(getattr(code, "value", code))
    return ""


def _status_of(error: BaseException) -> int:
    for at in _chain(error):
        response: Any = getattr(at, "response", None)
        if isinstance(response, dict):
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        status = getattr(at, "status_code", getattr(at, "status", 0))  # Azure's and aiohttp's
        if isinstance(status, int) and status:
            return status
    return 0


def kind_of(error: BaseException) -> Kind:
    """Sort an error of s3fs, botocore, aiohttp or another filesystem."""
    if kind := _BY_CODE.get(code_of(error)) or _BY_CODE.get(str(_status_of(error))):
        return kind
    if _status_of(error) >= 500:
        return Kind.TRANSIENT
    if isinstance(error, StorageUnavailable):
        return Kind.TRANSIENT
    kinds = [_BY_CLASS.get(parent.__name__) for at in _chain(error) for parent in type(at).__mro__]
    if Kind.CERTIFICATE in kinds:  # clients put what is wrong with it into an error of the connection
        return Kind.CERTIFICATE
    if kind := next(filter(None, kinds), None):
        return kind
    if isinstance(error, FileNotFoundError):
        return Kind.MISSING
    if isinstance(error, PermissionError):
        return Kind.CREDENTIALS
    if isinstance(error, (ConnectionError, TimeoutError, asyncio.TimeoutError, asyncio.IncompleteReadError)):
        return Kind.TRANSIENT
    return Kind.OTHER


def is_transient(error: BaseException) -> bool:
    """Whether the same request may go well a little later."""
    return kind_of(error) in (Kind.TRANSIENT, Kind.CONNECT)


def is_of_one(error: BaseException) -> bool:
    """Whether an error is one object's: the others may be well. All others stop a run, which can go on later."""
    return isinstance(error, (MiniBatchError, ObjectChanged, ObjectMissing)) or type(error) is StorageError


def explained(error: BaseException, url: str, doing: str = "") -> StorageError:
    """Say for `error`, met at `url`, what to do next.

    Parameters
    ----------
    doing
        What was being done, and how often it was tried; goes into the message.
    """
    if isinstance(error, StorageError):
        return error
    kind, name = kind_of(error), f"{shown(url)}: " + (f"{doing}: " if doing else "")
    said = code_of(error) or type(error).__name__
    detail = _detail(error)
    told = f"{said}: {detail}" if detail else said
    bucket = split(url)[0] if "://" in url and url.split("://", 1)[1] else url
    azure = protocol_of(url) in ("abfs", "abfss", "az")
    match kind:
        case Kind.TRANSIENT:
            return StorageUnavailable(f"{name}the store did not do it ({told}). Next: resume the run later.")
        case Kind.CONNECT:
            return EndpointWrong(
                f"{name}nobody answers ({told}). Next: check {'the account' if azure else 'endpoint_url'}, the network,"
                " and that the store runs."
            )
        case Kind.CERTIFICATE:
            verify = (
                "say in SSL_CERT_FILE where the CA bundle is" if azure else "give storage_options verify=PATH of it"
            )
            return EndpointWrong(f"{name}the certificate is not trusted by the CA bundle ({told}). Next: {verify}.")
        case Kind.CREDENTIALS:
            return CredentialsRefused(f"{name}{_credentials(said, told, protocol_of(url))}")
        case Kind.BUCKET:
            what, where = ("container", "account") if azure else ("bucket", "endpoint_url")
            return BucketMissing(f"{name}there is no {what} {bucket!r} ({told}). Next: check URL and {where}.")
        case Kind.REGION:
            return RegionWrong(f"{name}the bucket lies in another region ({told}). Next: mend storage_options region.")
        case Kind.MISSING:
            return ObjectMissing(f"{name}there is no such object ({told}). Next: check the path.")
        case Kind.CHANGED:
            return ObjectChanged(
                f"{name}the object has changed since it was listed ({told}). Next: start a new run, or bring the object"
                " back."
            )
    return StorageError(f"{name}the store refused it ({told}).")


def _credentials(said: str, told: str, protocol: str) -> str:
    places = f"{places_of(protocol or 's3')} of this host"
    if said in ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"):
        return f"the credentials have expired ({told}). Next: renew them where they come from: {places}."
    if said in _NOT_ALLOWED:
        return f"the credentials may not do this ({told}). Next: ask for the right, or give others by {places}."
    if said in _NONE_FOUND:
        return f"no credentials found ({told}). Next: give them by {places}; for a public bucket give anon=true."
    return f"the credentials are not taken ({told}). Next: check them where they come from: {places}."


def _detail(error: BaseException) -> str:
    """The server's sentence, or the client's; no longer than a line, and no signed URL in it."""
    for at in _chain(error):
        response: Any = getattr(at, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Message", ""))[:200]
    text = str(error).partition("\n")[0]
    return " ".join(shown(word) if "://" in word else word for word in text.split())[:200]
