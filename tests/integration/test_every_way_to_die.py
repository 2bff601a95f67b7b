"""Each process of a local run is killed (SIGKILL) at each step; the result is that of a run without deaths.

The names of these tests are the fault table. When the client dies the whole run does, and the same command is given
again. The death of a runner or of its supervisor costs a mini-batch one try, and the run goes on by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import eager_drafts
import psutil
import pytest
from deaths import Death, paused_at
from lives import kill, wait_for
from results import KINDS, Undisturbed, check, window

SIDES = ("before", "after")
NUMBERS = {"segment.write": 2, "segment.sync": 2, "report": 2, "ledger.append": 3, "ledger.sync": 3}
"""Steps of which there are many: at which time they are taken, so that it is in the middle of the work."""
STEPS = ("plan", "run_json.write", "epoch.begin", *NUMBERS, "scratch.remove", "summary.write")
"""Steps of the client, which is engine and Dask worker in one here."""
COMBINES = ("combine.write", "combine.publish")
"""The first time is for the list of mini-batches in the logs, the second for the result."""


def deaths() -> list[Death]:
    """All that are tested; the kinds of input take turns."""
    found = [
        Death("client", f"{step}.{side}", KINDS[turn], NUMBERS.get(step, 1))
        for step in STEPS
        for turn, side in enumerate(SIDES)
    ]
    found += [Death("client", f"{step}.{side}", "table", 2) for step in COMBINES for side in SIDES]
    found += [Death("client", f"draft.write.{side}", "table") for side in SIDES]
    found += [Death("client", f"segments.drop.{side}", "good") for side in SIDES]
    found += [
        Death("client", "run.before", "stream", 3, paused=True),
        Death("client", "run.after", "table", 3, paused=True),
    ]
    for point in ("read.before", "run.before", "run.after", "result.send.before", "result.send.after"):
        found.append(Death("runner", point, "files", 3))
    for point in ("read.after", "run.before", "result.send.after"):
        found.append(Death("supervisor", point, "table", 3, paused=True))
    found += [Death("runner", "run.after", "stream", 3), Death("supervisor", "run.after", "stream", 3, paused=True)]
    return found


@pytest.mark.parametrize("death", deaths(), ids=str)
def test_every_way_to_die(
    death: Death, tmp_path: Path, undisturbed: Callable[[str], Undisturbed],
    descendants: Callable[[], list[psutil.Process]],
) -> None:  # fmt: skip
    # Given a run in which somebody dies
    expected, points = undisturbed(death.kind), tmp_path / "points"
    (scratch := tmp_path / "scratch").mkdir()
    prelude = eager_drafts.PRELUDE if death.point.startswith("draft") else ""
    surroundings = {**death.environment(points), "TMPDIR": str(scratch)}
    command = expected.command(tmp_path, environment=surroundings, prelude=prelude)

    def watch(process: subprocess.Popen[bytes]) -> None:
        if death.paused and not command.codes:
            runner = paused_at(points, death.point, process)
            kill(runner.ppid if death.victim == "supervisor" else process.pid)
            runner.go()

    # When the command is given until it ends by itself
    codes = command.again_and_again(watch)
    # Then it died once, or not at all
    assert death.has_come(points)
    assert codes == ([-signal.SIGKILL, 0] if death.victim == "client" else [0]), command.said()
    # and no process or temporary file is left, and the result is there, as if nobody had died
    assert descendants() == []
    wait_for(lambda: set(os.listdir(scratch)) <= {"dask-scratch-space"}, "an empty TMPDIR")
    check(tmp_path, expected, again=window(expected) if death.victim == "client" else 1)
