"""Several coordinators for one run of a pipeline, of which one works on it; and a run in a program that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineRun,
    Workspace,
)
from daskbatch.api import run_folder, secret_variables
from daskbatch.engine.heartbeat import read_heartbeat

SCRIPT = """
import os, time

def run(mini_batch):
    open(os.path.join({house!r}, f"called-{{os.getpid()}}"), "w").close()
    while not os.path.exists(os.path.join({house!r}, "gate")):
        time.sleep(0.01)
    if os.path.exists(os.path.join({house!r}, "bad")):
        raise ValueError("bad weather")
    return ["done"] * len(mini_batch)
"""


class House:
    """A workspace, and a step whose script waits for the gate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate, self.bad = folder / "gate", folder / "bad"
        (folder / "score.py").write_text(SCRIPT.format(house=str(folder)))
        (folder / "in").mkdir()
        (folder / "in" / "f").write_text("x")
        self.ws = Workspace.create("house", folder / "ws")
        self.experiment = Experiment(self.ws, "exp")

    def submit(self, script: str | None = None, **options: Any) -> PipelineRun:
        config = ParallelRunConfig(
            environment=Environment("env"), entry_script=script or str(self.folder / "score.py"), error_threshold=0,
            output_action="append_row", compute_target="local", node_count=1, run_max_try=1, **options,
        )  # fmt: skip
        data = Dataset.File.from_files(str(self.folder / "in"))
        step = ParallelRunStep("score", config, inputs=[data], output=PipelineData("out"))
        return self.experiment.submit(Pipeline(self.ws, [step]))

    def calls(self) -> list[Path]:
        """A file for each process that the script was called in."""
        return list(self.folder.glob("called-*"))

    def kept(self, run: PipelineRun) -> str:
        """The result as it lies in the datastore."""
        port = run.find_step_run("score")[0].get_output_data("out")
        (file,) = Path(port.datastore.local_path(port.path_on_datastore)).iterdir()
        return file.read_text()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def stopped() -> Iterator[list[psutil.Process]]:
    """Processes that may be stopped, which go on at the end at the latest."""
    found: list[psutil.Process] = []
    yield found
    for process in found:
        if process.is_running():
            process.resume()


def coordinator(run: PipelineRun, number: int) -> psutil.Process:
    """The process of a coordinator that has given a sign of life."""
    path = run.folder / f"coordinator-{number}.json"
    beat: Any = wait_for(lambda: (found := read_heartbeat(path)) and found["beat"] and found, f"coordinator {number}")
    return psutil.Process(beat["pid"])


def test_a_coordinator_that_stood_still_ends_without_a_word_where_the_run_was_resumed(
    house: House, stopped: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "LOST_AFTER", 0.0)
    monkeypatch.setattr(run_folder, "_FRESH", 0.0)
    run = house.submit()
    wait_for(house.calls, "the call")
    old = coordinator(run, 1)
    stopped.append(old)
    old.suspend()
    assert run.get_status() == "Failed"
    assert run.get_details()["lost"]
    run.resume()
    new = coordinator(run, 2)
    log = run.folder / "coordinator.log"
    wait_for(lambda: "another run may be going on there" in log.read_text(), "the step's second engine")
    old.resume()
    wait_for(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE, "the end of the first")
    wait_for(lambda: len(house.calls()) == 2, "the second one's call")
    assert new.is_running()
    house.gate.touch()
    monkeypatch.undo()
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.kept(run) == "done\n"
    said = log.read_text()
    assert "is Failed" not in said
    assert said.count("The step score is Completed.") == 1
    assert not (run.folder / "coordinator-3.json").exists()


def test_of_two_that_resume_a_run_one_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.gate.touch()
    house.bad.touch()
    run = house.submit()
    assert run.wait_for_completion(timeout_seconds=PATIENCE, raise_on_error=False) == "Failed"
    house.bad.unlink()
    looked, go_on = threading.Event(), threading.Event()
    given_again = secret_variables.given_again

    def slowly(*given: Any) -> Any:
        if threading.current_thread().name == "slow":
            looked.set()
            assert go_on.wait(PATIENCE)
        return given_again(*given)

    monkeypatch.setattr("daskbatch.api.submission.given_again", slowly)
    errors: list[BaseException] = []

    def resume() -> None:
        try:
            run.resume()
        except daskbatch.UsageError as error:
            errors.append(error)

    slow = threading.Thread(target=resume, name="slow")
    slow.start()
    assert looked.wait(PATIENCE)
    run.resume()
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    go_on.set()
    slow.join(PATIENCE)
    assert "was resumed meanwhile" in str(errors[0])
    assert run.get_status() == "Completed"
    assert sorted(path.name for path in run.folder.glob("coordinator-*")) == [
        "coordinator-1.json",
        "coordinator-2.json",
    ]


