"""Files, folders and globs become files, in order, each once."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import InputError
from daskbatch.store.listing import list_files


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(folder: Path, *inputs: str) -> list[str]:
    """Names below `folder`."""
    return [os.fsdecode(path)[len(str(folder)) + 1 :] for path, _ in list_files(tuple(str(folder / i) for i in inputs))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make(tmp_path, "b.csv", "a.csv", "a/z.csv", "a/B.csv", "a/c/d.csv", "a.b/e.csv", ".hidden.csv", ".git/x", "ä.csv")
    return tmp_path


def test_a_folder_is_walked_in_the_byte_order_of_paths(tree: Path) -> None:
    assert listed(tree, "") == ["a.b/e.csv", "a.csv", "a/B.csv", "a/c/d.csv", "a/z.csv", "b.csv", "ä.csv"]


def test_inputs_stay_in_the_order_given_and_the_first_place_wins(tree: Path) -> None:
    assert listed(tree, "b.csv", "a", "b.csv", "*.csv") == [
        "b.csv", "a/B.csv", "a/c/d.csv", "a/z.csv", "a.csv", "ä.csv",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("?.csv", ["a.csv", "b.csv", "ä.csv"]),
        ("a/*.csv", ["a/B.csv", "a/z.csv"]),
        ("a/*", ["a/B.csv", "a/c/d.csv", "a/z.csv"]),
        ("**/[a-e].csv", ["a.b/e.csv", "a.csv", "a/c/d.csv", "b.csv"]),
        ("a/**", ["a/B.csv", "a/c/d.csv", "a/z.csv"]),
        ("**/c/**/*.csv", ["a/c/d.csv"]),
        ("a*/?.csv", ["a.b/e.csv", "a/B.csv", "a/z.csv"]),
        (".hid*", [".hidden.csv"]),
    ],
)
def test_globs(tree: Path, pattern: str, expected: list[str]) -> None:
    assert listed(tree, pattern) == expected


@given(pattern=st.lists(st.sampled_from(["**", "*", "a", "?", "c", "*.csv", "[a-b]*"]), min_size=1, max_size=4))
def test_a_glob_matches_the_files_that_glob_does(tmp_path_factory: pytest.TempPathFactory, pattern: list[str]) -> None:
    # Given a small tree
    folder = tmp_path_factory.getbasetemp() / "glob-tree"
    if not folder.exists():
        make(folder, "a/a/c.csv", "a/c/a/b.csv", "c/c/c", "b.csv", "abc/a.csv")
    text = "/".join(pattern)
    # When Python matches the pattern, and all that lies below the folders that it matches
    names = glob.glob(text, root_dir=folder, recursive=True)
    # Python takes "c/**" for the file c too, with a slash behind it.
    matched = [folder / name for name in names if not (name.endswith("/") and (folder / name).is_file())]
    files = {f for p in matched for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file()}
    # Then so does the listing, each once and in byte order
    try:
        found = [path for path, _ in list_files((f"{folder}/{text}",))]
    except InputError:
        found = []
    assert found == sorted(os.fsencode(path) for path in files)


def test_a_name_with_glob_characters_that_exists_is_no_glob(tmp_path: Path) -> None:
    make(tmp_path, "a[1].csv", "a1.csv")
    assert listed(tmp_path, "a[1].csv") == ["a[1].csv"]


def test_names_that_are_no_text_keep_their_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.csv"
    try:
        Path(os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    assert [path for path, _ in list_files((str(tmp_path),))] == [name]


def test_names_with_an_underscore_are_marked_in_walks_alone(tmp_path: Path) -> None:
    make(tmp_path, "_SUCCESS", "_tmp/a.csv", "b.csv")
    assert [mark for _, mark in list_files((str(tmp_path),))] == [True, True, False]
    assert [mark for _, mark in list_files((str(tmp_path / "_*"),))] == [False, False]
    assert [mark for _, mark in list_files((str(tmp_path / "_SUCCESS"),))] == [False]


def test_a_link_to_a_folder_above_ends_the_walk(tmp_path: Path) -> None:
    make(tmp_path, "a/b.csv")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(tmp_path / "a")
    assert listed(tmp_path, "") == ["a/b.csv", "other/b.csv"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.csv", r"gone\.csv does not exist.*Next"),
        ("gone*.csv", r"gone\*\.csv matches nothing.*Next"),
        ("gone/*.csv", "matches nothing"),
        ("empty", "empty is empty.*Next"),
        ("link", "is a link to nowhere, which does not exist"),
        ("pipe", "is no regular file"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=message):
        list(list_files((str(tmp_path / name),)))
