"""Files of a node: fetched once for a host, whoever asks; taken over from the dead; gone with the last user."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daskbatch.errors import EntryScriptError, InputError
from daskbatch.options.source import archived
from daskbatch.remote.errors import ObjectChanged, ObjectMissing
from daskbatch.remote.filesystem import filesystem
from daskbatch.spec import Fetched
from daskbatch.worker import node_files
from daskbatch.worker.fetched import ScriptFiles
from daskbatch.worker.node_files import BadArchive, NodeFiles
from daskbatch.worker.runner import Launch
from daskbatch.worker.shared_folder import SharedFolder, leave_behind, noted, place_of, remove_if_left, sweep


@pytest.fixture
def store(tmp_path: Path) -> str:
    root = f"memory://{tmp_path.name}"
    for name in ("labels.txt", "model/a.bin", "model/deep/b.bin", "model/c.txt"):
        filesystem(root).pipe_file(f"{root}/{name}", name.encode())
    return root


def test_an_object_a_prefix_and_a_glob(store: str, tmp_path: Path) -> None:
    with NodeFiles(str(tmp_path / "node")) as files:
        assert Path(files.get(f"{store}/labels.txt", "object")).read_text() == "labels.txt"
        folder = Path(files.get(f"{store}/model", "prefix"))
        assert folder.name == "model"
        assert (folder / "deep/b.bin").read_text() == "model/deep/b.bin"
        chosen = Path(files.get(f"{store}/model/**/*.bin", "any"))
        assert sorted(str(p.relative_to(chosen)) for p in chosen.rglob("*.bin")) == ["a.bin", "deep/b.bin"]
        assert Path(files.get(f"{store}/labels.txt", "any")).is_file()
        assert Path(files.get(f"{store}/model/", "any")).is_dir()
    assert not (tmp_path / "node").exists()


def test_each_is_fetched_once(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    begun = threading.Event()
    real = node_files.fetch

    def counted(wanted: Any, *more: Any) -> None:
        fetched.append(wanted.url)
        begun.wait(10)  # the others have had their chance
        real(wanted, *more)

    monkeypatch.setattr(node_files, "fetch", counted)
    both = [NodeFiles(str(tmp_path / "node")) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(files.get, f"{store}/labels.txt", "object") for files in both * 2]
        begun.set()
        paths = {one.result(10) for one in asked}
    assert len(paths) == 1
    assert fetched == [f"{store}/labels.txt"]
    both[0].close()
    assert Path(*paths).is_file()  # the other uses it still
    both[1].close()
    assert not (tmp_path / "node").exists()


def test_who_dies_is_followed(store: str, tmp_path: Path) -> None:
    """A process that ends in the middle holds no lock; what it left is removed."""
    url = f"{store}/labels.txt"
    folder = tmp_path / "node"
    program = (
        "import os, signal, sys\n"
        "from daskbatch.worker import node_files\n"
        "def die(wanted, *more):\n"
        "    open(wanted.path, 'w').write('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "node_files.fetch = die\n"
        "node_files.NodeFiles(sys.argv[1]).get(sys.argv[2], 'object')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(folder), url], check=False)
    assert ended.returncode == -9
    assert Path(place_of(str(folder), url, "object") + ".part").is_dir()
    with NodeFiles(str(folder)) as files:
        assert Path(files.get(url, "object")).read_text() == "labels.txt"
    assert not folder.exists()


def test_what_is_not_there_is_named(store: str, tmp_path: Path) -> None:
    with NodeFiles(str(tmp_path / "node")) as files:
        with pytest.raises(ObjectMissing, match=r"nothing\.txt"):
            files.get(f"{store}/nothing.txt", "object")
        with pytest.raises(InputError, match="nothing"):
            files.get(f"{store}/nothing", "prefix")
        with pytest.raises(ObjectChanged, match="has changed"):
            files.get(f"{store}/labels.txt", "object", "another")
        filesystem(store).pipe_file(f"{store}/nothing.txt", b"now")
        assert Path(files.get(f"{store}/nothing.txt", "object")).read_text() == "now"


def archive(*names: str, link: bool = False) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100755) << 16
            file.writestr(info, "print(1)")
    return data.getvalue()


def test_a_zip_is_unpacked(store: str, tmp_path: Path) -> None:
    filesystem(store).pipe_file(f"{store}/code.zip", archive("score.py", "pkg/tool.sh"))
    with NodeFiles(str(tmp_path / "node")) as files:
        folder = Path(files.get(f"{store}/code.zip", "zip"))
        assert (folder / "score.py").read_text() == "print(1)"
        assert os.access(folder / "pkg/tool.sh", os.X_OK)
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py", "a\\..\\out.py"])
def test_a_zip_that_leads_out_is_refused(store: str, tmp_path: Path, name: str) -> None:
    filesystem(store).pipe_file(f"{store}/code.zip", archive("fine.py", name))
    with NodeFiles(str(tmp_path / "node")) as files, pytest.raises(BadArchive, match="leads out"):
        files.get(f"{store}/code.zip", "zip")
    assert not list(tmp_path.rglob("out.py"))


def test_links_in_a_zip_and_what_is_none_are_refused(store: str, tmp_path: Path) -> None:
    filesystem(store).pipe_file(f"{store}/code.zip", archive("fine.py", link=True))
    with NodeFiles(str(tmp_path / "node")) as files:
        with pytest.raises(BadArchive, match="a link"):
            files.get(f"{store}/code.zip", "zip")
        with pytest.raises(BadArchive, match="no zip archive"):
            files.get(f"{store}/labels.txt", "zip")


def test_a_key_cannot_lead_out(tmp_path: Path) -> None:
    listed = node_files.Listed("s3://b/m/../x", 1, "", False)
    with pytest.raises(InputError, match="leads out"):
        node_files._wanted(listed, str(tmp_path), "../x")


def test_a_folder_goes_with_its_last_user(tmp_path: Path) -> None:
    scratch, path = tmp_path / "scratch", tmp_path / "shared-1"
    scratch.mkdir()
    first, second = SharedFolder(str(path)), SharedFolder(str(path))
    leave_behind(str(scratch), str(path))
    assert noted(str(scratch)) == str(path)
    assert noted(str(tmp_path)) == ""
    first.close()
    first.close()
    remove_if_left(str(path))
    sweep(str(tmp_path / "shared-*"))
    assert path.is_dir()
    second.close()
    assert not path.exists()


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "shared-1"
    program = (
        "import os, signal, sys; from daskbatch.worker.shared_folder import SharedFolder;"
        "SharedFolder(sys.argv[1]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert path.is_dir()
    sweep(str(tmp_path / "shared-*"))
    assert not path.exists()


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    """Its name can be guessed, and scratch folders are open to all."""
    path = tmp_path / "shared-1"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(PermissionError, match="this user alone"):
        SharedFolder(str(path))
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="this user alone"):
        SharedFolder(str(path))


def test_half_of_a_folder_is_swept_too(tmp_path: Path) -> None:
    (tmp_path / "shared-1").mkdir()  # killed before there was a lock
    (tmp_path / "shared-2.left-1" / "deep").mkdir(parents=True)  # killed while it was removed
    sweep(str(tmp_path / "shared-*"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kept_by", ["a disk that is full", "a filesystem that runs nothing"])
def test_a_source_directory_that_scratch_will_not_have_is_read_in_its_place(
    kept_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "score.py").touch()
    setup = {"arguments": [], "source_directory": str(source), "script": str(source / "score.py")}
    launch = Launch(sys.executable, "", setup, {}, "", "", "", {}, None)
    files = ScriptFiles("run", [], Fetched(str(source), "folder"))
    copied = files.filled(launch).setup
    assert Path(copied["script"]).is_file()
    assert copied["script"] == f"{copied['source_directory']}/score.py"
    assert not copied["script"].startswith(str(source))
    files.close()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files = ScriptFiles("run", [], Fetched(str(source), "folder"))
    if kept_by == "a disk that is full":
        monkeypatch.setattr(shutil, "copytree", full)
    else:
        monkeypatch.setattr(os, "ST_NOEXEC", os.statvfs(tmp_path).f_flag or 1, raising=False)
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    read = files.filled(launch).setup
    assert (read["source_directory"], read["script"]) == (str(source), str(source / "score.py"))
    assert not list(Path(files.folder).glob("*.part"))
    files.close()


@pytest.mark.parametrize("name", ["back\\slash.txt", os.fsdecode(b"latin-\xe9.txt")], ids=["backslash", "no UTF-8"])
def test_a_name_that_no_archive_holds_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(EntryScriptError, match=r"cannot be put into an archive .* Next: rename it"):
        archived(tmp_path)