PROGRAM = """
import signal
import pandas as pd
from daskbatch import *

# As in a terminal: what a shell starts by & ignores Ctrl-C, and so would all that this test starts from there.
signal.signal(signal.SIGINT, signal.default_int_handler)

ws = Workspace.from_config({ws!r})
config = ParallelRunConfig(
    environment=Environment("env"), entry_script={script!r}, error_threshold=0, output_action="append_row",
    compute_target="local", node_count=1, run_max_try=1,
)
frame = Dataset.Tabular.from_pandas_dataframe(pd.DataFrame({{"a": [1, 2]}}))
step = ParallelRunStep("score", config, inputs=[frame], output=PipelineData("out"))
Experiment(ws, "exp").submit(Pipeline(ws, [step]))
"""


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_script_waits_at_its_end_for_a_run_that_is_in_it(house: House, interrupted: bool) -> None:
    program = PROGRAM.format(ws=str(house.ws.root), script=str(house.folder / "score.py"))
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        said = ""
        while "Ctrl-C cancels the run" not in said:
            said += (line := script.stdout.readline())
            assert line, said
        wait_for(house.calls, "the call")
        (run,) = house.experiment.get_runs()
        assert run.get_status() == "Running"
        if interrupted:
            os.kill(script.pid, signal.SIGINT)
        else:
            house.gate.touch()
        said += script.stdout.read()
        assert script.wait(PATIENCE) == 0, said
    told = (run.folder / "coordinator.log").read_text()
    assert run.get_status() == ("Canceled" if interrupted else "Completed"), told


def test_a_run_goes_on_where_its_workspace_has_been_moved(house: House, tmp_path: Path) -> None:
    house.gate.touch()
    house.bad.touch()
    inside = house.ws.root / "code"
    inside.mkdir()
    (house.folder / "score.py").rename(inside / "score.py")
    run = house.submit(script="score.py", source_directory=str(inside))
    assert run.wait_for_completion(timeout_seconds=PATIENCE, raise_on_error=False) == "Failed"
    house.bad.unlink()
    old = house.ws.root
    old.rename(tmp_path / "moved")
    moved = PipelineRun.get(Workspace.from_config(tmp_path / "moved"), run.id)
    moved.resume()
    assert moved.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.kept(moved) == "done\n"
    assert not old.exists()
    assert "done anew" in (moved.folder / "coordinator.log").read_text()


def test_what_there_is_to_do_about_a_step_that_failed(house: House) -> None:
    house.gate.touch()
    house.bad.touch()
    run = house.submit()
    assert run.wait_for_completion(timeout_seconds=PATIENCE, raise_on_error=False) == "Failed"
    advice = f"run.resume(), or: daskbatch runs --resume {run.id}"
    step = run.folder / "steps" / "score"
    for file in (run.folder / "coordinator.log", step / "logs" / "job_result.txt"):
        said = file.read_text()
        assert advice in said
        assert "retry-failed" not in said
        assert "daskbatch resume" not in said
    with pytest.raises(daskbatch.UsageError, match=r"a step of a pipeline's run.*runs --resume ID"):
        daskbatch.retry_failed(step)
    house.bad.unlink()
    # Mended in its place: another script than the one that this run has begun with
    script = house.folder / "score.py"
    before = script.read_text()
    script.write_text(f"{before}\n# mended\n")
    run.resume()
    with pytest.raises(daskbatch.RunFailed, match=r"score.py has changed\n.*submit the pipeline again, as a new run"):
        run.wait_for_completion(timeout_seconds=PATIENCE)
    script.write_text(before)

    def command(*arguments: str) -> str:
        program = [sys.executable, "-m", "daskbatch", *arguments]
        done = subprocess.run(program, cwd=house.ws.root, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout + done.stderr

    assert "Runs of pipelines have ids" in command("cancel", run.id)
    assert "there is nothing to cancel" in command("runs", "--cancel", run.id)
    assert "The run goes on by itself" in command("runs", "--resume", run.id)
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.kept(run) == "done\n"


def test_a_run_is_canceled_by_the_command(house: House) -> None:
    run = house.submit()
    wait_for(house.calls, "the call")
    program = [sys.executable, "-m", "daskbatch", "runs", "--cancel", run.id]
    subprocess.run(program, cwd=house.ws.root, timeout=PATIENCE, check=True)
    with pytest.raises(daskbatch.RunCanceled, match=f"daskbatch runs --resume {run.id}"):
        run.wait_for_completion(timeout_seconds=PATIENCE)
