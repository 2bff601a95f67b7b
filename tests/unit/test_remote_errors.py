"""What a store's client raises becomes an error that says what to do."""

from __future__ import annotations

import pickle

import aiohttp
import botocore.exceptions as boto
import pytest
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from daskbatch.errors import DaskbatchError, UsageError
from daskbatch.remote.errors import (
    BucketMissing,
    CredentialsRefused,
    EndpointWrong,
    ObjectChanged,
    ObjectMissing,
    RegionWrong,
    StorageError,
    StorageUnavailable,
    explained,
    is_transient,
)


def answer(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Op")


TRANSIENT = [
    *map(answer, ("SlowDown", "InternalError", "RequestTimeout", "503", "500", "OperationAborted")),
    answer("Odd", 502),
    answer("Odd", 429),
    boto.ConnectionClosedError(endpoint_url="http://x"),
    boto.ReadTimeoutError(endpoint_url="http://x"),
    boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    boto.ResponseStreamingError(error="x"),
    boto.HTTPClientError(error="x"),
    aiohttp.ClientPayloadError("x"),
    ConnectionResetError(104, "reset"),
    TimeoutError(),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_passes_is_tried_again(error: Exception) -> None:
    assert is_transient(error)
    assert type(explained(error, "s3://b/k")) is StorageUnavailable


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (answer("ExpiredToken"), CredentialsRefused, "have expired .* Next: renew them"),
        (answer("AccessDenied", 403), CredentialsRefused, "may not do this"),
        (answer("403", 403), CredentialsRefused, "may not do this"),
        (answer("SignatureDoesNotMatch", 403), CredentialsRefused, "are not taken"),
        (boto.NoCredentialsError(), CredentialsRefused, "no credentials found .* anon=true"),
        (boto.ProfileNotFound(profile="p"), CredentialsRefused, "no credentials found"),
        (answer("NoSuchBucket", 404), BucketMissing, "there is no bucket 'b'"),
        (answer("PermanentRedirect", 301), RegionWrong, "another region"),
        (answer("AuthorizationHeaderMalformed"), RegionWrong, "another region"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), EndpointWrong, "nobody answers"),
        (boto.SSLError(endpoint_url="http://x", error="e"), EndpointWrong, "verify=PATH"),
        (answer("NoSuchKey", 404), ObjectMissing, "there is no such object"),
        (FileNotFoundError("x"), ObjectMissing, "there is no such object"),
        (answer("PreconditionFailed", 412), ObjectChanged, "has changed since it was listed"),
        (answer("Odd"), StorageError, "refused it .Odd: m."),
    ],
)
def test_what_no_time_mends_says_what_to_do(error: Exception, kind: type[StorageError], said: str) -> None:
    told = explained(error, "s3://b/k", "reading")
    assert type(told) is kind
    with pytest.raises(StorageError, match=f"^s3://b/k: reading: .*{said}"):
        raise told
    assert isinstance(pickle.loads(pickle.dumps(told)), kind)


@pytest.mark.parametrize("code", ["SlowDown", "AccessDenied", "NoSuchKey", "NoSuchBucket", "PreconditionFailed"])
def test_what_s3fs_hides_is_found(code: str) -> None:
    error = answer(code)
    assert type(explained(translate_boto_error(error), "s3://b/k")) is type(explained(error, "s3://b/k"))


def test_what_a_user_must_mend_ends_a_command_with_2() -> None:
    for kind in (CredentialsRefused, BucketMissing, RegionWrong, EndpointWrong):
        assert issubclass(kind, UsageError)
    for other in (StorageUnavailable, ObjectChanged, ObjectMissing):
        assert issubclass(other, DaskbatchError)
        assert not issubclass(other, UsageError)


class OfAzure(Exception):
    """What an error of Azure's client has."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"a sentence\nRequestId:1\nErrorCode:{code}")
        self.error_code = code
        self.status_code = status


@pytest.mark.parametrize(
    ("code", "status", "kind", "said"),
    [
        ("ContainerNotFound", 404, BucketMissing, "there is no container 'c' .* Next: check URL and account"),
        ("BlobNotFound", 404, ObjectMissing, "there is no such object"),
        ("", 404, ObjectMissing, "there is no such object"),
        ("ConditionNotMet", 412, ObjectChanged, "has changed since it was listed"),
        ("AuthenticationFailed", 403, CredentialsRefused, "are not taken .*AZURE_STORAGE_CONNECTION_STRING"),
        ("AuthorizationPermissionMismatch", 403, CredentialsRefused, "may not do this .*AZURE_STORAGE_ACCOUNT_KEY"),
        ("NoAuthenticationInformation", 401, CredentialsRefused, "no credentials found .*anon=true"),
        ("BlobArchived", 409, StorageError, "refused it .BlobArchived: a sentence."),
        ("ServerBusy", 503, StorageUnavailable, "resume the run later"),
        ("OperationTimedOut", 500, StorageUnavailable, "resume the run later"),
    ],
)
def test_azures_answers_are_sorted_alike(code: str, status: int, kind: type[StorageError], said: str) -> None:
    told = explained(OfAzure(code, status), "abfs://c/k", "reading")
    assert type(told) is kind
    with pytest.raises(StorageError, match=f"^abfs://c/k: reading: .*{said}"):
        raise told
    assert is_transient(OfAzure(code, status)) == (kind is StorageUnavailable)


def test_azures_own_errors_of_the_client_are_known() -> None:
    core = pytest.importorskip("azure.core.exceptions")
    assert type(explained(core.ClientAuthenticationError("no token"), "abfs://c/k")) is CredentialsRefused
    assert type(explained(core.ServiceResponseError("cut"), "abfs://c/k")) is StorageUnavailable
    refused = core.ServiceRequestError("connect")
    with pytest.raises(EndpointWrong, match="check the account, the network"):
        raise explained(refused, "abfs://c/k")
    refused.__cause__ = aiohttp.ClientConnectorCertificateError(None, ValueError("x"))  # type: ignore[arg-type]
    with pytest.raises(EndpointWrong, match=r"certificate is not trusted .*SSL_CERT_FILE"):
        raise explained(refused, "abfs://c/k")


def test_a_wrong_endpoint_is_tried_again_but_called_so() -> None:
    assert is_transient(boto.EndpointConnectionError(endpoint_url="http://x"))


def test_a_signature_in_an_error_is_not_shown() -> None:
    error = boto.ReadTimeoutError(endpoint_url="http://x/k?X-Amz-Signature=hu5h&b=1")
    assert "hu5h" not in str(explained(error, "s3://b/k?X-Amz-Signature=hu5h"))
