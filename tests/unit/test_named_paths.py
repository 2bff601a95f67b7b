from __future__ import annotations

import os
from pathlib import Path

import pytest

from daskbatch.options import make_spec, named_paths
from daskbatch.options.named_paths import changed_files, named_files
from daskbatch.spec import RunSpec


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a script, an input, a file and a folder that arguments may name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    for name in ("data/a", "lab/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    (tmp_path / "labels.txt").write_text("one")
    return tmp_path


def spec(*arguments: object, inputs: str = "data") -> RunSpec:
    return make_spec(entry="score.py", inputs=inputs, output="out", arguments=arguments)


def names(made: RunSpec) -> list[str]:
    return [os.path.relpath(path) for path in named_files(made)]


def test_regular_files_count(folder: Path) -> None:
    (folder / "link").symlink_to("lab/x")
    assert names(spec("--labels", "labels.txt", f"--lab={folder / 'lab' / 'x'}", "link")) == [
        "labels.txt", "lab/x", "link",
    ]  # fmt: skip
    assert names(spec("--labels=labels.txt", "labels.txt")) == ["labels.txt"]


def test_nothing_else_counts(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    assert (
        names(spec(".", "lab", "/tmp", "pipe", "loop", "gone", 5, "", "a" * 5000, "/dev/null", "/proc/version")) == []
    )


def test_what_is_compared_elsewhere_does_not_count(folder: Path) -> None:
    for name in ("out/of_the_script", "lab/.daskbatch/run.json"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    (folder / "link").symlink_to("data")
    arguments = ("data/a", "link/a", "score.py", "out/of_the_script", "lab/.daskbatch/run.json")
    for inputs in ("data", "data/*", "link"):
        assert names(spec(*arguments, inputs=inputs)) == []


def test_not_too_many_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_paths, "_FILES", 3)
    for number in range(5):
        (folder / f"{number}").touch()
    assert names(spec(*range(5))) == ["0", "1", "2"]


def test_the_same(folder: Path) -> None:
    before = named_files(spec("labels.txt"))
    status = (folder / "labels.txt").stat()
    # A copy that is put back
    (folder / "labels.txt").unlink()
    (folder / "labels.txt").write_text("one")
    os.utime(folder / "labels.txt", ns=(0, status.st_mtime_ns))
    assert changed_files(before) == []


def test_a_log_that_grows_is_the_same(folder: Path) -> None:
    for text in ("", "x" * 200_000):
        (folder / "log").write_text(text)
        before = named_files(spec("log"))
        with open("log", "a") as file:
            file.write("more")
        assert changed_files(before) == []


@pytest.mark.parametrize(
    ("text", "what"), [("number two", "its size was 3 bytes, now 10"), ("on", "its size was 3 bytes, now 2")]
)
def test_another_content_is_no_growth(folder: Path, text: str, what: str) -> None:
    before = named_files(spec("labels.txt"))
    (folder / "labels.txt").write_text(text)
    [changed] = changed_files(before)
    assert (changed.path, changed.what) == (str(folder / "labels.txt"), what)
    assert changed.written == (folder / "labels.txt").stat().st_mtime_ns


def test_another_file_is_no_growth(folder: Path) -> None:
    before = named_files(spec("labels.txt"))
    (folder / "new").write_text("one and more")
    (folder / "new").replace("labels.txt")
    assert [one.what for one in changed_files(before)] == ["its size was 3 bytes, now 12"]


def test_written_anew_and_gone(folder: Path) -> None:
    os.utime("labels.txt", ns=(0, 0))
    before = named_files(spec("labels.txt"))
    os.utime("labels.txt", ns=(0, 10**9))
    [changed] = changed_files(before)
    assert changed.written == 10**9
    assert changed.what.startswith("it was last written at 19")
    (folder / "labels.txt").unlink()
    [changed] = changed_files(before)
    assert (changed.written, changed.what) == (0, "it is gone")


def test_what_devices_lead_to_does_not_count(folder: Path) -> None:
    with open("labels.txt") as file:
        assert names(spec(f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}")) == []
