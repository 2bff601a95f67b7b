"""A command that starts the runners' interpreter, as one does that opens a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from lives import PATIENCE

import daskbatch
from daskbatch import (
    Environment,
    Experiment,
    FileDataset,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    Workspace,
)

OPTIONS: dict[str, Any] = {"mini_batch_size": 1, "process_count_per_node": 1, "progress": False}

SCRIPT = """
import os

def run(mini_batch):
    return [[os.environ.get("FROM_PREFIX"), os.path.basename(path)] for path in mini_batch]
"""


@pytest.fixture
def wrapper(tmp_path: Path) -> str:
    """A program that stays the parent of what it starts, and notes its own arguments."""
    path = tmp_path / "wrapper"
    path.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/bound\nshift\nFROM_PREFIX=yes "$@"\nexit $?\n')
    path.chmod(0o755)
    return str(path)


def test_on_the_command_line(script: Callable[..., str], files: Callable[[int], str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "daskbatch", "run", script(SCRIPT), files(3), "--output", str(tmp_path / "out")]
    own = ["--append-row-file-name", "out.jsonl", "--quiet", "--process-count-per-node", "1"]
    prefixed = [*command, *own, "--command-prefix", "env FROM_PREFIX='a b'"]
    done = subprocess.run(prefixed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "out.jsonl").read_text().splitlines()]
    assert [list(line.values()) for line in lines] == [["a b", f"f{number:02d}.bin"] for number in range(3)]
    # The same command finds the result; without the prefix it is another run
    assert subprocess.run(prefixed, capture_output=True, check=False).returncode == 0
    other = subprocess.run([*command, *own], capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert "command_prefix was" in other.stderr


def test_folders_that_a_container_has_to_show(
    wrapper: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    inputs, model = files(2), tmp_path / "models" / "m.keras"
    model.parent.mkdir()
    model.touch()
    entry = script(SCRIPT, "code/score.py")
    run = daskbatch.run(
        entry, f"{inputs}/*.bin", output=tmp_path / "out", script_output=tmp_path / "own", arguments=["--m", model],
        command_prefix=[wrapper, "{folders}"], python=sys.executable, **OPTIONS,
    )  # fmt: skip
    assert set(run.to_pandas().iloc[:, 0]) == {"yes"}
    asked, bound = (tmp_path / "bound").read_text().splitlines()
    assert asked == os.getcwd()
    folders = bound.split(",")
    wanted = {inputs, str(model.parent), os.path.dirname(entry), str(tmp_path / "out"), str(tmp_path / "own")}
    assert wanted | {os.getcwd()} <= set(folders)
    for path in (os.path.dirname(daskbatch.__file__), *wanted):  # each is there, or a folder above it
        assert sum(os.path.commonpath([path, folder]) == folder for folder in folders) == 1, path


def test_a_timeout_ends_all_behind_the_command(
    wrapper: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    entry = script("""
        import os, subprocess, sys, time
        from pathlib import Path

        def run(mini_batch):
            child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
            Path(os.environ["AZUREML_BI_OUTPUT_PATH"], "pids").write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
            time.sleep(600)
    """)
    with pytest.raises(daskbatch.DaskbatchError):
        daskbatch.run(
            entry, files(1), output=tmp_path / "out", command_prefix=f"{wrapper} x", run_invocation_timeout=1,
            run_max_try=1, **OPTIONS,
        )  # fmt: skip
    (failed,) = daskbatch.Run.open(tmp_path / "out").failed_items()
    assert "Timeout" in failed["error"]
    pids = [int(pid) for pid in (tmp_path / "out" / "pids").read_text().split()]
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


def test_a_killed_program_takes_what_is_behind_the_command_along(
    wrapper: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    entry = script("""
        import os, time

        def run(mini_batch):
            with open(mini_batch[0] + ".pids", "w") as file:
                file.write(f"{os.getpid()} {os.getppid()}\\n")
            time.sleep(600)
    """)
    inputs = files(1)
    command = [sys.executable, "-m", "daskbatch", "run", entry, f"{inputs}/*.bin", "--output", str(tmp_path / "out")]
    with subprocess.Popen([*command, "--quiet", "--command-prefix", f"{wrapper} x"]) as program:
        note = Path(inputs, "f00.bin.pids")
        while not (note.exists() and note.read_text().endswith("\n")):
            assert program.poll() is None
        runners = [psutil.Process(int(pid)) for pid in note.read_text().split()]
        behind = psutil.Process(program.pid).children(recursive=True)
        program.kill()
    _, alive = psutil.wait_procs([*runners, *behind], timeout=30)
    assert alive == []


def test_what_is_refused(script: Callable[..., str], files: Callable[[int], str], tmp_path: Path) -> None:
    entry, inputs = script(SCRIPT), files(1)

    def run(**more: Any) -> None:
        daskbatch.run(entry, inputs, output=tmp_path / "out", **OPTIONS, **more)

    with pytest.raises(daskbatch.UsageError, match="there is no 'no-such-program' on PATH"):
        run(command_prefix="no-such-program exec")
    with pytest.raises(daskbatch.UsageError, match="command_prefix must start a Python, but"):
        run(command_prefix="env", python="python3.x")
    with pytest.raises(daskbatch.UsageError, match="list of its words, got 7"):
        run(command_prefix=7)
    with pytest.raises(daskbatch.UsageError, match="in this process, got command_prefix 'nice'"):
        run(command_prefix="nice", compute="serial")
    assert not (tmp_path / "out").exists()


def test_a_step_of_a_pipeline(
    wrapper: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    ws = Workspace.create("w", tmp_path / "ws")
    env = Environment("wrapped", python=sys.executable, command_prefix=[wrapper, "{folders}"])
    config = ParallelRunConfig(
        env,
        script(SCRIPT, "code/score.py"),
        error_threshold=0,
        output_action="append_row",
        compute_target="local",
        node_count=1,
    )
    out, side = PipelineData("scores"), FileDataset(script("", "side/labels.txt")).as_named_input("labels").as_mount()
    step = ParallelRunStep("score", config, [FileDataset(files(2))], out, [side])
    run = Experiment(ws, "exp").submit(Pipeline(ws, [step]))
    run.wait_for_completion(timeout_seconds=PATIENCE)
    port = run.find_step_run("score")[0].get_output_data("scores")
    folder = Path(port.datastore.local_path(port.path_on_datastore))
    assert (folder / "parallel_run_step.txt").read_text() == "['yes', 'f00.bin']\n['yes', 'f01.bin']\n"
    folders = (tmp_path / "bound").read_text().splitlines()[-1].split(",")
    assert {str(ws.root), str(tmp_path / "side")} <= set(folders)


def test_a_run_is_taken_up_with_its_command(
    wrapper: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    broken = f"if not os.path.exists({str(mended)!r}):\n        raise ValueError\n    return"
    entry = script(SCRIPT.replace("return", broken))
    more = {"script_output": tmp_path / "own", "command_prefix": f"{wrapper} x", "run_max_try": 1}
    with pytest.raises(daskbatch.ThresholdExceeded):
        daskbatch.run(entry, files(1), output=tmp_path / "out", **more, **OPTIONS)
    mended.touch()
    run = daskbatch.retry_failed(tmp_path / "out")
    assert set(run.to_pandas().iloc[:, 0]) == {"yes"}
    assert run.summary["options"]["script_output"] == str(tmp_path / "own")
