from __future__ import annotations

import os
from pathlib import Path

import pytest

from daskbatch.options import make_spec, named_paths
from daskbatch.options.named_paths import changed_paths, kept_paths
from daskbatch.spec import RunSpec


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a script, an input, a file and a folder that arguments may name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    for name in ("data/a", "lab/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    (tmp_path / "labels.txt").write_text("1")
    return tmp_path


def spec(*arguments: object) -> RunSpec:
    return make_spec(entry="score.py", inputs="data", output="out", arguments=arguments)


def state(path: Path) -> int:
    """When something was last changed there: what comes later has another moment than this."""
    moment = (path.stat()).st_ctime_ns
    while path.stat().st_ctime_ns == moment:
        os.utime(path)
    return path.stat().st_ctime_ns


def test_what_counts(folder: Path) -> None:
    made = spec(
        "--labels", "labels.txt", f"--lab={folder / 'lab'}", "gone", 5, "", "data", "data/a", "out", "/dev/null"
    )
    (folder / "out").mkdir()
    assert set(named_paths.named_paths(made)) == {str(folder / "labels.txt"), str(folder / "lab")}


def test_the_output_and_workspaces_in_a_folder_do_not_count(folder: Path) -> None:
    made = spec(folder)
    for name in ("out/predictions.csv", "workspace/x", "lab/__pycache__/x", "lab/.daskbatch/ledger-1.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
    (folder / "config.json").touch()
    before = named_paths.named_paths(made)
    ended = state(folder / "labels.txt")
    before = named_paths.named_paths(made)
    for name in ("out/predictions.csv", "workspace/x", "lab/__pycache__/x", "lab/.daskbatch/ledger-1.jsonl"):
        (folder / name).touch()
    assert changed_paths(before, made, ended, reuse=True) == []
    (folder / "lab" / "y").touch()
    assert changed_paths(before, made, ended, reuse=True) == [str(folder)]


def test_what_the_run_writes_itself(folder: Path) -> None:
    made = spec("labels.txt", "lab")
    state(folder / "labels.txt")
    before = named_paths.named_paths(made)
    # New files are its own, for one that is complete too
    (folder / "lab" / "cache").write_text("1")
    ended = state(folder / "score.py")
    for reuse in (False, True):
        assert changed_paths(before, made, ended, reuse=reuse) == []
    assert kept_paths(before, made) == before
    # What was there may be a log; but then nobody knows which content the results are of
    (folder / "labels.txt").write_text("12")
    ended = state(folder / "score.py")
    assert changed_paths(before, made, ended, reuse=False) == []
    assert changed_paths(before, made, ended, reuse=True) == [str(folder / "labels.txt")]
    kept = kept_paths(before, made)
    assert [digest is None for digest, _ in kept.values()] == [True, False]
    (folder / "labels.txt").write_text("1")
    assert changed_paths(kept, made, ended, reuse=True) == [str(folder / "labels.txt")]


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("change", ["labels.txt", "lab/x", "lab/new", "less"])
def test_what_somebody_else_changes_later(folder: Path, change: str, reuse: bool) -> None:
    made = spec("labels.txt", "lab")
    before = named_paths.named_paths(made)
    ended = state(folder / "score.py")
    state(folder / "score.py")
    if change == "less":
        (folder / "lab" / "x").unlink()
    else:
        (folder / change).write_text("12")
    assert changed_paths(before, made, ended, reuse=reuse) == [
        str(folder / ("labels.txt" if change == "labels.txt" else "lab"))
    ]


def test_a_file_that_is_gone(folder: Path) -> None:
    made = spec("labels.txt")
    before = named_paths.named_paths(made)
    (folder / "labels.txt").unlink()
    assert changed_paths(before, made, 0, reuse=True) == [str(folder / "labels.txt")]


def test_a_folder_of_too_many_files_does_not_hold_a_run_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_paths, "_FILES", 3)
    seen: list[str] = []
    real = named_paths._stat
    monkeypatch.setattr(named_paths, "_stat", lambda path: seen.append(path) or real(path))
    for number in range(50):
        (folder / "lab" / f"{number:02}").touch()
    named_paths.named_paths(spec("lab"))
    assert len(seen) == 4
