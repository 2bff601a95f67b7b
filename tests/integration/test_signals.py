"""Ctrl-C and SIGTERM: an orderly end, a quick one on request, and never a process left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import daskbatch
from daskbatch.events import Event, RunnerStarted

GRACE = 10.0
"""Seconds that mini-batches under way get after the first signal."""

# A mini-batch ends when a file says so; at once where there is no such option.
SCRIPT = """
    import argparse
    import time
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--hang-in", default="")
    parser.add_argument("--wait-for", type=Path)
    options, _ = parser.parse_known_args()

    def init():
        if options.hang_in == "init":
            (options.notes / "init").touch()
            time.sleep(3600)

    def run(mini_batch):
        name = Path(mini_batch[0]).stem
        (options.notes / name).touch()
        if options.hang_in == "run":
            time.sleep(3600)
        while options.wait_for and not options.wait_for.exists():
            time.sleep(0.01)
        time.sleep(0.02)
        (options.notes / f"{name}-done").touch()
        return [name]

    def shutdown():
        if options.hang_in == "shutdown":
            (options.notes / "shutdown").touch()
            time.sleep(3600)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, notes: Path, script: Callable[..., str], files: Callable[[int], str]) -> Iterator[Start]:
    """Start the command on 99 files, one a mini-batch, on two slots; its events are lines on stdout."""
    started: list[subprocess.Popen[str]] = []
    inputs, entry = files(99), script(SCRIPT)

    def begin(*arguments: object, prelude: str = "", options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        program = f"{prelude}\nfrom daskbatch.cli import main\nmain()"
        own = ["-c", program] if prelude else ["-m", "daskbatch"]
        command = [
            *(sys.executable, *own, "run", entry, inputs, "--output", str(tmp_path / "out"), "--json"),
            *("--mini-batch-size", "1", "--process-count-per-node", "2", *options, "--"),
            *("--notes", str(notes), *map(str, arguments)),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until_event(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """Read stdout up to an event of that name."""
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"no event {name}")


def summary(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out" / "run_summary.json").read_text())
    return content


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_in_order(
    number: signal.Signals, code: int, start: Start, notes: Path, tmp_path: Path,
    eventually: Callable[..., None], descendants: Callable[[], list[psutil.Process]],
) -> None:  # fmt: skip
    # Given a run in the middle of its work
    process = start()
    eventually(lambda: len(list(notes.glob("*-done"))) >= 4, "four mini-batches")
    # When the signal comes
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    # Then it ends with the signal's exit code, and all its processes with it
    assert process.returncode == code
    assert descendants() == []
    # and says so
    assert summary(tmp_path)["status"] == "Canceled"
    assert summary(tmp_path)["error"]["type"] == "RunCanceled"
    assert "Canceled" in err or "canceled" in err
    assert "Traceback" not in err
    # and keeps what was done: nothing that was begun is lost, nothing else was begun
    run = daskbatch.Run.open(tmp_path / "out")
    assert run.output_file == tmp_path / "out" / "predictions.partial.csv"
    assert not (tmp_path / "out" / "predictions.csv").exists()
    done = sorted(path.name.removesuffix("-done") for path in notes.glob("*-done"))
    assert list(run.to_pandas()["result"]) == done
    assert len(list(notes.glob("f??"))) == len(done) < 99
    counts = {"total": 99, "succeeded": len(done), "failed": 0, "not_run": 99 - len(done)}
    assert summary(tmp_path)["mini_batches"] == counts


def test_mini_batches_under_way_may_finish(
    start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    # Given two slots that are both in run()
    process = start("--wait-for", tmp_path / "go")
    eventually(lambda: len(list(notes.iterdir())) == 2, "two calls of run()")
    # When the run is interrupted, and they come back after that
    process.send_signal(signal.SIGINT)
    notice = until_event(process, "Notice")
    (tmp_path / "go").touch()
    process.communicate(timeout=30)
    # Then both count, and no third was begun
    assert "interrupt again to stop at once" in notice["message"]
    assert process.returncode == 130
    assert summary(tmp_path)["mini_batches"]["succeeded"] == 2
    assert len(list(notes.glob("*-done"))) == 2


@pytest.mark.parametrize("hang", ["run", "init"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_it_at_once(
    hang: str, number: signal.Signals, code: int, start: Start, notes: Path, tmp_path: Path,
    eventually: Callable[..., None], descendants: Callable[[], list[psutil.Process]],
) -> None:  # fmt: skip
    # Given user code that never comes back, and a run that has been interrupted
    process = start("--hang-in", hang)
    eventually(lambda: list(notes.iterdir()), hang)
    process.send_signal(number)
    until_event(process, "Notice")
    # When it is interrupted again
    again = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=30)
    # Then it does not wait for the grace to pass
    assert time.monotonic() - again < GRACE / 2
    assert process.returncode == code
    assert descendants() == []
    assert summary(tmp_path)["status"] == "Canceled"
    assert summary(tmp_path)["output"] is None


# Makes one of the run's own phases last, so that a signal finds it there.
HANG = """
import time
from pathlib import Path
import {module} as module

def hang(*args, **kwargs):
    Path({notes!r}, "hangs").touch()
    time.sleep(60)

module.{name} = hang
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_input_is_planned_leaves_no_trace(
    number: signal.Signals, code: int, start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    # Given a run that still looks at its input
    process = start(prelude=HANG.format(module="daskbatch.engine.planning", name="make_plan", notes=str(notes)))
    eventually(lambda: list(notes.iterdir()), "planning")
    # When the signal comes
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    # Then it ends at once, with the signal's exit code, and nothing was begun
    assert process.returncode == code
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_workers_start(
    number: signal.Signals, code: int, start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None],
    descendants: Callable[[], list[psutil.Process]],
) -> None:  # fmt: skip
    # Given a cluster that does not come up
    process = start(prelude=HANG.format(module="daskbatch.cluster.local", name="LocalCluster", notes=str(notes)))
    eventually(lambda: list(notes.iterdir()), "starting")
    # When the signal comes
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    # Then it ends at once
    assert process.returncode == code
    assert "Traceback" not in err
    assert descendants() == []
    assert summary(tmp_path)["status"] == "Canceled"


def test_a_signal_while_results_are_combined(
    start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    # Given a run whose work is done
    process = start(prelude=HANG.format(module="daskbatch.engine.folder", name="combine", notes=str(notes)))
    eventually((notes / "hangs").exists, "combining")
    # When the signal comes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    # Then there is no result under the final name, nor half of one
    assert process.returncode == 130
    assert "Traceback" not in err
    assert summary(tmp_path)["status"] == "Canceled"
    assert not list((tmp_path / "out").glob("*predictions*"))


# Once there is a result, makes a step of the run's end wait for a file.
WAIT = """
import time
from pathlib import Path
import {module} as module

step = module.{name}

def wait(*args, **kwargs):
    if Path({out!r}, "predictions.csv").exists():
        Path({notes!r}, "waits").touch()
        while not Path({notes!r}, "go").exists():
            time.sleep(0.01)
    return step(*args, **kwargs)

module.{name} = wait
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("daskbatch.store.publishing", "sync_folder"),
        ("daskbatch.worker.plugin", "forget_topic"),
        ("daskbatch.engine.run", "summarise"),
    ],
)
def test_a_signal_when_there_is_a_result_does_not_take_it_back(
    module: str, name: str, start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None],
    descendants: Callable[[], list[psutil.Process]],
) -> None:  # fmt: skip
    # Given a run whose result has its name already
    names = {"out": str(tmp_path / "out"), "notes": str(notes)}
    process = start(prelude=WAIT.format(module=module, name=name, **names))
    eventually((notes / "waits").exists, "the step")
    # When the signal comes; while it gets its name, from somebody impatient
    for _ in range(2 if name == "sync_folder" else 1):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)  # else the kernel makes one of two
    (notes / "go").touch()
    _, err = process.communicate(timeout=60)
    # Then the run is complete: there is no result that its summary does not know
    assert "Traceback" not in err
    assert process.returncode == 0
    assert descendants() == []
    assert summary(tmp_path)["status"] == "Completed"
    assert summary(tmp_path)["items"]["succeeded"] == 99


def test_nor_does_it_where_there_is_no_file(
    start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    # Given a run that writes its summary alone, and is about to do so
    names = {"out": str(notes), "notes": str(notes)}
    (notes / "predictions.csv").touch()
    wait = WAIT.format(module="daskbatch.engine.run", name="summarise", **names)
    process = start(prelude=wait, options=("--output-action", "summary_only"))
    eventually((notes / "waits").exists, "the step")
    # When the signal comes
    process.send_signal(signal.SIGINT)
    (notes / "go").touch()
    process.communicate(timeout=60)
    # Then the run is complete
    assert process.returncode == 0
    assert summary(tmp_path)["status"] == "Completed"


# Nothing but a signal ends the wait for shutdown().
PATIENT = """
from daskbatch.engine import over_dask, presence

settings = over_dask.PluginSettings

def patient(**given):
    given["timeouts"]["shutdown"] = 3600.0
    return settings(**given)

over_dask.PluginSettings = patient
presence._FINISH_PATIENCE = 3600.0
"""


def test_a_signal_while_shutdown_runs_kills_it_and_the_result_counts(
    start: Start, notes: Path, tmp_path: Path, eventually: Callable[..., None],
    descendants: Callable[[], list[psutil.Process]],
) -> None:  # fmt: skip
    # Given a run whose result is there while shutdown() hangs
    process = start("--hang-in", "shutdown", prelude=PATIENT)
    eventually((notes / "shutdown").exists, "shutdown()")
    eventually((tmp_path / "out" / "predictions.csv").exists, "the result")
    # When the signal comes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # Then nobody waits any longer, and the run is complete
    assert process.returncode == 0
    assert "Traceback" not in err
    assert descendants() == []
    assert summary(tmp_path)["status"] == "Completed"
    assert summary(tmp_path)["items"]["succeeded"] == 99


def test_in_python_a_signal_is_an_exception(
    tmp_path: Path, notes: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given handlers of the program's own, and a run that is interrupted as soon as a runner is up
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(event: Event) -> None:
        if isinstance(event, RunnerStarted):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(daskbatch.RunCanceled) as caught:
        daskbatch.run(
            script(SCRIPT), files(99), output=tmp_path / "out", mini_batch_size=1, process_count_per_node=1,
            arguments=["--notes", notes], listeners=[interrupt], task_seconds=0.05,
        )  # fmt: skip
    # Then the program goes on, with the summary and its own handlers
    assert caught.value.summary is not None
    assert caught.value.summary["status"] == "Canceled"
    assert caught.value.exit_code == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_outside_the_main_thread_handlers_are_left_alone(
    tmp_path: Path, notes: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a program that runs it in a thread, where no signal handler can be set
    runs: list[daskbatch.Run] = []
    inputs, entry, seen = files(6), script(SCRIPT), []

    def work() -> None:
        runs.append(
            daskbatch.run(
                entry, inputs, output=tmp_path / "out", mini_batch_size=2, process_count_per_node=1,
                arguments=["--notes", notes],
                listeners=[lambda event: seen.append(signal.getsignal(signal.SIGINT))],
                error_threshold=-1,
            )
        )  # fmt: skip

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    # Then it works, and the main thread's handlers were never touched
    assert runs[0].status == "Completed"
    assert set(seen) == {before}
