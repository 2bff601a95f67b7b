from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from daskbatch.api.documents import (
    check_name,
    names,
    next_version,
    read_document,
    versions,
    write_document,
    write_version,
)
from daskbatch.errors import UsageError

GOOD = ["a", "7", "mnist-prs", "Iris_2.v1", "a" * 250]
BAD = ["", ".", "..", ".hidden", "-a", "a/b", "../a", "/etc", "a\\b", "a\n", "a\0", "a b", "ä", "a" * 251, None, 3]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name: str) -> None:
    assert check_name("model_name", name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name: object) -> None:
    with pytest.raises(UsageError, match="model_name must begin with a letter or digit"):
        check_name("model_name", name)


def test_names_of_datasets_may_have_spaces_inside() -> None:
    assert check_name("name", "diabetes dataset", spaces=True) == "diabetes dataset"
    for name in ("a ", " a", "a\tb", "a/ b"):
        with pytest.raises(UsageError, match="or spaces"):
            check_name("name", name, spaces=True)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.json"
    write_document(path, {"ä": [1, None]}, overwrite=False)
    assert read_document(path) == {"ä": [1, None]}
    assert "ä" in path.read_text(encoding="utf-8")
    write_document(path, {"b": 2}, overwrite=True)
    assert read_document(path) == {"b": 2}
    assert os.listdir(path.parent) == ["a.json"]


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_document(path, {"a": 1}, overwrite=False)
    with pytest.raises(FileExistsError):
        write_document(path, {"a": 2}, overwrite=False)
    assert read_document(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_where_there_are_no_hard_links_there_is_still_one_creator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    path = tmp_path / "a.json"
    write_document(path, {"a": 1}, overwrite=False)
    with pytest.raises(FileExistsError):
        write_document(path, {"a": 2}, overwrite=False)
    assert read_document(path) == {"a": 1}


def test_a_file_of_others_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_document(tmp_path / "a.json", {}, overwrite=False)
    finally:
        os.umask(old)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_in_the_place_of_a_folder(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written.*Choose a workspace in a folder that you may write to"):
        write_document(tmp_path / "folder" / "a.json", {}, overwrite=overwrite)
    with pytest.raises(UsageError, match="cannot be written"):
        next_version(tmp_path / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        write_document(tmp_path / "a.json", {}, overwrite=False)


def test_a_refused_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_document(tmp_path / "a.json", {"a": 1}, overwrite=False)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UsageError, match="No space left"):
        write_document(tmp_path / "a.json", {"a": 2}, overwrite=True)
    assert read_document(tmp_path / "a.json") == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("text", "told"), [("{", "is no JSON"), ("[1]", "must hold a JSON object"), ("\udcff", "JSON")]
)
def test_damaged_documents(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(os.fsencode(text))
    with pytest.raises(UsageError, match=told):
        read_document(path)


def test_a_document_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_document(tmp_path / "a.json") is None
    assert read_document(tmp_path / "file" / "a.json") is None


def test_names_and_versions(tmp_path: Path) -> None:
    assert names(tmp_path / "none") == []
    assert versions(tmp_path / "none") == []
    for name in ("b.json", "a.json", ".tmp.json", "1.json", "10", "02", "x.txt"):
        (tmp_path / name).write_text(json.dumps({}))
    assert names(tmp_path) == ["1", "a", "b"]
    assert names(tmp_path, "") == ["02", "1.json", "10", "a.json", "b.json", "x.txt"]
    assert versions(tmp_path) == [1, 10]


def test_versions_count_on_from_the_highest(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert [next_version(folder), next_version(folder)] == [1, 2]
    (folder / "1").rmdir()
    assert next_version(folder) == 3
    assert [write_version(tmp_path / "data", {"n": n}) for n in range(3)] == [1, 2, 3]
    assert read_document(tmp_path / "data" / "2.json") == {"n": 1}
