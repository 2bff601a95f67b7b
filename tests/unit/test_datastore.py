from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daskbatch import DataPath, Datastore, IgnoredWarning, NotFound, UsageError, Workspace
from daskbatch.api import ignored
from daskbatch.api.redirect import redirected


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignored, "_said", set())


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace.create("w", tmp_path / "ws")


def tree(folder: Path | str) -> dict[str, str]:
    """Relative path to content, of all files below a folder."""
    root = Path(folder)
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def with_redirect(ws: Workspace, redirect: dict[str, str]) -> Workspace:
    (ws.root / "config.json").write_text(json.dumps({"workspace_name": "w", "redirect": redirect}))
    return Workspace.from_config(ws.root)


def test_a_folder(ws: Workspace, tmp_path: Path) -> None:
    made = Datastore.register(ws, "photos", "some/photos")
    assert made == Datastore.get(ws, "photos") == ws.datastores["photos"]
    assert (made.name, made.url, made.datastore_type) == ("photos", str(tmp_path / "some/photos"), "Folder")
    stored = json.loads((ws.folder / "datastores" / "photos.json").read_text())
    assert stored == {"name": "photos", "url": made.url, "type": "Folder"}
    path = made.path("mnist/")
    assert path == DataPath(made, "mnist")
    assert path.local_path() == made.local_path("mnist") == str(tmp_path / "some/photos/mnist")


def test_twice(ws: Workspace, tmp_path: Path) -> None:
    Datastore.register(ws, "photos", "a")
    with pytest.raises(UsageError, match=r"name 'photos' is taken: it is .*overwrite=True"):
        Datastore.register(ws, "photos", "a")
    Datastore.register(ws, "photos", "b", overwrite=True)
    assert Datastore(ws, "photos").url == str(tmp_path / "b")
    with pytest.raises(UsageError, match="datastore_name 'photos' is taken"):
        Datastore.register_azure_blob_container(ws, "photos", "con", "acc")


def test_the_implicit_one_can_be_put_elsewhere(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is taken"):
        Datastore.register(ws, "workspaceblobstore", "big")
    Datastore.register(ws, "workspaceblobstore", "big", overwrite=True)
    assert ws.get_default_datastore().url == str(tmp_path / "big")


def test_unregister(ws: Workspace) -> None:
    Datastore.register(ws, "photos", "a").unregister()
    with pytest.raises(NotFound, match="no datastore 'photos'"):
        Datastore.get(ws, "photos")
    with pytest.raises(UsageError, match="is the default datastore"):
        ws.get_default_datastore().unregister()


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a b", "x" * 251])
def test_names_cannot_lead_out(ws: Workspace, name: str) -> None:
    with pytest.raises(UsageError, match="name must begin"):
        Datastore.register(ws, name, "a")
    with pytest.raises(UsageError, match="datastore_name must begin"):
        Datastore.register_azure_blob_container(ws, name, "con", "acc")
    with pytest.raises(NotFound):
        Datastore.get(ws, name)
    assert tree(ws.root.parent).keys() == {"ws/config.json"}


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket", "https://a.blob.core.windows.net/c?sig=secret", "x;AccountKey=secret"]
)
def test_secrets_are_stored_nowhere(ws: Workspace, url: str) -> None:
    with pytest.raises(UsageError, match="must not hold a key") as caught:
        Datastore.register(ws, "store", url)
    assert "secret@" not in str(caught.value)
    assert list(ws.datastores) == ["workspaceblobstore"]


def test_an_object_store_is_no_folder(ws: Workspace) -> None:
    made = Datastore.register(ws, "photos", "s3://bucket/photos/")
    assert (made.url, made.datastore_type) == ("s3://bucket/photos", "s3")
    path = made.path("2024/*.png")
    assert (path.place(), path.storage_options()) == ("s3://bucket/photos/2024/*.png", ())
    with pytest.raises(UsageError, match=r"and no folder.*\"redirect\": \{\"s3://bucket/photos\""):
        path.local_path()


