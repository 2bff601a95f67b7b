"""What URLs name, and that no secret in one is taken or shown."""

from __future__ import annotations

import subprocess
import sys

import pytest

from daskbatch.errors import UsageError
from daskbatch.remote.urls import check_no_secret, is_remote, join, local_or_url, shown, split

SECRET = "hu5h"


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("s3://b/k", True), ("abfs://c@a.dfs.core.windows.net/k", True), ("/data/x", False), ("data/x", False),
        ("file:///data/x", False), ("C:/x", False), ("memory://x", True), ("a:b//c", False),
    ],
)  # fmt: skip
def test_what_is_remote(path: str, remote: bool) -> None:
    assert is_remote(path) is remote


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [
        ("s3://b/k/l", "b", "k/l"),
        ("s3://b", "b", ""),
        ("s3://b/", "b", ""),
        ("s3://b//k", "b", "/k"),
        ("s3://b/a%20b?c#d", "b", "a%20b?c#d"),
        (
            "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/a/b",
            *("arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", "a/b"),
        ),
    ],
)
def test_split(url: str, bucket: str, key: str) -> None:
    assert split(url) == (bucket, key)


@pytest.mark.parametrize("url", ["s3:///k", "plain"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="Allowed are URLs such as s3://bucket/key"):
        split(url)


def test_join() -> None:
    assert join("s3://b/", "a/", "/c") == "s3://b/a/c"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("file:///a%20b/c", "/a b/c"), ("file://localhost/a", "/a"), ("a/b", "a/b"), ("S3A://b/K", "s3://b/K")],
)
def test_a_file_url_is_a_path(given: str, expected: str) -> None:
    assert local_or_url(given) == expected


def test_a_file_of_another_host_is_refused() -> None:
    with pytest.raises(UsageError, match="names a file on the host 'data'"):
        local_or_url("file://data/x")


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@b/k",
        f"s3://key:{SECRET}/more@b/k",
        f"s3://{SECRET}@b/k",
        f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=a&X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}",
        f"https://a.blob.core.windows.net/c/k?sv=2024&sig={SECRET}",
        f"s3://b/k?x-amz-security-token={SECRET}",
        f"https://b.s3.amazonaws.com/k?AWSAccessKeyId=x&Signature={SECRET}",
    ],
)
def test_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="would be written down") as caught:
        check_no_secret(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in shown(url)


@pytest.mark.parametrize(
    "url", ["s3://b/img?.png", "s3://b/a@b:c", "abfs://c@a.dfs.core.windows.net/k", "s3://b/x?sort=1", "/a:b@c"]
)
def test_what_has_no_secret_is_shown_as_it_is(url: str) -> None:
    check_no_secret(url)
    assert shown(url) == url


def test_to_look_at_a_url_no_client_of_a_store_is_imported() -> None:
    program = (
        "import sys, daskbatch, daskbatch.remote.errors, daskbatch.remote.options, daskbatch.remote.filesystem,"
        " daskbatch.remote.listing, daskbatch.remote.fetch, daskbatch.remote.put, daskbatch.remote.compose; "
        "print([m for m in ('fsspec', 's3fs', 'botocore', 'aiohttp', 'dask', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
