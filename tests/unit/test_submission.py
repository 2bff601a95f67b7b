"""What is known of a run's coordinator."""

from __future__ import annotations

import os

import pytest

from daskbatch.engine.submission import LOCAL, Submission, state_of


@pytest.mark.parametrize("queue", [LOCAL, "slurm"])
def test_one_that_is_about_to_be_begun_has_no_state(queue: str) -> None:
    assert state_of(Submission("run", queue, "", "", {})) is None


def test_a_process_is_there_or_has_ended() -> None:
    here = state_of(Submission("run", LOCAL, str(os.getpid()), "", {}))
    assert here is not None
    assert here.state == "running"
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    ended = state_of(Submission("run", LOCAL, str(gone), "", {}))
    assert ended is not None
    assert ended.state == "ended"
