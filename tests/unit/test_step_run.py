"""What a step's run tells while it is resumed: not the counts of the attempt before."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import daskbatch
from daskbatch.api.run_folder import COMPLETED, FAILED, NOT_STARTED, RUNNING, PipelineFolder, now
from daskbatch.api.step_run import StepRun
from daskbatch.engine.begin import last_life
from daskbatch.engine.epoch import Epoch
from daskbatch.engine.folder import RunFolder
from daskbatch.events import Progress


class Parent:
    """As much of a pipeline's run as a step asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = "run"


def bad(mini_batch: list[str]) -> list[str]:
    if mini_batch[0].endswith("1"):
        raise ValueError("bad weather")
    return mini_batch


@pytest.fixture
def step(tmp_path: Path) -> StepRun:
    """A step that has failed in its second mini-batch of three."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / str(number)).touch()
    folder = PipelineFolder(tmp_path / "run")
    options: dict[str, Any] = {"compute": "serial", "mini_batch_size": 1, "error_threshold": 0, "run_max_try": 1}
    with pytest.raises(daskbatch.RunFailed, match="bad weather"):
        daskbatch.run(bad, tmp_path / "in", output=folder.step("one"), progress=False, **options)
    return StepRun(Parent(folder.path), "one", "run-one", "local")  # type: ignore[arg-type]


@pytest.fixture
def resumed(step: StepRun) -> Iterator[Epoch]:
    """An engine that goes on with it."""
    folder = RunFolder(PipelineFolder(step.parent.folder).step("one"))
    last = last_life(folder)
    assert last.found is not None
    epoch = Epoch(folder, last.number + 1, last.found.run_id, last.found.accepted)
    yield epoch
    epoch.close(None)


def tell(step: StepRun, status: str, number: int = 1, **more: Any) -> None:
    """Have the coordinator say how the step is."""
    one: Mapping[str, Any] = {"status": status, "started": now(), "reused": False, "folder": None, **more}
    PipelineFolder(step.parent.folder).write_state(number, {"status": RUNNING, "steps": {"one": one}})


def test_counts_of_a_resumed_step_are_those_of_now(step: StepRun, resumed: Epoch) -> None:
    tell(step, RUNNING)
    assert step.get_metrics() == {}  # it has counted nothing yet
    resumed.show(Progress(time.time(), 1.5, 3, True, 2, 0, 2, 0, 1, 1, None))
    end = time.monotonic() + 30
    while not (found := step.get_metrics()):
        assert time.monotonic() < end, "it never told"
        time.sleep(0.05)
    assert (found["mini_batches_succeeded"], found["mini_batches_failed"], found["tries"]) == (2, 0, 3)


def test_counts_before_and_after_the_engine_are_its_own(step: StepRun) -> None:
    summary = PipelineFolder(step.parent.folder).step("one") / "run_summary.json"
    for status in (COMPLETED, FAILED, NOT_STARTED):
        tell(step, status)
        assert step.get_metrics("mini_batches_failed") == {"mini_batches_failed": 1}
    # The coordinator has taken the step up again, and no engine has begun
    os.utime(summary, (time.time() - 100, time.time() - 100))
    tell(step, RUNNING)
    assert step.get_metrics() == {}
    # The engine of this attempt has ended, and its result is being put where it belongs
    os.utime(summary)
    assert step.get_metrics("mini_batches_failed") == {"mini_batches_failed": 1}
    summary.unlink()
    assert step.get_metrics() == {}
