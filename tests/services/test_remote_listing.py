"""Listing, on moto and on Ceph: the same order as on a disk, page by page."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from fault_proxy import Fault, FaultProxy
from s3_server import BOTH, Bucket

from daskbatch.errors import InputError
from daskbatch.remote import retrying
from daskbatch.remote.errors import BucketMissing, CredentialsRefused, EndpointWrong
from daskbatch.remote.filesystem import filesystem
from daskbatch.remote.listing import list_objects
from daskbatch.remote.options import StorageOptions, checked
from daskbatch.remote.retrying import Limit
from daskbatch.store.listing import list_files

pytest_plugins = ["s3_services"]

TREE = (
    "b.csv", "a.csv", "a/z.csv", "a/B.csv", "a/c/d.csv", "a.b/e.csv", ".hidden.csv", ".git/x", ".git/y/z", "ä.csv",
    "a/.c/e.csv", "_out/x.csv", "a/_x.csv", "😀/1.csv", "\uffee.csv", "q[1]/x.csv", "q1/y.csv", "w*.csv",
)  # fmt: skip
GIVEN = (
    ("",), ("a",), ("a/",), ("?.csv",), ("a/*.csv",), ("a/*",), ("**/[a-e].csv",), ("a/**",), ("**/c/**/*.csv",),
    ("a*/?.csv",), (".hid*",), ("b.csv", "a", "b.csv", "*.csv"), ("a/c", "a"), ("**",), ("*",), ("**/*.csv",),
    ("q[1]",), ("q[1]/*.csv",), ("w*.csv",), (".git",), (".git/**",), ("a/.*/*",),
)  # fmt: skip


@pytest.fixture
def options(s3: Bucket) -> StorageOptions:
    return checked(s3.options)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.001)


both = pytest.mark.parametrize("s3", BOTH, indirect=True)


def local(folder: Path, given: tuple[str, ...]) -> list[tuple[str, bool]]:
    found = list_files(tuple(os.path.join(folder, one) for one in given))
    return [(os.fsdecode(path)[len(str(folder)) + 1 :], mark) for path, mark in found]


@both
@pytest.mark.parametrize("page", [1000, 2])
def test_a_tree_is_listed_as_on_a_disk(s3: Bucket, options: StorageOptions, tmp_path: Path, page: int) -> None:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        s3.put(f"in put/{name}", name.encode())
    for marker in ("in put/", "in put/a/", "in put/empty/"):
        s3.put(marker)
    for given in GIVEN:
        urls = tuple(f"{s3.url}/in put/{one}" for one in given)
        got = list(list_objects(urls, options, page=page))
        names = [(found.url.removeprefix(f"{s3.url}/in put/"), found.underscored) for found in got]
        assert names == local(tmp_path, given), given
        assert all(
            found.size == len(name.encode()) and found.token for found, (name, _) in zip(got, names, strict=True)
        )


def test_another_filesystem_lists_the_same(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        filesystem(root).pipe_file(f"{root}/{name}", name.encode())
    for given in GIVEN:
        found = list_objects(tuple(f"{root}/{one}" for one in given))
        assert [(one.url.removeprefix(root + "/"), one.underscored) for one in found] == local(tmp_path, given), given


@both
def test_the_first_object_is_there_after_two_pages_at_most(
    s3: Bucket, proxied: FaultProxy, options: StorageOptions
) -> None:
    for number in range(50):
        s3.put(f"many/{number:03}")
    through = checked({"endpoint_url": proxied.endpoint})
    listing = list_objects((s3.url + "/many/",), through, page=10)
    assert next(listing).url == s3.url + "/many/000"
    listing.close()
    assert proxied.count() <= 2
    assert len(list(list_objects((s3.url + "/many/",), through, page=10))) == 50


@both
def test_folders_that_nothing_is_taken_from_are_jumped_over(s3: Bucket, proxied: FaultProxy) -> None:
    for number in range(100):
        s3.put(f"t/.state/{number:03}")
    s3.put("t/a")
    through = checked({"endpoint_url": proxied.endpoint})
    assert [found.url for found in list_objects((s3.url + "/t/",), through, page=10)] == [s3.url + "/t/a"]
    assert proxied.count() <= 4


def test_a_page_that_fails_is_asked_for_again(s3: Bucket, proxied: FaultProxy) -> None:
    for number in range(30):
        s3.put(f"t/{number:03}")
    proxied.faults = [Fault(kind, skip=skip) for skip, kind in enumerate(("slow_down", "cut", "reset_after", "error"))]
    found = list(list_objects((s3.url + "/t/",), checked({"endpoint_url": proxied.endpoint}), page=10))
    assert len(found) == 30
    assert all(a.url < b.url for a, b in itertools.pairwise(found))


@both
def test_what_is_wrong_is_said(s3: Bucket, options: StorageOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no object .*/none, and none below it"):
        list(list_objects((s3.url + "/none",), options))
    with pytest.raises(InputError, match="matches nothing"):
        list(list_objects((s3.url + "/*.csv",), options))
    with pytest.raises(BucketMissing, match="there is no bucket 'not-there-at-all'"):
        list(list_objects(("s3://not-there-at-all/x/",), options))


@pytest.mark.parametrize("s3", ["ceph"], indirect=True)
def test_wrong_credentials_are_said(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(CredentialsRefused, match="SignatureDoesNotMatch"):
        list(list_objects((s3.url + "/x",), checked(s3.options)))


def test_missing_credentials_are_said(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsRefused, match="no credentials found"):
        list(list_objects((s3.url + "/x",), checked(s3.options)))


def test_expired_credentials_are_said(s3: Bucket, proxied: FaultProxy) -> None:
    proxied.faults = [Fault("expired", times=9)]
    with pytest.raises(CredentialsRefused, match="have expired"):
        list(list_objects((s3.url + "/x",), checked({"endpoint_url": proxied.endpoint})))
    assert proxied.count() == 1


def test_a_wrong_endpoint_is_said(s3: Bucket) -> None:
    for host in ("127.0.0.1:1", "no-such-host.invalid"):
        with pytest.raises(EndpointWrong, match="nobody answers"):
            list(list_objects((s3.url + "/x",), checked({"endpoint_url": f"http://{host}"}), Limit(tries=2)))
