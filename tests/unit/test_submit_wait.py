"""The wait for a run of which one status after the other is told, as is how its coordinator's job is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daskbatch.api import submit_wait as module
from daskbatch.api.submit_run import Submitted
from daskbatch.api.submit_wait import wait_for_end
from daskbatch.engine.status import RunStatus
from daskbatch.errors import RunFailed, UsageError
from daskbatch.queues.states import JobState

URL = "s3://bucket/out"
PENDING, RUNNING, GONE = JobState("pending"), JobState("running"), JobState("ended")


def at(state: str, epoch: int = 1, **more: Any) -> RunStatus:
    given = {"owner": None, "phase": None, "seconds": None, "progress": None, "committed": 0, "total": None}
    return RunStatus(output=URL, run_id="id", state=state, epoch=epoch, **{**given, "summary": None, **more})


Look = tuple[RunStatus | None, JobState | None]
Waited = Callable[[Sequence[Look]], tuple[str, list[str], int]]


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Waited:
    """Waits while it is told what each look sees, and at last for ever: the state, what was said, and how many."""

    def wait(looks: Sequence[Look]) -> tuple[str, list[str], int]:
        seen = [0]

        def sleep(seconds: float) -> None:
            seen[0] += seconds / module.STATUS_EVERY

        def now() -> Look:
            return looks[min(int(seen[0] + 0.001), len(looks) - 1)]

        def status(output: str) -> RunStatus:
            found = now()[0]
            if found is None:
                raise UsageError("There is no run")
            return found

        monkeypatch.setattr(module, "status", status)
        monkeypatch.setattr(module, "state_of", lambda submission: now()[1])
        monkeypatch.setattr(module, "read_submission", lambda place: None if now()[0] is None else "submission")
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))
        said: list[str] = []
        ended = wait_for_end(Submitted("id", URL, "job 1 of slurm", Path("log")), said.append)
        return ended.state, said, round(seen[0]) + 1

    return wait


BEGINS = [(at("Submitted", 0), PENDING), (at("Running"), RUNNING)]


@pytest.mark.parametrize("state", ["Completed", "Failed", "Canceled"])
def test_an_end_is_taken_when_the_job_is_gone(waited: Waited, state: str) -> None:
    assert waited([*BEGINS, (at(state), RUNNING), (at(state), GONE)])[::2] == (state, 4)


@pytest.mark.parametrize("job", [RUNNING, None])
def test_an_end_is_taken_after_some_looks_where_the_queue_tells_no_end(waited: Waited, job: JobState | None) -> None:
    assert waited([*BEGINS, (at("Completed"), job)])[::2] == ("Completed", 6)


def test_one_that_is_lost_may_be_put_back_into_its_queue(waited: Waited) -> None:
    lost = (at("Lost"), GONE)
    assert waited([*BEGINS, lost, lost, lost, (at("Submitted"), PENDING), *[lost] * 3, (at("Completed", 2), GONE)])[
        ::2
    ] == ("Completed", 10)
    assert waited([*BEGINS, lost])[::2] == ("Lost", 6)


@pytest.mark.parametrize("job", [PENDING, RUNNING])
def test_an_end_from_before_is_none_while_the_job_is_there(waited: Waited, job: JobState) -> None:
    before = (at("Failed", 3), job)
    assert waited([before] * 9 + [(at("Running", 4), RUNNING), (at("Completed", 4), GONE)])[::2] == ("Completed", 11)
    assert waited([before] * 9 + [(at("Failed", 3), GONE)])[::2] == ("Failed", 10)


def test_a_result_from_before_is_taken_only_where_the_job_says_so(waited: Waited) -> None:
    before = (at("Completed", 3), RUNNING)
    assert waited([before, (at("Completed", 3), JobState("ended", "COMPLETED"))])[0] == "Completed"
    with pytest.raises(RunFailed, match="job 1 of slurm has ended, and has begun nothing"):
        waited([before, (at("Completed", 3), JobState("ended", "FAILED"))])


def test_one_that_leaves_nothing_has_begun_nothing(waited: Waited) -> None:
    with pytest.raises(RunFailed, match="has begun nothing"):
        waited([(at("Submitted", 0), PENDING), (None, RUNNING), (None, GONE)])


def test_a_store_that_refuses_is_an_error(waited: Waited, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunFailed):
        waited([(None, GONE)])
    monkeypatch.setattr(module, "read_submission", lambda place: "submission")
    with pytest.raises(UsageError):
        wait_for_end(Submitted("id", URL, "job 1 of slurm", Path("log")), print)


def test_how_it_is_is_said_when_more_than_the_time_has_changed(waited: Waited) -> None:
    progress = {
        "mini_batches_done": 1, "mini_batches_total": 9, "total_is_exact": True, "mini_batches_failed": 0,
        "items_failed": 0, "remaining": 8.0,
    }  # fmt: skip
    more = {**progress, "mini_batches_done": 2}
    looks = [
        *BEGINS,
        (at("Running", phase="run", seconds=5.0, progress=progress), RUNNING),
        (at("Running", phase="run", seconds=10.0, progress={**progress, "remaining": 3.0}), RUNNING),
        (at("Running", phase="run", seconds=15.0, progress=more), RUNNING),
        (at("Completed"), GONE),
    ]
    said = waited(looks)[1]
    assert [text.split(":")[0] for text in said] == ["Submitted", "Running", "Running", "Running", "Completed"]
    assert "2 of 9 mini-batches done" in said[3]
