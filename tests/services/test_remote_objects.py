"""Fetching, putting and composing objects, on moto and on Ceph, with the faults of a network between."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fault_proxy import Fault, FaultProxy
from s3_server import BOTH, Bucket

from daskbatch.remote import fetch as fetching
from daskbatch.remote import put as putting
from daskbatch.remote import retrying
from daskbatch.remote.compose import Piece, abort, begin, compose, data_piece, finish, parts_of, pending, send_part
from daskbatch.remote.errors import CredentialsRefused, ObjectChanged, ObjectMissing, StorageUnavailable
from daskbatch.remote.fetch import Wanted, fetch, fetch_many, fetch_ranges, read_range
from daskbatch.remote.options import StorageOptions, checked
from daskbatch.remote.put import Created, create, delete, put_bytes, put_file
from daskbatch.remote.retrying import Limit

pytest_plugins = ["s3_services"]

MIB = 2**20
QUICK = Limit(tries=4, seconds=60.0)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.001)


@pytest.fixture
def options(s3: Bucket) -> StorageOptions:
    return checked(s3.options)


@pytest.fixture
def through(proxied: FaultProxy) -> StorageOptions:
    """Options that lead through the proxy."""
    return checked({"endpoint_url": proxied.endpoint})


def token(s3: Bucket, key: str) -> str:
    etag: str = s3.client.head_object(Bucket=s3.name, Key=key)["ETag"]
    return etag.strip('"')


both = pytest.mark.parametrize("s3", BOTH, indirect=True)


@both
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_an_object_is_fetched_whole(s3: Bucket, options: StorageOptions, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    url = s3.put("a b/ü?#%.bin", data)
    path = tmp_path / "x"
    fetch(Wanted(url, str(path), size, token(s3, "a b/ü?#%.bin")), options)
    assert path.read_bytes() == data
    fetch(Wanted(url, str(path)), options)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (data, ["x"])


@pytest.mark.parametrize("s3", ["ceph"], indirect=True)
def test_new_credentials_of_the_environment_are_used(
    s3: Bucket, options: StorageOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(s3.put("k", b"x"), str(tmp_path / "x"), 1)
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "another")
        with pytest.raises(CredentialsRefused, match="SignatureDoesNotMatch"):
            fetch(wanted, options)
    fetch(wanted, options)
    assert (tmp_path / "x").read_bytes() == b"x"


@both
def test_a_large_object_is_fetched_in_pieces(
    s3: Bucket, proxied: FaultProxy, through: StorageOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PIECE", 100_000)
    data = os.urandom(250_001)
    url = s3.put("k", data)
    fetch(Wanted(url, str(tmp_path / "x"), len(data)), through)
    assert ((tmp_path / "x").read_bytes(), proxied.count("GET")) == (data, 3)


@both
def test_an_object_that_has_changed_is_an_error_and_leaves_no_file(
    s3: Bucket, options: StorageOptions, tmp_path: Path
) -> None:
    url = s3.put("k", b"old")
    before = token(s3, "k")
    s3.put("k", b"new")
    with pytest.raises(ObjectChanged, match="has changed since it was listed"):
        fetch(Wanted(url, str(tmp_path / "x"), 3, before), options)
    with pytest.raises(ObjectChanged, match="it had 2 bytes and has 3"):
        fetch(Wanted(url, str(tmp_path / "x"), 2), options)
    with pytest.raises(ObjectMissing, match="there is no such object"):
        fetch(Wanted(s3.url + "/other", str(tmp_path / "x")), options)
    assert os.listdir(tmp_path) == []


@both
def test_one_bad_object_does_not_end_the_others(s3: Bucket, options: StorageOptions, tmp_path: Path) -> None:
    urls = [s3.put(f"k{number}", b"%d" % number) for number in range(40)]
    urls[7] = s3.url + "/gone"
    outcomes = fetch_many([Wanted(url, str(tmp_path / str(n))) for n, url in enumerate(urls)], options)
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [7]
    assert isinstance(outcomes[7], ObjectMissing)
    assert {int(p.name): int(p.read_text()) for p in tmp_path.iterdir()} == {n: n for n in range(40) if n != 7}


@both
def test_ranges_lie_at_their_offsets(s3: Bucket, options: StorageOptions, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB)
    url = s3.put("k", data)
    wanted = Wanted(url, str(tmp_path / "x"), len(data), token(s3, "k"))
    fetch_ranges(wanted, [(10, 20), (2 * MIB, 3 * MIB)], options)
    got = (tmp_path / "x").read_bytes()
    assert len(got) == len(data)
    assert (got[10:20], got[2 * MIB :], got[:10], got[20 : 2 * MIB]) == (
        data[10:20], data[2 * MIB :], bytes(10), bytes(2 * MIB - 20),
    )  # fmt: skip
    fetch_ranges(wanted, [(0, 10)], options)
    assert (tmp_path / "x").read_bytes()[:20] == data[:20]
    assert read_range(url, len(data) - 5, len(data) + 5, options) == data[-5:]
    assert read_range(url, len(data), len(data) + 5, options) == b""
    s3.put("k", data[::-1])
    with pytest.raises(ObjectChanged):
        fetch_ranges(wanted, [(0, 10)], options)


@both
@pytest.mark.parametrize("kind", ["slow_down", "error", "reset_before", "reset_after", "cut"])
def test_a_fetch_outlives_faults(
    s3: Bucket, proxied: FaultProxy, through: StorageOptions, tmp_path: Path, kind: str
) -> None:
    data = os.urandom(200_000)
    url = s3.put("k", data)
    proxied.faults = [Fault(kind, "GET", times=3)]
    fetch(Wanted(url, str(tmp_path / "x"), len(data)), through, QUICK)
    assert ((tmp_path / "x").read_bytes(), proxied.count("GET")) == (data, 4)


def test_the_limit_is_the_end(s3: Bucket, proxied: FaultProxy, through: StorageOptions, tmp_path: Path) -> None:
    url = s3.put("k", b"x")
    proxied.faults = [Fault("slow_down", times=100)]
    with pytest.raises(StorageUnavailable, match=r"reading, tried 4 times: .*SlowDown.*resume the run later"):
        fetch(Wanted(url, str(tmp_path / "x"), 1), through, QUICK)
    assert proxied.count() == 4


@both
def test_bytes_and_files_are_put(
    s3: Bucket, options: StorageOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putting, "ONE_REQUEST", 5 * MIB)
    assert put_bytes(s3.url + "/a", b"one", options) == token(s3, "a")
    (tmp_path / "large").write_bytes(data := os.urandom(11 * MIB))
    assert put_file(s3.url + "/b", str(tmp_path / "large"), options) == token(s3, "b")
    assert (s3.get("a"), s3.get("b"), s3.pending()) == (b"one", data, [])
    delete(s3.url + "/a", options)
    delete(s3.url + "/a", options)
    assert s3.keys() == ["b"]


@both
@pytest.mark.parametrize("kind", ["slow_down", "reset_before", "reset_after", "cut_request"])
def test_a_put_outlives_faults(s3: Bucket, proxied: FaultProxy, through: StorageOptions, kind: str) -> None:
    proxied.faults = [Fault(kind, "PUT", times=3)]
    put_bytes(s3.url + "/k", b"x" * 10_000, through, QUICK)
    assert (s3.get("k"), proxied.count("PUT")) == (b"x" * 10_000, 4)


@both
def test_a_put_that_fails_publishes_nothing(
    s3: Bucket, proxied: FaultProxy, through: StorageOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putting, "ONE_REQUEST", 5 * MIB)
    (tmp_path / "large").write_bytes(bytes(11 * MIB))
    proxied.faults = [Fault("cut_request", "PUT", "partNumber=2", times=100)]
    with pytest.raises(StorageUnavailable):
        put_file(s3.url + "/b", str(tmp_path / "large"), through, QUICK)
    assert (s3.keys(), s3.pending()) == ([], [])


@both
def test_create_makes_once(s3: Bucket, proxied: FaultProxy, through: StorageOptions) -> None:
    assert create(s3.url + "/lock", b"first", through) is Created.MADE
    assert create(s3.url + "/lock", b"second", through) is Created.EXISTS
    proxied.faults = [Fault("reset_after", "PUT")]
    assert create(s3.url + "/other", b"third", through) is Created.MADE
    assert (s3.get("lock"), s3.get("other")) == (b"first", b"third")


@both
def test_of_many_that_create_at_once_one_does(s3: Bucket, options: StorageOptions) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: create(s3.url + "/lock", b"%d" % n, options), range(8)))
    assert made.count(Created.MADE) == 1
    assert s3.get("lock") == b"%d" % made.index(Created.MADE)


def put_pieces(s3: Bucket, sizes: list[int]) -> tuple[list[Piece], bytes]:
    content = [os.urandom(size) for size in sizes]
    pieces = []
    for number, data in enumerate(content):
        url = s3.put(f"pieces/{number}", data)
        pieces.append(Piece(url, 0, len(data), token(s3, f"pieces/{number}")))
    return pieces, b"".join(content)


@both
@pytest.mark.parametrize(
    "sizes", [[], [3], [3, 0, 4], [6 * MIB], [1, 12 * MIB, 7], [3 * MIB, 3 * MIB, 3 * MIB], [6 * MIB, 6 * MIB, 100]]
)
def test_pieces_become_one_object(s3: Bucket, options: StorageOptions, sizes: list[int]) -> None:
    pieces, data = put_pieces(s3, sizes)
    recorded: list[str] = []
    compose(s3.url + "/whole", [data_piece(b"head\n"), *pieces], options, recorded.append)
    assert (s3.get("whole") == b"head\n" + data, s3.pending()) == (True, [])
    assert len(recorded) == (sum(sizes) >= 5 * MIB)


@both
def test_large_pieces_do_not_pass_through_here(s3: Bucket, proxied: FaultProxy, through: StorageOptions) -> None:
    pieces, data = put_pieces(s3, [12 * MIB, 10, 12 * MIB])
    compose(s3.url + "/whole", pieces, through)
    assert s3.get("whole") == data
    assert proxied.passed < 2.2 * 5 * MIB  # one part gathered: down and up


@both
def test_parts_may_be_sent_by_others(s3: Bucket, options: StorageOptions) -> None:
    pieces, data = put_pieces(s3, [6 * MIB, 3 * MIB, 3 * MIB, 8 * MIB, 5])
    recorded: list[str] = []
    upload = begin(s3.url + "/whole", options, recorded.append)
    assert pending(s3.url + "/", options) == [("whole", recorded[0])]
    sent = [send_part(upload, part, options) for part in reversed(parts_of(pieces))]
    assert not s3.has("whole")
    finish(upload, sent, options)
    assert (s3.get("whole") == data, pending(s3.url + "/", options)) == (True, [])
    abort(s3.url + "/whole", recorded[0], options)
    assert s3.get("whole") == data


@both
@pytest.mark.parametrize(
    "fault",
    [
        Fault("slow_down", "", "partNumber", times=3),
        Fault("reset_after", "POST", "uploads"),
        Fault("reset_after", "POST", "uploadId"),
        Fault("error", "POST", "uploadId"),
        Fault("reset_before", "POST", "uploadId"),
        Fault("reset_after", "PUT", "partNumber"),
        Fault("cut_request", "PUT", "partNumber=2"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.contains}",
)
def test_compose_outlives_faults(s3: Bucket, proxied: FaultProxy, through: StorageOptions, fault: Fault) -> None:
    pieces, data = put_pieces(s3, [6 * MIB, 10])
    proxied.faults = [Fault(fault.kind, fault.method, fault.contains, fault.times)]
    compose(s3.url + "/whole", pieces, through, limit=QUICK)
    assert proxied.faults[0].times == 0
    assert (s3.get("whole") == data, s3.pending()) == (True, [])


@both
def test_a_compose_that_fails_leaves_nothing(s3: Bucket, proxied: FaultProxy, through: StorageOptions) -> None:
    pieces, _ = put_pieces(s3, [6 * MIB, 100, 6 * MIB])
    s3.put("pieces/1", bytes(100))
    with pytest.raises(ObjectChanged):
        compose(s3.url + "/whole", pieces, through, limit=QUICK)
    assert (s3.pending(), s3.has("whole")) == ([], False)
    with pytest.raises(ObjectChanged):
        compose(s3.url + "/whole", [Piece(pieces[0].url, 0, 6 * MIB, "0" * 32)], through, limit=QUICK)
    proxied.faults = [Fault("error", "POST", "uploadId", times=100)]
    with pytest.raises(StorageUnavailable):
        compose(s3.url + "/whole", [Piece(pieces[0].url, 0, 6 * MIB)], through, limit=QUICK)
    assert (s3.pending(), s3.has("whole")) == ([], False)


def test_ctrl_c_leaves_nothing(s3: Bucket, proxied: FaultProxy, through: StorageOptions) -> None:
    pieces, _ = put_pieces(s3, [6 * MIB, 6 * MIB])
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(_: str) -> None:
        proxied.latency = 0.5  # so that parts are under way when the signal comes
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever other tests have left there
    try:
        with pytest.raises(KeyboardInterrupt):
            compose(s3.url + "/whole", pieces, through, interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (s3.pending(), s3.has("whole")) == ([], False)


@pytest.fixture
def memory(tmp_path: Path) -> Callable[[str], str]:
    """URLs of a filesystem that is no S3."""
    return lambda name: f"memory://{tmp_path.name}/{name}"


def test_another_filesystem_does_the_same(memory: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    put_file(memory("a"), str(tmp_path / "file"))
    put_bytes(memory("b"), b"abc")
    compose(memory("whole"), [data_piece(b"head "), Piece(memory("a"), 2, 5), Piece(memory("b"), 0, 3)])
    fetch(Wanted(memory("whole"), str(tmp_path / "got")))
    assert (tmp_path / "got").read_bytes() == b"head 234abc"
    fetch_ranges(Wanted(memory("a"), str(tmp_path / "ranges"), 10), [(8, 10)])
    assert (tmp_path / "ranges").read_bytes() == bytes(8) + b"89"
    delete(memory("a"))
    delete(memory("a"))
    assert isinstance(fetch_many([Wanted(memory("a"), str(tmp_path / "none"))])[0], ObjectMissing)
    assert create(memory("b"), b"x") is Created.EXISTS


def test_part_numbers_are_unlike_any_order_of_sending() -> None:
    parts = parts_of([Piece("s3://b/k", 0, 30 * MIB)], largest=10 * MIB)
    assert [part.number for part in parts] == [1, 2, 3]
    assert all(a.pieces[0].end == b.pieces[0].start for a, b in itertools.pairwise(parts))
