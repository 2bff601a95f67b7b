"""How a pipeline's run is, by its folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from daskbatch.api import run_folder
from daskbatch.api.documents import write_document
from daskbatch.api.run_folder import LAUNCHED_WITHIN, PipelineFolder, read_state
from daskbatch.engine.owner import this_process
from daskbatch.errors import UsageError

STATE: dict[str, Any] = {
    "status": "Running",
    "error": None,
    "steps": {"one": {"status": "Completed", "error": None}, "two": {"status": "Running", "error": None}},
}


@pytest.fixture
def folder(tmp_path: Path) -> PipelineFolder:
    made = PipelineFolder(tmp_path)
    made.claim(1, STATE)
    return made


@pytest.fixture
def gone() -> dict[str, Any]:
    """What tells a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        return this_process(child.pid)


def beats(folder: PipelineFolder, number: int, owner: dict[str, Any], beat: int = 1, **more: Any) -> None:
    write_document(folder.coordinator(number), {**owner, "beat": beat, **more}, overwrite=True)


def make_older(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_there_is_no_run(tmp_path: Path) -> None:
    for read in (read_state, PipelineFolder.read):
        with pytest.raises(UsageError, match="There is no run in"):
            read(PipelineFolder(tmp_path))


def test_a_coordinator_that_lives(folder: PipelineFolder) -> None:
    assert read_state(folder) == STATE  # it has only been claimed
    for beat in (0, 1):
        beats(folder, 1, this_process(), beat)
        assert read_state(folder) == STATE


@pytest.mark.parametrize("beat", [0, 1])
def test_a_coordinator_that_was_killed(folder: PipelineFolder, gone: dict[str, Any], beat: int) -> None:
    beats(folder, 1, gone, beat)
    state = read_state(folder)
    assert (state["status"], state["lost"]) == ("Failed", True)
    assert {name: step["status"] for name, step in state["steps"].items()} == {"one": "Completed", "two": "Failed"}
    # Another one has been started for it, and then takes it up
    folder.claim(2, STATE)
    assert read_state(folder) == STATE
    for later in (0, 1):
        beats(folder, 2, this_process(), later)
        assert read_state(folder) == STATE


def test_a_run_is_claimed_once_and_what_an_earlier_coordinator_writes_is_not_read(folder: PipelineFolder) -> None:
    beats(folder, 1, this_process())
    folder.claim(2, STATE)
    with pytest.raises(FileExistsError):
        folder.claim(2, {**STATE, "status": "NotStarted"})
    beats(folder, 2, this_process())
    folder.write_state(1, {**STATE, "status": "Failed"})
    assert read_state(folder) == STATE
    folder.ask_to_cancel()
    assert (folder.cancel(1).exists(), folder.cancel(2).exists()) == (False, True)


@pytest.mark.parametrize("launched", [False, True])
def test_a_launch_without_a_sign_of_life_is_lost_after_a_while(folder: PipelineFolder, launched: bool) -> None:
    if launched:
        beats(folder, 1, {**this_process(), "place": "another host"}, 0)
    assert read_state(folder) == STATE
    files = [path for path in (folder.coordinator(1), folder.state(1)) if path.exists()]
    for path in files:
        assert read_state(folder) == STATE
        make_older(path, LAUNCHED_WITHIN + 1)
    assert read_state(folder)["lost"]


def test_a_heartbeat_that_stands_still_is_watched_once(folder: PipelineFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = []

    def watch(path: Path, *_: object) -> bool:
        watched.append(path)
        return True

    monkeypatch.setattr(run_folder, "stands_still", watch)
    elsewhere = {**this_process(), "place": "another host"}
    for beat, times in ((7, 1), (7, 1), (8, 2)):  # the last: it has come back, and stands still again
        beats(folder, 1, elsewhere, beat)
        make_older(folder.coordinator(1), 3600)
        assert read_state(folder)["lost"]
        assert watched == [folder.coordinator(1)] * times
    beats(folder, 1, elsewhere, 9)
    assert read_state(folder) == STATE


def test_a_coordinator_that_ended_without_a_word(folder: PipelineFolder) -> None:
    beats(folder, 1, this_process(), over=True)
    assert read_state(folder)["lost"]


def test_what_has_ended_needs_nobody(folder: PipelineFolder, gone: dict[str, Any]) -> None:
    beats(folder, 1, gone)
    ended = {**STATE, "status": "Completed"}
    folder.write_state(1, ended)
    assert read_state(folder) == ended


def test_asking_for_an_end_follows_no_link(folder: PipelineFolder, tmp_path: Path) -> None:
    folder.ask_to_cancel()
    folder.ask_to_cancel()
    assert folder.cancel(1).exists()
    folder.cancel(1).unlink()
    os.symlink(tmp_path / "elsewhere", folder.cancel(1))
    with pytest.raises(OSError, match="symbolic"):
        folder.ask_to_cancel()
