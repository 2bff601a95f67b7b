"""``daskbatch submit --wait`` with an output on S3, whose logs nobody can follow there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from lives import PATIENCE, wait_for
from s3_server import BOTH, Bucket

import daskbatch

pytest_plugins = ["s3_services"]

# As in a terminal: what a shell starts by & ignores Ctrl-C, and so would all that this test starts from there.
TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from daskbatch.cli import main
main()
"""
SCRIPT = """
    import os, time

    def run(mini_batch):
        while not os.path.exists("go"):
            time.sleep(0.01)
        if os.path.exists("bad"):
            raise ValueError("bad weather")
        return [os.path.basename(path) for path in mini_batch]
"""


class Work:
    """A script that waits for the word to go, its input, and the command."""

    def __init__(self, folder: Path, s3: Bucket) -> None:
        self.folder, self.s3 = folder, s3
        self.go, self.bad = folder / "go", folder / "bad"
        (folder / "score.py").write_text(textwrap.dedent(SCRIPT))
        (folder / "in").mkdir()
        for number in range(4):
            (folder / "in" / f"f{number}").write_text("x")
        self.store = [f"{name}={value}" for name, value in s3.options.items()]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Begin the command."""
        given = [word for text in self.store for word in ("--output-storage-options", text)]
        words = ["submit", "score.py", "in", "--output", f"{self.s3.url}/out", "--wait", *given, *more]
        return subprocess.Popen(
            [sys.executable, "-c", TERMINAL, *words],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def state(self) -> str:
        """Of the run."""
        return daskbatch.status(f"{self.s3.url}/out", self.s3.options).state

    def is_at_work(self, process: subprocess.Popen[str]) -> str:
        """Wait until it is; return its id, the first line that the command has printed."""
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        wait_for(lambda: self.state() == "Running", "the run", process)
        return run_id


@pytest.fixture
def work(tmp_path: Path, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where it keeps what it knows of runs on stores
    return Work(tmp_path, s3)


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_a_run_that_completes(work: Work) -> None:
    process = work.start()
    run_id = work.is_at_work(process)
    work.go.touch()
    said, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert [line for line in said.splitlines() if not line.startswith(" ")][
        -1
    ] == f"Completed: run {run_id} in {work.s3.url}/out"
    assert work.s3.get("out/predictions.csv").decode().split() == ["result", "f0", "f1", "f2", "f3"]
    # What to do next can be done as it is told
    assert "logs -f" not in told
    assert told.rstrip().endswith(f"daskbatch status {work.s3.url}/out")
    assert daskbatch.status(f"{work.s3.url}/out").state == "Completed"


def test_a_run_that_fails(work: Work) -> None:
    work.bad.touch()
    work.go.touch()
    process = work.start("--error-threshold", "0", "--run-max-try", "1")
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "daskbatch: error: Failed: run " in told
    assert "nothing was started" not in told
    log = re.search(r"What it said is in (.*)", told)
    assert log is not None
    assert "ValueError: bad weather" in Path(log[1]).read_text()


def test_ctrl_c_ends_the_waiting_alone(work: Work) -> None:
    process = work.start()
    work.is_at_work(process)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (line,) = told.splitlines()[1:]
    assert line == f"The waiting has ended, and the run goes on: daskbatch status {work.s3.url}/out"
    work.go.touch()
    wait_for(lambda: work.state() == "Completed", "the run's end")
