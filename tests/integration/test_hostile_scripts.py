"""Scripts, listeners and disks that do what nobody expects: the harm stays where it was done, and the run ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import daskbatch
from daskbatch.events import Event, RunnerStarted

AT_ONCE = 30.0
"""Seconds within which a run ends that waits for nothing; loaded machines are slow to start processes."""

FILES: dict[str, Any] = {"mini_batch_size": 1, "progress": False, "append_row_file_name": "result.txt"}
COMPUTE = pytest.mark.parametrize("compute", ["serial", "local"])

# Serves both kinds of mini-batch: item 3 is the one that goes wrong.
VICTIM = """
    import os
    import signal

    def numbers(mini_batch):
        if isinstance(mini_batch, list):
            return [int(os.path.basename(path)[1:3]) for path in mini_batch]
        return mini_batch["id"].tolist()

    def run(mini_batch):
        if 3 in numbers(mini_batch):
            go_wrong()
        return numbers(mini_batch)
"""
WRITE_GARBAGE = """
    def go_wrong():
        for fd in range(3, 601):
            try:
                os.write(fd, b"x" * 100)
            except OSError:
                pass
"""
END_THE_PARENT = """
    def go_wrong():
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()
"""


@pytest.fixture
def inputs(tmp_path: Path, files: Callable[[int], str]) -> Callable[[str], tuple[str, dict[str, Any]]]:
    """Items 0 to 7, one a mini-batch, as files or as a table; with the options for them."""

    def make(kind: str) -> tuple[str, dict[str, Any]]:
        if kind == "files":
            return files(8), FILES
        (tmp_path / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(8)))
        return str(tmp_path / "in.csv"), {**FILES, "mini_batch_size": "1rows"}

    return make


@pytest.mark.parametrize("kind", ["files", "table"])
@pytest.mark.parametrize(
    ("wrong", "error"), [(WRITE_GARBAGE, "Crashed"), (END_THE_PARENT, "RunnerLost")], ids=["garbage", "sigterm"]
)
def test_who_attacks_the_own_runner_fails_alone(
    wrong: str, error: str, kind: str, inputs: Callable[[str], Any], tmp_path: Path, script: Callable[..., str]
) -> None:
    # Given a run() that, for one item, writes into every descriptor or ends the process above it
    where, options = inputs(kind)
    # When it runs
    run = daskbatch.run(
        script(VICTIM + wrong), where, output=tmp_path / "out", process_count_per_node=1, run_max_try=2, **options
    )
    # Then that item has failed, and all others are there
    (failed,) = run.failed_items()
    assert failed["error"] == error
    assert failed["tries"] == 2
    assert run.summary["mini_batches"] == {"total": 8, "succeeded": 7, "failed": 1}
    assert run.output_file is not None
    assert run.output_file.read_text().split() == ["0", "1", "2", "4", "5", "6", "7"]


def test_garbage_from_init_is_an_init_error(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given an init() that writes into every descriptor and returns
    entry = script(VICTIM + WRITE_GARBAGE + "\n    def init():\n        go_wrong()\n")
    # When it runs, then init() is what has failed
    with pytest.raises(daskbatch.InitFailed, match="own pipe"):
        daskbatch.run(entry, files(4), output=tmp_path / "out", process_count_per_node=1, **FILES)


@pytest.fixture
def bystander() -> Iterator[Callable[[str], int]]:
    """Start a process that has nothing to do with a run and outlives it; return its id."""
    started: list[int] = []

    def start(how: str) -> int:
        if how == "popen":
            sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
            started.append(subprocess.Popen(sleeper, close_fds=False).pid)
        elif pid := os.fork():
            started.append(pid)
        else:
            while True:
                signal.pause()
        return started[-1]

    yield start
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("how", ["fork", "popen"])
def test_a_fork_elsewhere_does_not_hold_up_the_end(
    how: str, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str], bystander: Callable[[str], int]
) -> None:
    # Given a process that the user starts, for a purpose of theirs, while runners are there
    others: list[int] = []

    def start(event: Event) -> None:
        if isinstance(event, RunnerStarted) and not others:
            others.append(bystander(how))

    # When the run goes on
    began = time.monotonic()
    run = daskbatch.run(
        script(VICTIM + "\n    def go_wrong():\n        pass\n"), files(8), output=tmp_path / "out",
        process_count_per_node=2, listeners=[start], **FILES,
    )  # fmt: skip
    # Then it ends, though that process still lives and holds what it has inherited
    assert time.monotonic() - began < AT_ONCE
    assert run.summary["mini_batches"]["succeeded"] == 8
    assert psutil.Process(others[0]).is_running()


@COMPUTE
def test_an_error_that_cannot_be_shown(
    compute: str, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given an exception whose own text raises
    wrong = """
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def go_wrong():
        raise Odd
    """
    # When it is raised
    run = daskbatch.run(script(VICTIM + wrong), files(8), output=tmp_path / "out", compute=compute, **FILES)
    # Then its mini-batch fails by the name of its type
    (failed,) = run.failed_items()
    assert failed["error"] == "Odd"
    assert [Path(path).name for path in failed["paths"]] == ["f03.bin"]
    assert "RuntimeError" in failed["message"]
    assert run.summary["mini_batches"] == {"total": 8, "succeeded": 7, "failed": 1}


@COMPUTE
def test_a_message_of_20_mb_is_cut(
    compute: str, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given an error that quotes all of its input
    wrong = "\n    def go_wrong():\n        raise ValueError('x' * 20_000_000)\n"
    # When it is raised, and raised again
    run = daskbatch.run(script(VICTIM + wrong), files(8), output=tmp_path / "out", compute=compute, **FILES)
    # Then the beginning is kept, and how much is missing
    (failed,) = run.failed_items()
    assert failed["message"].startswith("xxx")
    assert "left out" in failed["message"]
    assert (tmp_path / "out" / "failed_items.jsonl").stat().st_size < 100_000
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < 1_000_000


def test_init_leaves_a_thread_and_raises(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given an init() whose thread would keep its process alive for ever
    entry = script("""
        import threading

        def init():
            threading.Thread(target=threading.Event().wait).start()
            raise ValueError("the model file is damaged")

        def run(mini_batch):
            return mini_batch
    """)
    # When it runs, then its error is told at once and not when the time for init() is over
    began = time.monotonic()
    with pytest.raises(daskbatch.InitFailed, match="the model file is damaged"):
        daskbatch.run(entry, files(8), output=tmp_path / "out", process_count_per_node=2, init_timeout=120, **FILES)
    assert time.monotonic() - began < AT_ONCE


@COMPUTE
@pytest.mark.parametrize("change", ["os.unlink(path)", "open(path, 'w').write('not gzip any more')"])
def test_a_stream_that_changes_after_planning(
    change: str, compute: str, tmp_path: Path, script: Callable[..., str]
) -> None:
    # Given three gzip files, of which the second goes away, or becomes another, before it is read
    (tmp_path / "in").mkdir()
    for name in "123":
        rows = "".join(f"{name}{number:02d}\n" for number in range(20))
        (tmp_path / "in" / f"{name}.csv.gz").write_bytes(gzip.compress(f"id\n{rows}".encode()))
    path = str(tmp_path / "in" / "2.csv.gz")
    entry = script(f"""
        import os

        def init():
            path = {path!r}
            if os.path.exists(path):
                {change}

        def run(mini_batch):
            return mini_batch["id"].tolist()
    """)
    # When they are run
    run = daskbatch.run(
        entry, tmp_path / "in", output=tmp_path / "out", compute=compute, run_max_try=2,
        **{**FILES, "mini_batch_size": "5rows"},
    )  # fmt: skip
    # Then that file has failed as one, and the others are there
    (failed,) = run.failed_items()
    assert failed["rest_of_file"]
    assert failed["paths"] == [path]
    assert failed["tries"] == 2
    assert run.output_file is not None
    assert run.output_file.read_text().split() == [f"{name}{number:02d}" for name in "13" for number in range(20)]


@COMPUTE
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("os.unlink(path)", "FileNotFoundError", "is gone: it was there when the run was planned"),
        ("open(path, 'a').write('!')", "MiniBatchError", "has changed since the run was planned: its size was 3"),
        ("os.utime(path, (0, 0))", "MiniBatchError", "since the run was planned: its modification time was"),
    ],
    ids=["gone", "grown", "touched"],
)
def test_a_file_that_changes_after_planning(
    change: str,
    error: str,
    message: str,
    compute: str,
    tmp_path: Path,
    script: Callable[..., str],
    files: Callable[[int], str],
) -> None:
    # Given files, one a mini-batch, of which the run() of the first harms the fourth
    path = os.path.join(files(6), "f03.bin")
    entry = script(f"""
        import os

        def run(mini_batch):
            with open({str(tmp_path / "calls")!r}, "a") as calls:
                calls.write(os.path.basename(mini_batch[0]) + "\\n")
            path = {path!r}
            if mini_batch[0].endswith("f00.bin"):
                {change}
            return [os.path.basename(mini_batch[0])]
    """)
    # When they are run, one after the other
    run = daskbatch.run(
        entry, tmp_path / "in", output=tmp_path / "out", compute=compute, process_count_per_node=1, run_max_try=2,
        **FILES,
    )  # fmt: skip
    # Then that file alone has failed, without its run() called; each other was run once
    (failed,) = run.failed_items()
    assert (failed["paths"], failed["item_count"], failed["error"], failed["tries"]) == ([path], 1, error, 2)
    assert path in failed["message"]
    assert message in failed["message"]
    others = [f"f{number:02d}.bin" for number in (0, 1, 2, 4, 5)]
    assert (tmp_path / "calls").read_text().split() == others
    assert run.output_file is not None
    assert run.output_file.read_text().split() == others


def test_a_disk_that_does_not_answer(tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]) -> None:
    # Given a file that cannot be looked at: the call never comes back
    entry = script("""
        import os
        import threading

        stat = os.stat

        def hang(path, *args, **kwargs):
            if str(path).endswith("f01.bin"):
                threading.Event().wait()
            return stat(path, *args, **kwargs)

        def init():
            os.stat = hang

        def run(mini_batch):
            return [os.path.basename(path) for path in mini_batch]
    """)
    # When it is run
    run = daskbatch.run(
        entry, files(4), output=tmp_path / "out", process_count_per_node=1, read_timeout=1, run_max_try=1, **FILES
    )
    # Then reading has timed out, and the others are there
    (failed,) = run.failed_items()
    assert (failed["error"], failed["item_count"], failed["paths"]) == (
        "ReadTimeout",
        1,
        [str(tmp_path / "in/f01.bin")],
    )
    assert run.output_file is not None
    assert run.output_file.read_text().split() == ["f00.bin", "f02.bin", "f03.bin"]


@pytest.mark.parametrize(
    ("compute", "kind"),
    [
        ("local", "Planned"),
        ("local", "RunnerStarted"),
        ("local", "Progress"),
        ("local", "RunFinished"),
        ("serial", "Planned"),
        ("serial", "RunFinished"),
    ],
)
def test_a_listener_that_raises(
    kind: str, compute: str, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    def bad(event: Event) -> None:
        if type(event).__name__ == kind:
            raise RuntimeError("the listener is broken")

    # Given a listener that raises, when a run tells it of something, then its error is what the caller gets
    entry = script(VICTIM + "\n    def go_wrong():\n        pass\n")
    with pytest.raises((RuntimeError, daskbatch.RunFailed), match="the listener is broken"):
        daskbatch.run(entry, files(8), output=tmp_path / "out", compute=compute, listeners=[bad], **FILES)


@COMPUTE
def test_a_disk_that_is_full_when_the_result_is_combined(
    compute: str, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    # Given a disk that fills up at the end
    monkeypatch.setattr("daskbatch.engine.folder.combine", full)
    entry = script(VICTIM + "\n    def go_wrong():\n        pass\n")
    # When a run has come that far
    with pytest.raises(daskbatch.RunFailed, match="No space left on device"):
        daskbatch.run(entry, files(8), output=tmp_path / "out", compute=compute, **FILES)
    # Then it has failed and says so, and what was computed is kept
    summary = json.loads((tmp_path / "out" / "run_summary.json").read_text())
    assert summary["status"] == "Failed"
    assert "No space left on device" in summary["error"]["message"]
    assert summary["mini_batches"]["succeeded"] == 8
    assert list((tmp_path / "out" / ".daskbatch").rglob("*.seg"))
    assert not (tmp_path / "out" / "result.txt").exists()
