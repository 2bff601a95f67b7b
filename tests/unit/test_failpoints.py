from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from daskbatch import failpoints

PACKAGE = Path(failpoints.__file__).parent


def calls() -> Counter[str]:
    """The failpoints that the source calls, by name."""
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "failpoint":
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{path}:{node.lineno}: a failpoint's name is a literal"
                found[name.value] += 1
    return found


def test_the_list_is_what_the_source_calls() -> None:
    assert calls().keys() == set(failpoints.NAMES)
    assert len(failpoints.NAMES) == len(set(failpoints.NAMES))


@pytest.mark.parametrize("name", failpoints.NAMES)
def test_a_name_stands_for_one_place(name: str) -> None:
    # "The n-th time" would mean nothing else.
    assert calls()[name] == 1


def child(program: str, spec: str, folder: Path) -> subprocess.Popen[str]:
    """Run a program that may use ``failpoint``."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from daskbatch.failpoints import failpoint\n{program}"],
        env={**os.environ, failpoints.SPEC: spec, failpoints.FOLDER: str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_the_variable_nothing_is_planned() -> None:
    assert failpoints._plans == {}
    failpoints.failpoint("run.before")


def test_it_acts_the_nth_time_over_all_processes_and_once(tmp_path: Path) -> None:
    # Given a process that reaches a failpoint twice before it ends
    program = "for n in range(2): failpoint('run.before'); print(n, flush=True)"
    # When it is started again and again
    ended = []
    for _ in range(3):
        process = child(program, "read.after=kill;run.before=kill@4", tmp_path)
        out, _ = process.communicate(timeout=30)
        ended.append((process.returncode, out.split()))
    # Then the fourth time ends it, and no other
    assert ended == [(0, ["0", "1"]), (-signal.SIGKILL, ["0"]), (0, ["0", "1"])]


def test_pause_waits_for_the_word(tmp_path: Path) -> None:
    # Given a process that pauses
    process = child("failpoint('run.before'); print('on')", "run.before=pause", tmp_path)
    reached = tmp_path / "run.before.reached"
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.01)
    # Then it tells who it is, and goes on when it is told to
    assert reached.read_text().split() == [str(process.pid), str(os.getpid())]
    assert process.poll() is None
    (tmp_path / "run.before.go").touch()
    assert process.communicate(timeout=30)[0] == "on\n"


def test_an_error_of_the_disk(tmp_path: Path) -> None:
    process = child("failpoint('run.before')", "run.before=error:ENOSPC", tmp_path)
    assert "OSError: [Errno 28] No space left on device" in process.communicate(timeout=30)[1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("run.befor=kill", "names 'run.befor'; the failpoints are: plan.before, plan.after, "),
        ("run.before=stop", "the action 'stop' for run.before; allowed are kill, pause and error:NAME"),
        ("run.before=error:ENOSUCH", "the action 'error:ENOSUCH'"),
        ("run.before=kill@x", "the number 'x' for run.before; it must be a count from 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DASKBATCH_FAILPOINTS") as caught:
        failpoints._parse(spec, str(tmp_path))
    assert message in str(caught.value)


def test_without_its_folder_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="FOLDER must be a folder that is there, got ''"):
        failpoints._parse("run.before=kill", "")