def test_options_of_a_store(ws: Workspace) -> None:
    made = Datastore.register(ws, "photos", "s3://bucket", endpoint_url="https://host:9000", profile="mine")
    known = {"endpoint_url": "https://host:9000", "profile": "mine"}
    assert dict(made.storage_options) == dict(made.path("a").storage_options()) == known
    stored = json.loads((ws.folder / "datastores" / "photos.json").read_text())
    assert stored["storage_options"] == known
    plain = Datastore.register(ws, "plain", "s3://bucket")
    assert "storage_options" not in json.loads((ws.folder / "datastores" / "plain.json").read_text())
    assert plain.storage_options == ()


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("s3://bucket", {"secret": "hush"}, "secret is a secret"),
        ("s3://bucket", {"aws_session_token": "hush"}, "is a secret"),
        ("s3://bucket", {"endpoint": "https://host"}, r"no option 'endpoint'.*endpoint_url"),
        ("s3://bucket", {"endpoint_url": "https://me:hush@host"}, "password"),
        ("photos", {"anon": True}, "a folder has no options"),
    ],
)
def test_options_that_are_refused(ws: Workspace, url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Datastore.register(ws, "photos", url, **options)
    assert "hush" not in str(caught.value)
    assert list(ws.datastores) == ["workspaceblobstore"]


def test_a_redirect_wins_over_a_url(ws: Workspace, tmp_path: Path) -> None:
    Datastore.register(ws, "photos", "s3://bucket", region="r")
    ws = with_redirect(ws, {"s3://bucket/here": str(tmp_path), "s3://bucket/there": "s3://other/x"})
    store = ws.datastores["photos"]
    assert (store.place("here/a"), store.path("here/a").storage_options()) == (str(tmp_path / "a"), ())
    assert (store.place("there/a"), store.path("there/a").storage_options()) == ("s3://other/x/a", ())
    assert store.path("a").storage_options() == (("region", "r"),)


def test_azure_blob_without_any_package_of_azure(ws: Workspace, tmp_path: Path) -> None:
    made = Datastore.register_azure_blob_container(
        workspace=ws, datastore_name="mnist", container_name="sampledata", account_name="pipelinedata", overwrite=True
    )
    assert made.datastore_type == "AzureBlob"
    assert (made.account_name, made.container_name) == ("pipelinedata", "sampledata")
    assert made.url == "abfss://sampledata@pipelinedata.dfs.core.windows.net"
    assert made.path("mnist").place() == f"{made.url}/mnist"
    assert made.path("mnist").storage_options() == (("account_name", "pipelinedata"),)
    with pytest.raises(UsageError, match=r"and no folder.*\"pipelinedata/sampledata\": \"folder\""):
        made.local_path("mnist")
    ws = with_redirect(ws, {"pipelinedata/sampledata": "copies", "pipelinedata/sampledata/mnist/big": str(tmp_path)})
    assert Datastore.get(ws, "mnist").path("mnist/x.png").local_path() == str(ws.root / "copies/mnist/x.png")
    assert Datastore.get(ws, "mnist").local_path("mnist/big/x.png") == str(tmp_path / "x.png")


@pytest.mark.parametrize("what", ["account_key", "sas_token", "connection_string"])
def test_keys_of_azure_belong_into_the_environment(ws: Workspace, what: str) -> None:
    with pytest.raises(UsageError, match=f"{what} is not taken.*environment variable AZURE_STORAGE") as caught:
        Datastore.register_azure_blob_container(ws, "mnist", "con", "acc", **{what: "se4cret"})  # type: ignore[arg-type]
    assert "se4cret" not in str(caught.value)
    made = Datastore.register_azure_blob_container(ws, "mnist", "con", "acc", **{what: None})  # type: ignore[arg-type]
    assert "se4cret" not in (ws.folder / "datastores" / f"{made.name}.json").read_text()


def test_what_azure_takes_besides(ws: Workspace) -> None:
    with pytest.warns(IgnoredWarning, match="create_if_not_exists") as seen:
        Datastore.register_azure_blob_container(ws, "m", "con", "acc", create_if_not_exists=True)
    assert seen[0].filename == __file__
    with pytest.raises(UsageError, match="has no argument 'container'"):
        Datastore.register_azure_blob_container(ws, "n", "con", "acc", container="x")
    for values in (("con/..", "acc"), ("con", "acc@evil"), ("con", "acc/x")):
        with pytest.raises(UsageError, match="_name must"):
            Datastore.register_azure_blob_container(ws, "n", *values)


def test_nothing_heavy_is_imported_to_register_a_container(ws: Workspace) -> None:
    program = (
        "import sys\n"
        "from daskbatch import Datastore, Workspace\n"
        "Datastore.register_azure_blob_container(Workspace.from_config('ws'), 'm', 'con', 'acc')\n"
        "assert not {'adlfs', 'azure', 's3fs', 'dask', 'distributed', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ws.root.parent)


@pytest.mark.parametrize(
    ("redirect", "asked", "found"),
    [
        ({"acc/con": "/d"}, "acc/con/x", "/d/x"),
        ({"Acc/con": "/d"}, "https://acc.blob.core.windows.net/con/x/y", "/d/x/y"),
        ({"acc/con": "/d"}, "abfss://con@acc.dfs.core.windows.net/x", "/d/x"),
        ({"acc/con": "/d"}, "wasbs://con@acc.blob.core.windows.net/x", "/d/x"),
        ({"acc/con": "/d"}, "abfss://con2@acc.dfs.core.windows.net/x", "abfss://con2@acc.dfs.core.windows.net/x"),
        ({"https://acc.blob.core.windows.net/con": "/d"}, "abfss://con@acc.dfs.core.windows.net", "/d"),
        ({"s3://bucket/a": "/d", "s3://bucket": "/e"}, "s3://bucket/a/b", "/d/b"),
        ({"s3://bucket/a": "/d", "s3://bucket": "/e"}, "s3://bucket/ab", "/e/ab"),
        ({"s3://bucket": "s3://other/x"}, "s3://bucket/*.csv", "s3://other/x/*.csv"),
        ({"/old": "/new"}, "/old/a", "/new/a"),
        ({"/old": "/new"}, "/older/a", "/older/a"),
        ({"s3://b": "/"}, "s3://b/a", "/a"),
        ({}, "/old/a", "/old/a"),
    ],
)
def test_redirects(ws: Workspace, redirect: dict[str, str], asked: str, found: str) -> None:
    assert redirected(with_redirect(ws, redirect), asked) == found


def test_upload_and_download(ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = fill(tmp_path / "source", "a.txt", "b/c.txt", "b/d.txt")
    store = ws.get_default_datastore()
    path = store.upload(str(source), target_path="mnist")
    assert path == store.path("mnist")
    assert tree(path.local_path()) == tree(source)
    assert capsys.readouterr().out.count("Uploading") == 3
    assert store.download(tmp_path / "back", prefix="mnist/b", show_progress=False) == 2
    assert tree(tmp_path / "back") == {"mnist/b/c.txt": "b/c.txt", "mnist/b/d.txt": "b/d.txt"}
    assert capsys.readouterr().out == ""
    assert store.download(tmp_path / "none", prefix="mnst") == 0
    assert "Nothing in" in capsys.readouterr().out


def test_prefixes_are_beginnings(ws: Workspace, tmp_path: Path) -> None:
    store = Datastore.register(ws, "d", fill(tmp_path / "d", "ab/x", "abc/x", "abc.txt", "z/ab"))
    for prefix, expected in (
        ("ab", {"ab/x", "abc/x", "abc.txt"}),
        ("ab/", {"ab/x"}),
        (None, {"ab/x", "abc/x", "abc.txt", "z/ab"}),
    ):
        target = tmp_path / f"to {prefix!s}".replace("/", "_")
        assert store.download(target, prefix, show_progress=False) == len(expected)
        assert tree(target).keys() == expected


def test_what_is_there_is_passed_over_unless(ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ws.get_default_datastore()
    file = fill(tmp_path, "a.txt") / "a.txt"
    store.upload_files([file])
    file.write_text("new")
    store.upload_files([file])
    assert "is there already" in capsys.readouterr().out
    assert tree(store.local_path()) == {"a.txt": "a.txt"}
    store.upload_files([str(file)], overwrite=True)
    assert tree(store.local_path()) == {"a.txt": "new"}


def test_upload_files_keep_the_structure_below_the_root(ws: Workspace, tmp_path: Path) -> None:
    fill(tmp_path / "s", "x/a", "x/y/b")
    store = ws.get_default_datastore()
    files = [tmp_path / "s/x/a", tmp_path / "s/x/y/b"]
    store.upload_files(files, target_path="one", show_progress=False)
    store.upload_files(files, relative_root=tmp_path / "s", target_path="two", show_progress=False)
    assert tree(store.local_path()).keys() == {"one/a", "one/y/b", "two/x/a", "two/x/y/b"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda s: s.upload("none"), "src_dir must be a folder"),
        (lambda s: s.upload_files("a.txt"), "files must be a list"),
        (lambda s: s.upload_files([]), "at least one file"),
        (lambda s: s.upload_files(["none.txt"]), "not there"),
        (lambda s: s.upload_files(["ws"]), "a folder"),
        (lambda s: s.upload_files(["ws/config.json"], relative_root="other"), "relative_root must be"),
        (lambda s: s.upload("ws", target_path="../.."), "target_path must be a path inside"),
        (lambda s: s.upload_files(["ws/config.json"], target_path="a/../../../x"), "target_path must be a path inside"),
        (lambda s: s.download("x", prefix="../.."), "prefix must be a path inside"),
        (lambda s: s.path("../x"), "path must be a path inside"),
        (lambda s: s.local_path("a/../../x"), "path must be a path inside"),
    ],
)
def test_what_cannot_be_copied(ws: Workspace, call: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        call(ws.get_default_datastore())
    assert tree(ws.root.parent).keys() == {"ws/config.json"}


def test_a_link_at_the_target_is_replaced_and_not_followed(ws: Workspace, tmp_path: Path) -> None:
    store = ws.get_default_datastore()
    outside = fill(tmp_path, "outside.txt") / "outside.txt"
    os.makedirs(store.local_path())
    os.symlink(outside, store.local_path("a.txt"))
    source = fill(tmp_path / "s", "a.txt")
    store.upload(source, overwrite=True, show_progress=False)
    assert outside.read_text() == "outside.txt"
    assert tree(store.local_path()) == {"a.txt": "a.txt"}


def test_a_target_that_cannot_be_written(ws: Workspace, tmp_path: Path) -> None:
    store = Datastore.register(ws, "d", fill(tmp_path, "file") / "file" / "d")
    with pytest.raises(UsageError, match=r"cannot be copied.*Choose a folder that you may write to"):
        store.upload_files([tmp_path / "file"])
