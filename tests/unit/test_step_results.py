from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from daskbatch import DataPath, Workspace
from daskbatch.api.run import Run
from daskbatch.api.step_results import is_published, publish, recall, remember

Known = tuple[dict[str, Any], DataPath, Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "scores.csv").write_text("a\n")
    return Run(tmp_path / "engine", {"status": "Completed", "output": {"name": "scores.csv"}})


@pytest.mark.parametrize("shares_blocks", [True, False])
def test_who_edits_the_published_result_edits_a_copy(
    run: Run, tmp_path: Path, shares_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ioctl(new: int, request: int, old: int) -> None:
        if not shares_blocks:
            raise OSError(errno.EOPNOTSUPP, "not on this filesystem")
        os.write(new, os.read(old, 1000))

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    target = tmp_path / "datastore"
    target.mkdir()
    (target / "scores.csv").write_text("of an earlier run\n")
    publish(run, target)
    result = target / "scores.csv"
    assert result.read_text() == "a\n"
    assert run.output_file is not None
    assert result.stat().st_mtime_ns == run.output_file.stat().st_mtime_ns
    with result.open("a") as file:
        file.write("b\n")
    assert run.output_file.read_text() == "a\n"
    assert os.listdir(target) == ["scores.csv"]


@pytest.fixture
def known(tmp_path: Path) -> Known:
    """What is remembered of a step, and where its output is."""
    ws = Workspace.create("w", tmp_path / "ws")
    place = ws.get_default_datastore().path("scores")
    target = Path(place.local_path())
    (target / "more").mkdir(parents=True)
    for name in ("scores.csv", "more/notes.txt"):
        (target / name).write_text("1")
    remember("key", ws.folder / "experiments", place, "run-1", ws)
    found = recall("key", ws)
    assert found is not None
    return found, place, target


@pytest.mark.parametrize("name", ["scores.csv", "more/notes.txt"])
@pytest.mark.parametrize("change", ["gone", "edited", "touched"])
def test_all_that_was_published_must_be_as_it_was(known: Known, name: str, change: str) -> None:
    word, place, target = known
    assert is_published(word, place)
    path = target / name
    if change == "gone":
        path.unlink()
    elif change == "edited":
        path.write_text("12")
    else:
        os.utime(path, ns=(1, 1))
    assert not is_published(word, place)


def test_what_is_put_beside_it_does_not_matter(known: Known) -> None:
    word, place, target = known
    (target / "README").touch()
    assert is_published(word, place)


def test_a_word_of_an_earlier_release_does_not_serve(known: Known) -> None:
    word, place, _ = known
    assert not is_published({name: value for name, value in word.items() if name != "files"}, place)
