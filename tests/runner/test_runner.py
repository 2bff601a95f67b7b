"""A runner and its supervisor: whoever is killed, nothing of the tree is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from daskbatch.types import MiniBatch
from daskbatch.worker import wire
from daskbatch.worker.runner import Launch, Runner, RunnerDied

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path

def shutdown():
    Path("shutdown").touch()

def run(mini_batch):
    what = os.path.basename(mini_batch[0])
    if what == "daemons":
        code = "import os, time; os.setsid(); os.fork() and os._exit(0); "
        code += "open('daemon-%d' % os.getpid(), 'w'); time.sleep(600)"
        for _ in range(3):
            subprocess.Popen([sys.executable, "-c", code])
        while len(list(Path(".").glob("daemon-*"))) < 3:
            time.sleep(0.01)
        Path("ready").touch()
        time.sleep(600)
    if what == "memory":
        subprocess.run([sys.executable, "-c", "x = bytearray(400_000_000); import time; time.sleep(600)"])
    if what == "exit":
        subprocess.Popen(["sleep", "1"], start_new_session=True)
        Path("child").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        os._exit(3)
    return mini_batch
"""

# Read by the interpreter when it starts: takes away what other systems lack, and notes what must not happen.
OTHER_SYSTEM = """
import os

missing, note = {missing!r}, {note!r}
listdir, waitpid, kill = os.listdir, os.waitpid, os.kill
reaped = set()

def no_proc(path="."):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(path)
    return listdir(path)

def reap(pid, options):
    found = waitpid(pid, options)
    reaped.add(found[0])
    return found

def signal_the_living(pid, number):
    if pid in reaped:
        with open(note, "a") as file:
            file.write(f"{{pid}}\\n")
    kill(pid, number)

for name in missing:
    if name.startswith("/"):
        os.listdir = no_proc
    else:
        delattr(os, name)
os.waitpid, os.kill = reap, signal_the_living
"""


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    (tmp_path / "score.py").write_text(SCRIPT)
    entry_script = {
        "output_dir": str(tmp_path),
        "log_dir": str(tmp_path),
        "working_dir": str(tmp_path),
        "agent_name": "here",
    }
    return Launch(
        python=sys.executable,
        package_root=str(ROOT),
        setup={
            "script": str(tmp_path / "score.py"),
            "script_digest": None,
            "arguments": [],
            "source_directory": None,
            "suffix": ".txt",
            "action": "append_row",
            "table": None,
            "pickled": None,
            "package_root": str(ROOT),
            "entry_script": entry_script,
        },
        environment=dict(os.environ),
        folder=str(tmp_path),
        stdout=str(tmp_path / "stdout"),
        stderr=str(tmp_path / "stderr"),
        timeouts={"start": 60, "read": 60, "run": 60, "shutdown": 10},
        memory_limit=None,
    )


def started(launch: Launch) -> tuple[Runner, Iterator[wire.Frame]]:
    runner = Runner(launch)
    frames = runner.frames()
    assert next(frames).kind == wire.READY
    return runner, frames


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def daemons(folder: Path) -> list[int]:
    """Process ids of the script's daemons that live."""
    pids = [int(path.name.split("-")[1]) for path in folder.glob("daemon-*")]
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def send(runner: Runner, *names: str) -> None:
    runner.send_row(wire.encode_row([MiniBatch(n, 0, (f"/{name}",)) for n, name in enumerate(names)], 60, {}))


def test_rows_are_answered_in_order_and_shutdown_is_called(launch: Launch, tmp_path: Path) -> None:
    runner, frames = started(launch)
    send(runner, "a", "b")
    answers = [next(frames) for _ in range(4)]
    assert [frame.kind for frame in answers] == [wire.COLUMNS, wire.RESULT, wire.RESULT, wire.END]
    assert [frame.payload for frame in answers[1:3]] == [b"/a\n", b"/b\n"]
    runner.finish()
    assert runner.wait()["reason"] == "exit"
    runner.let_go()
    assert (tmp_path / "shutdown").exists()


def test_a_stop_ends_the_row_before_its_next_mini_batch(launch: Launch) -> None:
    runner, frames = started(launch)
    send(runner, "a")
    while next(frames).kind != wire.END:
        pass
    # When a stop is there before the first of a row
    runner.request_stop()
    runner._send(wire.encode_row([MiniBatch(0, 0, ("/b",))], 60, {}))
    # Then nothing of it is run
    frame = next(frames)
    assert (frame.kind, json.loads(frame.payload)) == (wire.END, {"whole": False})
    runner.finish()
    runner.wait()
    runner.let_go()


