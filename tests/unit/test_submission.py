"""What is known of a run's coordinator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from daskbatch.engine.owner import this_process
from daskbatch.engine.submission import LOCAL, Submission, read_submission, state_of, write_submission


@pytest.mark.parametrize("queue", [LOCAL, "slurm"])
def test_one_that_is_about_to_be_begun_has_no_state(queue: str) -> None:
    assert state_of(Submission("run", queue, "", "", {})) is None


def local(owner: dict[str, Any] | None) -> Submission:
    return Submission("run", LOCAL, str(os.getpid()), "", {}, owner)


def state(owner: dict[str, Any] | None) -> str | None:
    found = state_of(local(owner))
    return None if found is None else found.state


def test_a_process_is_there_or_has_ended() -> None:
    assert state(this_process()) == "running"
    assert state({**this_process(), "pid": 2**22 + 1}) == "ended"


def test_another_process_of_the_same_number_is_not_taken_for_it() -> None:
    earlier = this_process()
    assert state({**earlier, "started": earlier["started"] - 100}) == "ended"
    assert state({**earlier, "place": "elsewhere 1 pid:[1] 1"}) is None
    assert state(None) is None


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = local(this_process())
    write_submission(str(tmp_path), made)
    assert read_submission(str(tmp_path)) == made
