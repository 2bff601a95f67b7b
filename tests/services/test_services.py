"""The fixtures themselves: real servers, and faults that do what they say."""

from __future__ import annotations

import http.client
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from fault_proxy import Fault, FaultProxy
from s3_server import BOTH, Bucket

pytest_plugins = ["s3_services"]


def client_of(proxy: FaultProxy) -> Any:
    config = Config(
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        s3={"addressing_style": "path"},
    )
    return boto3.Session().client("s3", endpoint_url=proxy.endpoint, config=config)


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_a_bucket_takes_and_gives(s3: Bucket) -> None:
    s3.put("a/b", b"content")
    assert (s3.get("a/b"), s3.keys(), s3.pending()) == (b"content", ["a/b"], [])


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_the_proxy_passes_and_counts(s3: Bucket, proxied: FaultProxy) -> None:
    client = client_of(proxied)
    client.put_object(Bucket=s3.name, Key="odd key+ä?x", Body=b"12345")
    assert client.get_object(Bucket=s3.name, Key="odd key+ä?x")["Body"].read() == b"12345"
    assert client.head_object(Bucket=s3.name, Key="odd key+ä?x")["ContentLength"] == 5
    assert (proxied.count("PUT"), proxied.count("GET", s3.name), proxied.passed) == (1, 1, 10)


@pytest.mark.parametrize(("kind", "code"), [("slow_down", "SlowDown"), ("error", "InternalError")])
def test_an_error_is_answered_as_often_as_asked(s3: Bucket, proxied: FaultProxy, kind: str, code: str) -> None:
    client = client_of(proxied)
    proxied.faults = [Fault(kind, "PUT", times=2, skip=1)]
    client.put_object(Bucket=s3.name, Key="k", Body=b"0")
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            client.put_object(Bucket=s3.name, Key="k", Body=b"1")
        assert caught.value.response["Error"]["Code"] == code
    assert s3.get("k") == b"0"
    client.put_object(Bucket=s3.name, Key="k", Body=b"2")
    assert s3.get("k") == b"2"


@pytest.mark.parametrize("s3", BOTH, indirect=True)
@pytest.mark.parametrize(("kind", "keys"), [("reset_before", []), ("reset_after", ["k"]), ("cut_request", [])])
def test_a_reset_before_after_and_in_the_middle(s3: Bucket, proxied: FaultProxy, kind: str, keys: list[str]) -> None:
    proxied.faults = [Fault(kind, "PUT")]
    with pytest.raises(ConnectionClosedError):
        client_of(proxied).put_object(Bucket=s3.name, Key="k", Body=b"x" * 100_000)
    assert s3.keys() == keys


def test_a_cut_gives_half_of_the_body(s3: Bucket, proxied: FaultProxy) -> None:
    s3.put("k", b"x" * 1000)
    proxied.faults = [Fault("cut", "GET")]
    plain = http.client.HTTPConnection(proxied.endpoint.removeprefix("http://"))
    signed = client_of(proxied).generate_presigned_url("get_object", {"Bucket": s3.name, "Key": "k"})
    plain.request("GET", signed.removeprefix(proxied.endpoint))
    reply = plain.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        reply.read()
    plain.close()
