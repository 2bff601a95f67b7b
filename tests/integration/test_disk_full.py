"""No room for what a run writes: it fails and says so, what was there stays, and with room the same command goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import eager_drafts
import pytest
from deaths import environment
from lives import Command
from results import Undisturbed, check, window

KIB = 1024
LIMITED = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
LIMITED += "os.execv(sys.argv[2], sys.argv[2:])"
"""A program that starts another whose files, and those of all its children, cannot grow past a size."""
OLD = "result of another day.csv"


def assert_it_says_so(command: Command, out: Path, reason: str, result: bytes | None = None) -> None:
    """The last life has failed for want of room; under the result's name is all of it or nothing."""
    assert command.codes[-1] == 1, command.said()
    assert reason in command.said()
    assert "make room" in command.said(), command.said()
    assert "Traceback" not in command.said()
    path = out / "predictions.csv"
    assert (path.read_bytes() if path.exists() else None) == result
    assert (out / OLD).read_text() == "id\n1\n"
    if (out / "run_summary.json").exists():
        assert json.loads((out / "run_summary.json").read_text())["status"] == "Failed"


def old_result(out: Path) -> None:
    out.mkdir()
    (out / OLD).write_text("id\n1\n")


@pytest.mark.parametrize("what", ["a segment", "the result"])
def test_a_file_can_grow_no_more(what: str, tmp_path: Path, undisturbed: Callable[[str], Undisturbed]) -> None:
    # Given a limit that a file of the run passes: each of the two segments is about half as large as the result
    expected = undisturbed("wide")
    assert 170 * KIB < len(expected.result) < 190 * KIB
    limit = str({"a segment": 60 * KIB, "the result": 140 * KIB}[what])
    old_result(tmp_path / "out")
    command = expected.command(tmp_path, prefix=(sys.executable, "-c", LIMITED, limit))
    # When it comes to that
    command.live()
    # Then it says so
    assert_it_says_so(command, tmp_path / "out", "File too large")
    # and without the limit the same command goes on
    command.prefix = ()
    assert command.live() == 0, command.said()
    check(tmp_path, expected, window(expected) if what == "a segment" else 0, beside=[OLD])


@pytest.mark.parametrize("point", ["draft.write.before", "draft.write.after"])
def test_the_result_is_begun_in_vain(point: str, tmp_path: Path, undisturbed: Callable[[str], Undisturbed]) -> None:
    # Given a disk that is full for a moment, just when the beginning of the result is written
    expected = undisturbed("table")
    plan = environment(tmp_path / "points", f"{point}=error:ENOSPC@1")
    command = expected.command(tmp_path, environment=plan, prelude=eager_drafts.PRELUDE)
    # Then that is no failure: it is written at the end
    assert command.live() == 0, command.said()
    assert (tmp_path / "points" / f"{point}.1").exists()
    check(tmp_path, expected, again=0)


POINTS = ("segment.write.before=@2", "segment.sync.before=@2", "ledger.append.before=@3", "ledger.sync.before=@3",
          "combine.write.before=@2", "combine.write.after=@2", "summary.write.before=@1")  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_the_disk_is_full_at(point: str, tmp_path: Path, undisturbed: Callable[[str], Undisturbed]) -> None:
    # Given a disk that is full at one moment
    expected = undisturbed("table")
    old_result(tmp_path / "out")
    plan = environment(tmp_path / "points", point.replace("=", "=error:ENOSPC"))
    command = expected.command(tmp_path, environment=plan)
    command.live()
    # Then the run says so
    result = expected.result if point.startswith("summary") else None  # it is published before
    assert_it_says_so(command, tmp_path / "out", "No space left on device", result)
    # and the same command goes on
    assert command.live() == 0, command.said()
    check(tmp_path, expected, again=window(expected), beside=[OLD])


@pytest.fixture
def disk(tmp_path: Path, missing: Callable[[str], NoReturn]) -> Iterator[Callable[[str], Path]]:
    """Make a disk of its own with these limits; call again to have it get others. Return its folder."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(limits: str) -> Path:
        remount = "remount," if path.is_mount() else ""
        command = ["mount", "-t", "tmpfs", "-o", remount + limits, "tmpfs", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"a disk cannot be mounted here: {done.stderr.strip()}")
        return path

    yield mount
    if path.is_mount():
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize(
    "limits", ["size=160k", "size=288k", "size=352k", "nr_inodes=14", "nr_inodes=20", "nr_inodes=26"]
)
def test_a_disk_that_is_really_full(
    limits: str, tmp_path: Path, disk: Callable[[str], Path], undisturbed: Callable[[str], Undisturbed]
) -> None:
    # Given a disk that is too small for the run
    expected = undisturbed("wide")
    out = disk(limits) / "out"
    old_result(out)
    command = expected.command(tmp_path, out=out)
    command.live()
    # Then the run says so
    assert_it_says_so(command, out, "No space left on device")
    # and when there is room the same command goes on
    disk("size=16m,nr_inodes=1000")
    assert command.live() == 0, command.said()
    check(tmp_path, expected, window(expected), out, beside=[OLD])
