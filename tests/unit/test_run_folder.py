"""How a pipeline's run is, by its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daskbatch.api.documents import write_document
from daskbatch.api.run_folder import PipelineFolder, read_state
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
    made.write_state(STATE)
    return made


@pytest.fixture
def gone() -> dict[str, Any]:
    """What tells a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        return this_process(child.pid)


def launched(folder: PipelineFolder, owner: dict[str, Any], after: int = 0) -> None:
    write_document(folder.launched, {"owner": owner, "after": after}, overwrite=True)


def claimed(folder: PipelineFolder, number: int, owner: dict[str, Any], **more: Any) -> None:
    write_document(folder.coordinator(number), {**owner, "beat": 1, **more}, overwrite=False)


def test_there_is_no_run(tmp_path: Path) -> None:
    for read in (read_state, PipelineFolder.read):
        with pytest.raises(UsageError, match="There is no run in"):
            read(PipelineFolder(tmp_path))


def test_a_coordinator_that_lives(folder: PipelineFolder) -> None:
    assert read_state(folder) == STATE  # nobody has been launched yet
    launched(folder, this_process())
    assert read_state(folder) == STATE
    claimed(folder, 1, this_process())
    assert read_state(folder) == STATE


@pytest.mark.parametrize("claims", [0, 1])
def test_a_coordinator_that_was_killed(folder: PipelineFolder, gone: dict[str, Any], claims: int) -> None:
    launched(folder, gone)
    for number in range(claims):
        claimed(folder, number + 1, gone)
    state = read_state(folder)
    assert (state["status"], state["lost"]) == ("Failed", True)
    assert {name: step["status"] for name, step in state["steps"].items()} == {"one": "Completed", "two": "Failed"}
    # Another one has been started for it, and then takes it up
    launched(folder, this_process(), claims)
    assert read_state(folder) == STATE
    claimed(folder, claims + 1, this_process())
    assert read_state(folder) == STATE


def test_a_coordinator_that_ended_without_a_word(folder: PipelineFolder) -> None:
    launched(folder, this_process())
    claimed(folder, 1, this_process(), over=True)
    assert read_state(folder)["lost"]


def test_what_has_ended_needs_nobody(folder: PipelineFolder, gone: dict[str, Any]) -> None:
    launched(folder, gone)
    ended = {**STATE, "status": "Completed"}
    folder.write_state(ended)
    assert read_state(folder) == ended


def test_asking_for_an_end_follows_no_link(folder: PipelineFolder, tmp_path: Path) -> None:
    folder.ask_to_cancel()
    folder.ask_to_cancel()
    assert folder.cancel.exists()
    folder.cancel.unlink()
    os.symlink(tmp_path / "elsewhere", folder.cancel)
    with pytest.raises(OSError, match="symbolic"):
        folder.ask_to_cancel()
