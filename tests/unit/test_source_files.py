"""Which files of a source directory count."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from daskbatch.engine.folder import RunFolder
from daskbatch.errors import EntryScriptError
from daskbatch.options import source_files as module
from daskbatch.options.source import source_digest
from daskbatch.options.source_files import source_files


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def counted(root: Path, **options: str) -> list[str]:
    return [file.relative for file in source_files(str(root), **options)]


def test_gitignore_counts_with_those_below_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": "*.log\n/data/\n",
            "score.py": "",
            "a.log": "",
            "data/x.csv": "",
            "part/data/y.csv": "",
            "part/.gitignore": "!keep.log\ntmp/\n",
            "part/keep.log": "",
            "part/other.log": "",
            "part/tmp/z": "",
            "tmp/z": "",
        },
    )
    assert counted(tmp_path) == [
        ".gitignore", "part/.gitignore", "part/data/y.csv", "part/keep.log", "score.py", "tmp/z",
    ]  # fmt: skip


def test_amlignore_stands_alone(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".amlignore": "secret/\n",
            ".gitignore": "*.pkl\n",
            "model.pkl": "",
            "part/.gitignore": "*\n",
            "part/.amlignore": "*\n",
            "part/kept.py": "",
            "secret/key": "",
        },
    )
    assert counted(tmp_path) == [
        ".amlignore", ".gitignore", "model.pkl", "part/.amlignore", "part/.gitignore", "part/kept.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "patterns",
    [
        "build/**\n!build/keep.py\n",
        "build/*\n!build/keep.py\n",
        "build/\n!build/keep.py\n",
        "build\n",
        "/keep.py\n",
        "**/deep/*.py\n",
        "a/**/keep.py\n",
        "*\n!*/\n!*.py\n",
        "*\n!a/\n!a/deep\n!*.txt\n",
        "/*\n!/a\n/a/*\n!/a/deep/\n",
        "a/**\n!a/deep/\n",
        "*.py\n!keep.py\n\n# comment\n\\#odd\n",
        "a b\\ \n[ab].txt\n",
        "a/deep\n!a/deep/keep.py\n",
    ],
)
def test_the_patterns_mean_what_they_mean_to_git(tmp_path: Path, patterns: str) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git on PATH")
    names = ["keep.py", "#odd", "a.txt", "b.txt", "a b ", "a/keep.py", "a/deep/keep.py", "a/deep/other.txt"]
    names += ["build/keep.py", "build/lib/keep.py", "build/x.so", "a/build/keep.py"]
    write(tmp_path, dict.fromkeys(names, "") | {".gitignore": patterns})
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    command = ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"]
    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    assert sorted(counted(tmp_path)) == sorted(filter(None, seen))


def test_environments_outputs_and_the_workspace_are_no_source(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "score.py": "",
            "config.json": "{}",
            "env/pyvenv.cfg": "",
            "env/lib/big.so": "",
            "conda/conda-meta/history": "",
            ".git/HEAD": "",
            "part/__pycache__/x.pyc": "",
            "earlier/.daskbatch/run.json": "",
            "earlier/predictions.csv": "",
            "workspace/models/m/1/files/w": "",
            "tutorial.ipynb": "{}",
            "out/half.csv": "",
        },
    )
    assert counted(tmp_path, output=str(tmp_path / "out")) == ["config.json", "score.py"]


def test_the_digest_and_the_copy_see_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "src", {"score.py": "1", ".gitignore": "*.csv\n.gitignore\n", "big.csv": "2"})
    folder = RunFolder(tmp_path / "out")
    folder.create()
    before = source_digest(str(source), folder.output)
    copy = folder.snapshot(str(source))
    assert counted(copy) == counted(source) == ["score.py"]
    assert copy.name == f"source-{before[:16]}"
    write(source, {"big.csv": "3"})
    assert source_digest(str(source), folder.output) == before
    write(source, {".gitignore": ""})
    assert source_digest(str(source), folder.output) != before


def test_too_much_is_refused_with_the_largest_named(tmp_path: Path) -> None:
    write(tmp_path, {"score.py": "", "part/a.bin": "", "part/b.bin": ""})
    for name, size in {"weights.h5": 200, "part/a.bin": 90, "part/b.bin": 60}.items():
        with open(tmp_path / name, "wb") as file:
            file.truncate(size * 10**6)  # a hole: no disk is filled
    with pytest.raises(EntryScriptError) as error:
        source_files(str(tmp_path))
    assert "holds 350 MB in 4 files, allowed are 300 MB" in str(error.value)
    assert "The largest files: weights.h5 (200 MB), part/a.bin (90 MB), part/b.bin (60 MB)." in str(error.value)
    assert "The largest folders: part/ (150 MB)." in str(error.value)
    assert "Next: list what is no code in .amlignore" in str(error.value)
    # When that is done, the rest counts
    write(tmp_path, {".amlignore": "*.h5\n"})
    assert counted(tmp_path) == [".amlignore", "part/a.bin", "part/b.bin", "score.py"]


def test_a_whole_home_is_not_walked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENOUGH_SEEN", 2)
    monkeypatch.setattr(module, "_SOURCE_LIMIT", 3)
    write(tmp_path, dict.fromkeys("abcdef", "xx"))
    with pytest.raises(EntryScriptError, match="holds at least 0 MB in at least 2 files"):
        source_files(str(tmp_path))


def test_an_entry_script_that_is_left_out_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"score.py": "", ".gitignore": "s*.py\n"})
    with pytest.raises(EntryScriptError, match=r"'score.py' is left out.*a line '!/score.py' at the end"):
        source_files(str(tmp_path), script=str(tmp_path / "score.py"))
    write(tmp_path, {".gitignore": "s*.py\n!/score.py\n"})
    assert "score.py" in counted(tmp_path, script=str(tmp_path / "score.py"))
    counted(tmp_path, script=str(tmp_path.parent / "elsewhere.py"))


def test_a_pattern_that_is_none_is_told(tmp_path: Path) -> None:
    write(tmp_path, {".amlignore": "ok\n!\n"})
    with pytest.raises(EntryScriptError, match=r"\.amlignore' holds a pattern"):
        source_files(str(tmp_path))
