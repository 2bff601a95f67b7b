from __future__ import annotations

from pathlib import Path

import pytest

from daskbatch.api.places import check_no_secret, inner_path, is_url, place
from daskbatch.errors import UsageError

SECRETS = [
    "s3://key:se4cret@bucket/photos",
    "s3://AKIAKEY:ab/se4cret@bucket",
    "s3://se4cret@bucket",
    "https://se4cret@example.com/data",
    "simplecache::s3://key:se4cret@bucket",
    "sftp://me:se4cret@host/data",
    "abfs://container:se4cret@account.dfs.core.windows.net/x",
    "https://account.blob.core.windows.net/c/f.csv?sv=2020&sig=se4cret",
    "https://account.blob.core.windows.net/c?SIG=se4cret",
    "https://bucket.s3.amazonaws.com/f?X-Amz-Signature=se4cret",
    "https://bucket.s3.amazonaws.com/f?X-Amz-Credential=se4cret",
    "https://example.com/f?a=1&access_token=se4cret",
    "https://example.com/f?api_key=se4cret",
    "az://container?account_key=se4cret",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=se4cret;EndpointSuffix=core.windows.net",
    "AccountKey=se4cret",
    "SharedAccessSignature=se4cret",
]


@pytest.mark.parametrize("url", SECRETS)
def test_secrets_are_refused_and_not_repeated(url: str) -> None:
    for check in (check_no_secret, place):
        with pytest.raises(UsageError, match=r"url must not hold a key, token or password.*environment") as caught:
            check("url", url)
        assert "se4cret" not in str(caught.value)
        assert caught.value.__context__ is None or "se4cret" not in str(caught.value.__context__)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/photos",
        "s3://bucket/token=1/secret.csv",
        "abfss://container@account.dfs.core.windows.net/x",
        "wasbs://container@account.blob.core.windows.net/x",
        "https://example.com:8443/data.csv?raw=true&page=2",
        "sftp://me@host:22/data",
        "/data/year=2024/token=5",
        "token=5/files",
        "C;x=1",
    ],
)
def test_what_is_no_secret(url: str) -> None:
    check_no_secret("url", url)


def test_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("url", "data") == str(tmp_path / "data")
    assert place("url", Path("data")) == str(tmp_path / "data")
    assert place("url", f"file://{tmp_path}/a%20b") == str(tmp_path / "a b")


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("s3://bucket/photos/", "s3://bucket/photos"),
        ("S3://Bucket", "s3://Bucket"),
        ("memory://x", "memory://x"),
        ("wasbs://c@a.blob.core.windows.net/", "wasbs://c@a.blob.core.windows.net"),
    ],
)
def test_urls(url: str, normal: str) -> None:
    assert is_url(url)
    assert place("url", url) == normal


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("hddfs://bucket", "fsspec knows.*Did you mean 'hdfs'"),
        ("s3:///photos", "must be a URL such as"),
        ("s3://bucket/a?b=1", "without what follows"),
        ("s3://bucket/../other", r"without '\.\.'"),
        ("simplecache::s3://bucket", "a folder or one URL"),
        ("", "must be a path"),
        (None, "must be a path"),
        ("file://host/x", "names the host"),
    ],
)
def test_what_is_no_place(url: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        place("url", url)


@pytest.mark.parametrize(
    ("path", "inner"),
    [(None, ""), ("", ""), ("/", ""), ("mnist/", "mnist"), ("./a//b/*.png", "a/b/*.png"), ("a..b", "a..b")],
)
def test_paths_inside(path: object, inner: str) -> None:
    assert inner_path("path", path) == inner


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "s3://bucket", "file:///etc", "a\0", 3, b"a"])
def test_paths_that_lead_out(path: object) -> None:
    with pytest.raises(UsageError, match="path must be a path inside the datastore"):
        inner_path("path", path)
