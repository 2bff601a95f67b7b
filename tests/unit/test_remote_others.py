"""Filesystems that are no S3: what fsspec has for all, on one of memory and on one of folders that renames."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from daskbatch.remote import retrying
from daskbatch.remote.compose import Piece, compose, data_piece
from daskbatch.remote.deleting import delete_below
from daskbatch.remote.errors import ObjectChanged, ObjectMissing, StorageError
from daskbatch.remote.fetch import Wanted, fetch, fetch_many, fetch_ranges, read_range
from daskbatch.remote.filesystem import filesystem
from daskbatch.remote.listing import keys_below, list_objects, look
from daskbatch.remote.objects import object_state
from daskbatch.remote.put import Created, create, delete, put_bytes, put_file
from daskbatch.remote.retrying import Limit

Place = Callable[[str], str]


class Folders(LocalFileSystem):
    """A filesystem of folders: what it writes is seen before it is whole, and it renames."""

    protocol = "folders"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).replace("folders://", "/"))


fsspec.register_implementation("folders", Folders, clobber=True)


@pytest.fixture(params=["memory", "folders"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """URLs of names in a folder that is empty."""
    root = f"memory://{tmp_path.name}" if request.param == "memory" else f"folders:/{tmp_path}/store"
    return lambda name: f"{root}/{name}"


def test_what_is_put_is_there(at: Place, tmp_path: Path) -> None:
    token = put_bytes(at("a/b c"), b"0123456789")
    assert token
    assert look(at("a/b c")) == (at("a/b c"), 10, token, False)
    state = object_state(at("a/b c"))
    assert state is not None
    assert (state[:2], abs(state.changed - time.time()) < 60) == ((10, token), True)
    assert read_range(at("a/b c"), 2, 5, token=token) == b"234"
    assert read_range(at("a/b c"), 8, 50) == b"89"
    assert read_range(at("a/b c"), 50, 60) == b""
    (tmp_path / "f").write_bytes(b"file")
    assert put_file(at("a/f"), str(tmp_path / "f")) == (look(at("a/f")) or ("",) * 3)[2]
    assert [one.url for one in keys_below(at("a"))] == [at("a/b c"), at("a/f")]
    assert (look(at("a")), look(at("none"))) == (None, None)
    delete(at("a/f"))
    delete(at("a/f"))
    assert delete_below(at("a")) == 1
    assert (list(keys_below(at("a"))), delete_below(at("never"))) == ([], 0)


def test_an_object_that_has_changed_is_told(at: Place, tmp_path: Path) -> None:
    token = put_bytes(at("k"), b"one")
    assert put_bytes(at("k"), b"three") != token
    for read in (
        lambda: read_range(at("k"), 0, 3, token=token),
        lambda: fetch_ranges(Wanted(at("k"), str(tmp_path / "x"), 5, token), [(0, 2)]),
        lambda: fetch(Wanted(at("k"), str(tmp_path / "x"), 5, token)),
        lambda: fetch(Wanted(at("k"), str(tmp_path / "x"), 4)),
        lambda: fetch(Wanted(at("k"), str(tmp_path / "x"), 6)),
        lambda: fetch(Wanted(at("k"), str(tmp_path / "x"), 0)),
        lambda: compose(at("whole"), [Piece(at("k"), 0, 3, token)]),
        lambda: compose(at("whole"), [Piece(at("k"), 0, 9)]),
    ):
        with pytest.raises(ObjectChanged):
            read()
    assert look(at("whole")) is None


def test_pieces_become_one_object_and_many_are_fetched(at: Place, tmp_path: Path) -> None:
    tokens = [put_bytes(at(f"{n}"), b"%d" % n * n) for n in range(30)]
    pieces = [Piece(at(f"{n}"), 0, len(b"%d" % n * n), token) for n, token in enumerate(tokens)]
    whole = b"head " + b"".join(b"%d" % n * n for n in range(30))
    assert compose(at("whole"), [data_piece(b"head "), *pieces]) == (look(at("whole")) or ("",) * 3)[2]
    assert read_range(at("whole"), 0, 10_000) == whole
    wanted = [Wanted(at(f"{n}"), str(tmp_path / f"got{n}"), None if n % 2 else len(b"%d" % n * n)) for n in range(31)]
    outcomes = fetch_many(wanted)
    assert [n for n, outcome in enumerate(outcomes) if outcome] == [30]
    assert isinstance(outcomes[30], ObjectMissing)
    assert all((tmp_path / f"got{n}").read_bytes() == b"%d" % n * n for n in range(30))
    (tmp_path / "sparse").unlink(missing_ok=True)
    fetch_ranges(Wanted(at("whole"), str(tmp_path / "sparse"), len(whole)), [(0, 2), (9, 11), (20, 30)])
    got = (tmp_path / "sparse").read_bytes()
    assert (got[:2], got[9:11], got[20:30], got[2:9]) == (whole[:2], whole[9:11], whole[20:30], bytes(7))


def test_create_makes_once_or_says_that_it_cannot(at: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: create(at("lock"), b"%d" % n), range(8)))
    if at("").startswith("folders"):
        assert set(made) == {Created.UNSUPPORTED}
        assert look(at("lock")) is None
        return
    assert sorted(one.value for one in made) == ["exists"] * 7 + ["made"]
    assert read_range(at("lock"), 0, 9) == b"%d" % made.index(Created.MADE)


def test_a_listing_is_in_the_order_of_keys(at: Place) -> None:
    names = ["b", "a/z", "a-b", "a/b/c", "a/b-c", "ü", "😀", "a/.x/y", ".daskbatch/ledger"]
    for name in names:
        put_bytes(at(name), b"x")
    ordered = sorted(names, key=str.encode)
    assert [found.url for found in keys_below(at(""))] == [at(name) for name in ordered]
    assert [found.url for found in list_objects((at(""),))] == [at(name) for name in ordered if "." not in name]


def test_a_put_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.001)
    url = f"folders:/{tmp_path}/store/k"
    client = filesystem(url)
    put_bytes(url, b"old")
    real, tries = type(client).pipe_file, 0

    def half(self: Any, path: str, data: bytes, **options: Any) -> None:
        nonlocal tries
        tries += 1
        real(self, path, data[: len(data) // 2], **options)
        raise ConnectionResetError(104, "reset") if tries < 3 else OSError(28, "No space left on device")

    monkeypatch.setattr(type(client), "pipe_file", half)
    with pytest.raises(StorageError, match="No space left"):
        put_bytes(url, b"a longer one", limit=Limit(tries=5))
    assert (tries, os.listdir(tmp_path / "store"), (tmp_path / "store/k").read_bytes()) == (3, ["k"], b"old")
    monkeypatch.setattr(type(client), "pipe_file", real)
    put_bytes(url, b"a longer one")
    assert (os.listdir(tmp_path / "store"), (tmp_path / "store/k").read_bytes()) == (["k"], b"a longer one")
