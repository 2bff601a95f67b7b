"""Azure Blob storage, by Microsoft's emulator: objects, and runs whose input lies there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azurite_server import Container
from click.testing import CliRunner
from fault_proxy import Fault, FaultProxy
from test_inputs_on_s3 import CASES, entry, scored

import daskbatch
from daskbatch import Dataset, Datastore, Workspace
from daskbatch.cli import cli
from daskbatch.remote import azure as requests
from daskbatch.remote import retrying
from daskbatch.remote.compose import Piece, compose, data_piece
from daskbatch.remote.deleting import delete_below
from daskbatch.remote.errors import (
    BucketMissing,
    CredentialsRefused,
    EndpointWrong,
    ObjectChanged,
    ObjectMissing,
    StorageUnavailable,
)
from daskbatch.remote.fetch import Wanted, fetch, fetch_many, fetch_ranges, read_range
from daskbatch.remote.filesystem import filesystem
from daskbatch.remote.listing import keys_below, list_objects, look
from daskbatch.remote.objects import object_state
from daskbatch.remote.options import checked
from daskbatch.remote.put import Created, create, delete, put_bytes, put_file
from daskbatch.remote.retrying import Limit

pytest_plugins = ["azure_services"]

QUICK = Limit(tries=2, seconds=20.0)
ODD = ["a b/ü?#%.bin", "100%25.bin", "x+y&z=.bin", "a//b", ".hidden/x"]
SMOKE = (
    "files", "files with odd names", "files by key", "csv by bytes", "csv by rows", "csv by key", "gzip", "multi-line",
    "jsonl", "row groups", "slices of row groups", "parquet by key", "columns of csv", "columns of row groups",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_copies_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Everything temporary of a test has to be gone at its end."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    assert set(os.listdir(tmp_path / "tmp")) <= {"dask-scratch-space"}


def in_both(azure: Container, folder: Path, tree: dict[str, bytes]) -> str:
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        azure.put(f"in put/{name}", data)
    return f"{azure.url}/in put/"


@pytest.mark.parametrize("case", SMOKE)
def test_the_result_is_that_of_a_disk(azure: Container, tmp_path: Path, case: str) -> None:
    text, tree, options = CASES[case]
    url, script = in_both(azure, tmp_path / "in put", tree), entry(tmp_path, text)
    oracle = scored(script, tmp_path / "in put", tmp_path / "oracle", compute="serial", **options)
    assert scored(script, url, tmp_path / "out", process_count_per_node=2, **options) == oracle
    key = azure.server.key.encode()
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or key not in path.read_bytes(), f"{path} holds the account's key"


def test_a_glob_takes_what_it_takes_on_a_disk(azure: Container, tmp_path: Path) -> None:
    text, tree, _ = CASES["files"]
    url, script = in_both(azure, tmp_path / "in put", tree), entry(tmp_path, text)
    options = {"input_format": "files", "mini_batch_size": 3}
    oracle = scored(script, str(tmp_path / "in put" / "*" / "f?[0-5].bin"), tmp_path / "oracle", **options)
    assert scored(script, f"{url}*/f?[0-5].bin", tmp_path / "out", **options) == oracle
    account = url.replace("/in put", "@daskbatchtests.dfs.core.windows.net/in put")
    assert scored(script, f"{account}**/f?[0-5].bin", tmp_path / "named", **options) == oracle


@pytest.mark.parametrize("name", ODD)
def test_what_is_put_is_there_under_its_own_name(azure: Container, tmp_path: Path, name: str) -> None:
    url = f"{azure.url}/{name}"
    token = put_bytes(url, b"0123456789")
    assert (azure.keys(), azure.get(name), azure.etag(name)) == ([name], b"0123456789", token)
    assert look(url) == (url, 10, token, False)
    state = object_state(url)
    assert state is not None
    assert (state[:2], abs(state.changed - time.time()) < 60) == ((10, token), True)
    assert put_bytes(url, b"other") != token
    assert azure.get(name) == b"other"
    delete(url)
    delete(url)
    assert (azure.keys(), look(url)) == ([], None)


def test_a_range_is_read_of_the_object_that_was_meant(azure: Container, tmp_path: Path) -> None:
    url = azure.put("k", b"0123456789")
    token = azure.etag("k")
    assert read_range(url, 2, 5, token=token) == b"234"
    assert read_range(url, 8, 50) == b"89"
    assert (read_range(url, 10, 20), read_range(url, 50, 60), read_range(url, 3, 3)) == (b"", b"", b"")
    fetch_ranges(Wanted(url, str(tmp_path / "x"), 10, token), [(1, 3), (8, 10)])
    assert (tmp_path / "x").read_bytes() == b"\x0012\0\0\0\0\x0089"
    azure.put("k", b"9876543210")
    for read in (
        lambda: read_range(url, 2, 5, token=token),
        lambda: fetch_ranges(Wanted(url, str(tmp_path / "y"), 10, token), [(1, 3)]),
        lambda: fetch(Wanted(url, str(tmp_path / "y"), 10, token)),
        lambda: fetch(Wanted(url, str(tmp_path / "y"), 9)),
        lambda: fetch(Wanted(url, str(tmp_path / "y"), 11)),
        lambda: fetch(Wanted(url, str(tmp_path / "y"), 0)),
    ):
        with pytest.raises(ObjectChanged, match="has changed since it was listed"):
            read()


def test_many_are_fetched_and_one_bad_one_does_not_end_the_others(azure: Container, tmp_path: Path) -> None:
    urls = [azure.put(f"k{number}", b"%d" % number * (number != 3)) for number in range(40)]
    urls[7] = azure.url + "/gone"
    outcomes = fetch_many([Wanted(url, str(tmp_path / f"k{n}")) for n, url in enumerate(urls)])
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [7]
    assert isinstance(outcomes[7], ObjectMissing)
    got = {path.name: path.read_bytes() for path in tmp_path.glob("k*")}
    assert got == {f"k{n}": b"%d" % n * (n != 3) for n in range(40) if n != 7}


def test_a_large_file_goes_in_blocks_and_appears_whole(
    azure: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_BLOCK", 100_000)
    data = os.urandom(450_001)
    (tmp_path / "f").write_bytes(data)
    assert put_file(azure.url + "/f", str(tmp_path / "f")) == azure.etag("f")
    blocks, open_blocks = azure.client.get_blob_client("f").get_block_list("all")
    assert (azure.get("f") == data, len(blocks), open_blocks) == (True, 5, [])
    (tmp_path / "e").write_bytes(b"")
    put_file(azure.url + "/e", str(tmp_path / "e"))
    assert azure.get("e") == b""


def test_create_makes_once(azure: Container) -> None:
    url = azure.url + "/lock"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: create(url, b"%d" % n), range(8)))
    assert sorted(one.value for one in made) == ["exists"] * 7 + ["made"]
    winner = made.index(Created.MADE)
    assert azure.get("lock") == b"%d" % winner
    assert create(url, b"%d" % winner) is Created.MADE  # as after a lost reply


def test_pieces_become_one_object(azure: Container) -> None:
    pieces = []
    for number, data in enumerate((b"one", b"", b"three")):
        url = azure.put(f"p{number}", data)
        pieces.append(Piece(url, 0, len(data), azure.etag(f"p{number}")))
    assert compose(azure.url + "/whole", [data_piece(b"head "), *pieces]) == azure.etag("whole")
    assert azure.get("whole") == b"head onethree"
    azure.put("p0", b"two")
    with pytest.raises(ObjectChanged):
        compose(azure.url + "/other", pieces)
    assert not azure.has("other")


def test_listing_is_in_the_order_of_keys(azure: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_PAGE", 2)  # several pages a folder
    names = ["b", "a/z", "a-b", "a", "a/b/c", "a/b-c", "ü", "😀", "a/.x/y", "c/1", "c/2", "c/3", "c/4", "c/5"]
    for name in names:
        azure.put(name, b"x")
    prefix = azure.url + "/"
    ordered = sorted(names, key=str.encode)
    assert [found.url.removeprefix(prefix) for found in keys_below(azure.url)] == ordered
    assert [found.url.removeprefix(prefix) for found in list_objects((prefix,))] == [n for n in ordered if "." not in n]
    (found,) = list_objects((prefix + "c/2",))
    assert (found.size, found.token) == (1, azure.etag("c/2"))
    assert delete_below(prefix + "a") == 4
    assert azure.has("a")
    assert delete_below(azure.url) == len(names) - 4
    assert (azure.keys(), delete_below(azure.url)) == ([], 0)


FAULTS = ("slow_down", "error", "reset_before", "reset_after")


@pytest.mark.parametrize("kind", [*FAULTS, "cut"])
def test_a_fetch_outlives_faults(
    azure: Container, through: FaultProxy, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.001)
    data = os.urandom(200_000)
    url, token = azure.put("k", data), azure.etag("k")
    through.faults = [Fault(kind, "GET", times=3)]
    fetch(Wanted(url, str(tmp_path / "x"), len(data), token), limit=Limit(tries=4))
    assert ((tmp_path / "x").read_bytes() == data, through.count("GET")) == (True, 4)


@pytest.mark.parametrize("kind", [*FAULTS, "cut_request"])
def test_puts_outlive_faults(
    azure: Container, through: FaultProxy, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.001)
    monkeypatch.setattr(requests, "_BLOCK", 100_000)
    limit, data = Limit(tries=4), os.urandom(250_000)
    (tmp_path / "f").write_bytes(data)
    for name, put in {
        "put": lambda url: put_bytes(url, data, limit=limit),
        "file": lambda url: put_file(url, str(tmp_path / "f"), limit=limit),
        "create": lambda url: create(url, data, limit=limit),
    }.items():
        before = through.count("PUT")
        through.faults = [Fault(kind, "PUT", times=3)]
        put(f"{azure.url}/{name}")
        assert (azure.get(name) == data, through.faults[0].times) == (True, 0)
        assert through.count("PUT") - before == (7 if name == "file" else 4)  # one loop tries again, and no other
    through.faults = [Fault(kind, "DELETE", times=3)]
    delete(azure.url + "/put", limit=limit)
    assert not azure.has("put")


def test_the_limit_is_the_end_and_nothing_is_published(
    azure: Container, through: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.001)
    monkeypatch.setattr(requests, "_BLOCK", 100_000)
    azure.put("f", b"old")
    (tmp_path / "f").write_bytes(bytes(250_000))
    through.faults = [Fault("slow_down", "PUT", "comp=blocklist", times=100)]
    with pytest.raises(StorageUnavailable, match=r"finishing the upload, tried 3 times: .* Next: resume the run later"):
        put_file(azure.url + "/f", str(tmp_path / "f"), limit=Limit(tries=3))
    assert (azure.get("f"), through.count("PUT", "comp=blocklist")) == (b"old", 3)


WRITES: dict[str, Callable[[str], object]] = {
    "look": lambda url: look(url, limit=QUICK),
    "read": lambda url: read_range(url, 0, 3, limit=QUICK),
    "list": lambda url: list(list_objects((url + "/",), limit=QUICK)),
    "put": lambda url: put_bytes(url, b"x", limit=QUICK),
    "create": lambda url: create(url, b"x", limit=QUICK),
    "delete": lambda url: delete(url, limit=QUICK),
}


@pytest.mark.parametrize("doing", WRITES)
def test_a_missing_container_and_a_wrong_key_are_called_so(
    azure: Container, doing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BucketMissing, match="there is no container 'no-such-one'"):
        WRITES[doing]("abfs://no-such-one/k")
    type(filesystem(azure.url)).clear_instance_cache()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure.server.connection("b" * 86 + "=="))
    with pytest.raises(CredentialsRefused, match=r"credentials .*AZURE_STORAGE_CONNECTION_STRING"):
        WRITES[doing](azure.url + "/k")


def test_where_nobody_answers_or_no_account_is_told(azure: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = type(filesystem(azure.url)).clear_instance_cache
    string = azure.server.environment["AZURE_STORAGE_CONNECTION_STRING"]
    with pytest.raises(CredentialsRefused, match=r"account 'other' is asked for, but .* is of 'daskbatchtests'"):
        filesystem(f"abfs://{azure.name}@other.dfs.core.windows.net/k")
    fresh()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", string.replace("127.0.0.1:2", "127.0.0.1:1"))
    with pytest.raises(EndpointWrong, match=r"nobody answers .* check the account"):
        look(azure.url + "/k", limit=QUICK)
    fresh()
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    with pytest.raises(CredentialsRefused, match=r"no Azure storage account is told .* account_name"):
        look(azure.url + "/k", limit=QUICK)


def test_what_is_wrong_ends_a_command_with_2(azure: Container, tmp_path: Path) -> None:
    script = entry(tmp_path, "def run(paths): return paths")
    runner = CliRunner()
    for url, options, said in (
        ("abfs://no-such-one/a", [], "there is no container"),
        (azure.url + "/none/", [], "there is no object"),
        (azure.url + "/a", ["--storage-options", "account_key=hu5h"], "account_key is a secret"),
        (azure.url + "/a", ["--storage-options", "endpoint_url=http://x"], "names the endpoint of an emulator"),
    ):
        done = runner.invoke(cli, ["run", script, url, "--output", str(tmp_path / "out"), *options])
        assert (done.exit_code, said in done.output, "hu5h" in done.output) == (2, True, False), done.output


def test_a_client_holds_no_secret(azure: Container) -> None:
    import pickle

    client = filesystem(azure.url, checked({"account_name": "daskbatchtests"}, "abfs"))
    assert client is filesystem("az://other/k", checked({"account_name": "daskbatchtests"}, "az"))
    assert azure.server.key.encode() not in pickle.dumps(client)
    assert azure.server.key not in client.to_json()


def test_a_container_as_a_datastore(azure: Container, tmp_path: Path) -> None:
    """Azurite's account is that of the connection string, which wins over the host in the URL."""
    ws = Workspace.create("w", tmp_path / "ws")
    account = azure.server.endpoint.rpartition("/")[2]
    store = Datastore.register_azure_blob_container(ws, "blobs", azure.name, account)
    (tmp_path / "source" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "deep" / "a b.txt").write_text("text")
    store.upload(tmp_path / "source", "up", show_progress=False)
    data = Dataset.File.from_files((store, "up"))
    assert data.to_path() == ["/deep/a b.txt"]
    assert [Path(path).read_text() for path in data.download(tmp_path / "down")] == ["text"]
    script = tmp_path / "score.py"
    script.write_text("import sys\ndef run(batch):\n    return [open(sys.argv[1]).read() + open(batch[0]).read()]\n")
    url = store.place("up/deep/a b.txt")
    fetched = [(url, "object", "", dict(store.storage_options))]
    run = daskbatch.run(
        str(script), data, output=tmp_path / "out", arguments=[url], fetched=fetched, progress=False, error_threshold=0
    )
    assert run.to_pandas()["result"].to_list() == ["texttext"]