@pytest.mark.parametrize("who", ["supervisor", "runner", "asked"])
def test_daemons_that_left_their_session_die_with_their_runner(who: str, launch: Launch, tmp_path: Path) -> None:
    # Given a run() that has started daemons of its own and hangs
    runner, _ = started(launch)
    send(runner, "daemons")
    wait_for((tmp_path / "ready").exists)
    assert len(daemons(tmp_path)) == 3
    # When one of the two halves is killed, or the end is asked for
    if who == "asked":
        runner.kill()
    else:
        supervisor = psutil.Process(runner.pid)
        half = next(child for child in supervisor.children() if "daskbatch.worker.child" in " ".join(child.cmdline()))
        os.kill(runner.pid if who == "supervisor" else half.pid, signal.SIGKILL)
    # Then the end is told, and no daemon lives
    verdict = runner.wait()
    assert verdict["reason"] == {"supervisor": "lost", "runner": "exit", "asked": "asked"}[who]
    wait_for(lambda: not daemons(tmp_path))
    runner.let_go()


@pytest.mark.parametrize(("told", "reason"), [(True, "terminated"), (False, "exit")])
def test_who_ends_a_job_may_reach_the_runner_first(told: bool, reason: str, launch: Launch, tmp_path: Path) -> None:
    # Given a run() that goes on
    runner, _ = started(launch)
    send(runner, "daemons")
    wait_for((tmp_path / "ready").exists)
    supervisor = psutil.Process(runner.pid)
    half = next(child for child in supervisor.children() if "daskbatch.worker.child" in " ".join(child.cmdline()))
    # When SIGTERM ends it, and comes to its supervisor only then, or not at all
    half.terminate()
    wait_for(lambda: half.status() == psutil.STATUS_ZOMBIE)
    if told:
        supervisor.terminate()
    # Then that is seen: nobody is to blame where all were to end
    assert runner.wait()["reason"] == reason
    runner.let_go()


@pytest.mark.parametrize(
    "missing",
    [["waitid", "pidfd_open"], ["waitid", "pidfd_open", "/proc"], ["pidfd_open", "/proc"]],
    ids=["no waitid", "macOS", "macOS, Python 3.13"],
)
def test_a_system_that_tells_less_of_processes(missing: list[str], launch: Launch, tmp_path: Path) -> None:
    # Given a system without some of what Linux has
    note = tmp_path / "signalled"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(OTHER_SYSTEM.format(missing=missing, note=str(note)))
    environment = {**launch.environment, "PYTHONPATH": str(tmp_path / "site")}
    runner, frames = started(replace(launch, environment=environment))
    # When rows are sent, then they are answered
    send(runner, "a")
    assert [next(frames).kind for _ in range(3)] == [wire.COLUMNS, wire.RESULT, wire.END]
    # and a runner that ends by itself is told of, with its status
    send(runner, "exit")
    with pytest.raises(RunnerDied) as died:
        list(frames)
    verdict = died.value.verdict
    assert (verdict["reason"], os.waitstatus_to_exitcode(verdict["status"])) == ("exit", 3)
    assert verdict["survivors"] == []
    # and what it had started is gone; no number that may be another process's by now was signalled
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))
    assert not note.exists()


def test_garbage_at_the_end_does_not_hide_the_end(launch: Launch, tmp_path: Path) -> None:
    # Given a shutdown() that writes more into its runner's pipe than a pipe holds
    more = "\n    for _ in range(3000):\n        os.write(513, b'x' * 1000)\n"
    (tmp_path / "score.py").write_text(SCRIPT.replace('Path("shutdown").touch()', f'Path("shutdown").touch(){more}'))
    runner, _ = started(launch)
    # When it is called, then its end is waited for all the same
    runner.finish()
    verdict = runner.wait()
    assert (verdict["reason"], verdict["status"]) == ("exit", 0)
    runner.let_go()


def test_memory_counts_the_whole_tree(launch: Launch) -> None:
    # Given a run() whose child takes 400 MB where 200 are allowed
    runner, frames = started(replace(launch, memory_limit=200 * 2**20))
    send(runner, "memory")
    # When it does, then the supervisor ends it
    with pytest.raises(RunnerDied) as died:
        list(frames)
    assert died.value.verdict["reason"] == "memory"
    assert died.value.verdict["memory"] > 200 * 2**20


def test_a_killed_program_takes_its_runners_along(tmp_path: Path) -> None:
    # Given a program in the middle of a run whose run() has started daemons
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "daemons").touch()
    program = "import daskbatch; daskbatch.run('score.py', 'in', output='out', progress=False)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    wait_for((tmp_path / "ready").exists)
    tree = psutil.Process(process.pid).children(recursive=True)
    # When it is killed
    process.kill()
    process.wait()
    # Then nothing of it lives
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in tree))
    wait_for(lambda: not daemons(tmp_path))
