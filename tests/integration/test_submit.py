"""``daskbatch submit --wait`` of a script: it shows the run, and ends as the run does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from gated import HOLD, Gated
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch.api import submit_run
from daskbatch.engine.submission import read_submission, write_submission

# As in a terminal: what a shell starts by & ignores Ctrl-C, and so would all that this test starts from there.
TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
INIT_FAILS = """
import os

def init():
    if not os.path.exists("mended"):
        raise ValueError("no model")

def run(mini_batch):
    return mini_batch
"""


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[Gated]:
    """A run that may halt in its middle; all its mini-batches succeed."""
    made = Gated(tmp_path / "run", bad="")
    yield made
    made.close()


def submission(gated: Gated, hold: int = 10_000) -> list[str]:
    """Arguments of the command."""
    return ["submit", "--wait", *gated.options(hold)]


def coordinator(gated: Gated, process: subprocess.Popen[str]) -> psutil.Process:
    """The process that does the run, once that is halted."""
    gated.halted(process)
    owner = daskbatch.status(gated.out).owner
    assert owner is not None
    return psutil.Process(int(owner.split()[1]))


def test_a_run_that_completes(gated: Gated) -> None:
    ended = gated.command(*submission(gated))
    assert ended.returncode == 0, ended.stderr
    run_id, *said = ended.stdout.splitlines()
    assert gated.summary()["run_id"] == run_id
    assert any(line.startswith("Completed in ") for line in said), said
    assert ended.stderr.startswith("It runs by itself, as process ")
    assert "daskbatch status out; daskbatch logs -f out" in ended.stderr
    # Once more: its result is taken
    again = gated.command(*submission(gated))
    assert again.returncode == 0, again.stderr
    assert "Reused: this run is completed already" in again.stdout
    # Once more, with another input: that is refused, and its end is not taken for this one's
    (gated.inputs / "f99.bin").write_bytes(b"x")
    other = gated.command(*submission(gated))
    assert other.returncode == 1
    assert "holds a completed run that is not this one" in other.stdout
    assert "has ended, and has begun nothing" in other.stderr


def test_a_run_that_fails_and_then_does_not(gated: Gated) -> None:
    (gated.folder / "score.py").write_text(INIT_FAILS)
    command = ["submit", "score.py", "in", "--output", "out", "--wait"]
    ended = gated.command(*command)
    assert ended.returncode == 1
    assert "ValueError: no model" in ended.stdout
    assert f"daskbatch: error: Failed: run {ended.stdout.split()[0]} in {gated.out}" in ended.stderr
    assert f"Next: daskbatch resume {gated.out}" in ended.stderr
    assert "Traceback" not in ended.stderr
    # What it came to is not taken for the end of the next submission
    (gated.folder / "mended").touch()
    again = gated.command(*command)
    assert again.returncode == 0, again.stderr
    assert gated.summary()["status"] == "Completed"


def test_a_run_that_is_canceled(gated: Gated) -> None:
    process = gated.start(*submission(gated, HOLD))
    gated.halted(process)
    assert gated.command("cancel", "out").returncode == 0
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "daskbatch: error: Canceled: run " in told


def test_what_is_asked_of_a_run_that_goes_on_counts(gated: Gated) -> None:
    # Given a run that was canceled in its middle
    process = gated.start(*submission(gated, HOLD))
    gated.halted(process)
    gated.command("cancel", "out")
    process.communicate(timeout=PATIENCE)
    gated.go()
    # When it is submitted again with other options, which it may go on with
    options = gated.options()
    options[options.index("--run-max-try") + 1] = "5"
    again = gated.command("submit", "--wait", *options)
    # Then they count
    assert again.returncode == 0, again.stdout + again.stderr
    assert gated.summary()["options"]["run_max_try"] == 5
    assert gated.summary()["epoch"] == 2
    # When one is given that makes it another run, then that is said
    options[options.index("--mini-batch-size") + 1] = "3"
    other = gated.command("submit", "--wait", *options)
    assert other.returncode == 1
    assert "mini_batch_size" in other.stdout


def test_a_run_that_is_lost(gated: Gated, descendants: Callable[[], list[psutil.Process]]) -> None:
    process = gated.start(*submission(gated, HOLD))
    coordinator(gated, process).kill()
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "daskbatch: error: Lost: run " in told
    assert f"Next: daskbatch resume {gated.out}" in told
    wait_for(lambda: descendants() == [], "the end of what it had started")


def test_a_run_that_does_not_begin(gated: Gated) -> None:
    ended = gated.command("submit", "--wait", *(word.replace("/run/in", "/run/no") for word in gated.options()))
    assert ended.returncode == 1
    assert "/run/no does not exist" in ended.stdout
    assert f"has ended, and has begun nothing. What it said is in {gated.out}/logs/coordinator.txt" in ended.stderr


def test_a_note_of_another_time_refuses_nothing(gated: Gated) -> None:
    # Given a run that is complete, and whose coordinator's number is another process's by now
    assert gated.command(*submission(gated)).returncode == 0
    before = read_submission(str(gated.out))
    assert before is not None
    assert before.owner is not None
    write_submission(str(gated.out), replace(before, job=str(os.getpid()), owner={**before.owner, "pid": os.getpid()}))
    # When it is submitted again, then its result is taken
    assert gated.command(*submission(gated)).returncode == 0


def test_a_refused_submission_leaves_the_note_of_the_one_before(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run that has failed, and a queue that takes no job
    (gated.folder / "score.py").write_text(INIT_FAILS)
    monkeypatch.chdir(gated.folder)
    assert gated.command("submit", "score.py", "in", "--output", "out", "--wait").returncode == 1
    before = read_submission(str(gated.out))

    def refuse(*_: object) -> None:
        raise daskbatch.UsageError("the queue is down")

    monkeypatch.setattr(submit_run, "_begin", refuse)
    # When it is submitted again, then what is known of it is known still
    with pytest.raises(daskbatch.UsageError, match="the queue is down"):
        daskbatch.submit("score.py", "in", output="out")
    assert before is not None
    assert read_submission(str(gated.out)) == before


def test_ctrl_c_ends_the_waiting_alone(gated: Gated) -> None:
    process = gated.start(*submission(gated, HOLD), prelude=TERMINAL)
    worker = coordinator(gated, process)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert told.splitlines()[1:] == [
        "The waiting has ended, and the run goes on: daskbatch status out; daskbatch logs -f out"
    ]
    gated.go()
    wait_for(lambda: daskbatch.status(gated.out).state == "Completed", "the run's end")
    wait_for(lambda: not worker.is_running(), "the coordinator's end")
