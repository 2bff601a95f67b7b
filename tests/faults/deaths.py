"""One way to die: who is killed, and at which failpoint."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from lives import wait_for

from daskbatch import failpoints

__all__ = ["Death", "Reached", "environment", "paused_at"]

_WORDS = {
    "plan": "planning",
    "run_json.write": "the run's options are written",
    "epoch.begin": "the epoch begins",
    "read": "the mini-batch is read",
    "run": "run()",
    "result.send": "the result is sent",
    "segment.write": "the segment is written",
    "segment.sync": "the segment is synced",
    "report": "the report arrives",
    "ledger.append": "the ledger's append",
    "ledger.sync": "the ledger's sync",
    "draft.write": "the result's beginning is written",
    "scratch.remove": "the scratch folder is removed",
    "combine.write": "the result is combined",
    "combine.publish": "the result is published",
    "summary.write": "the summary is written",
    "segments.drop": "the segments are dropped",
}


@dataclass(frozen=True)
class Reached:
    """Who waits at a failpoint: a runner or a Dask worker."""

    pid: int
    ppid: int
    _go: Path

    def go(self) -> None:
        """Let it go on, if it is still there."""
        self._go.touch()


@dataclass(frozen=True)
class Death:
    """A process is killed (SIGKILL) at a failpoint."""

    victim: str
    """client, runner or supervisor; on a cluster worker, nanny or scheduler."""
    point: str
    """Name of the failpoint."""
    kind: str = "files"
    """Of the input."""
    number: int = 1
    """At which time that the failpoint is reached."""
    paused: bool = False
    """It is not the victim that comes to the failpoint: who does waits there."""

    def __str__(self) -> str:
        """Its name in the fault table."""
        step, _, side = self.point.rpartition(".")
        return f"{self.victim} killed {side} {_WORDS[step]} ({self.kind})"

    def environment(self, folder: Path) -> dict[str, str]:
        """Environment variables that plan it; `folder` is made."""
        return environment(folder, f"{self.point}={'pause' if self.paused else 'kill'}@{self.number}")

    def has_come(self, folder: Path) -> bool:
        """Whether the failpoint was reached that often."""
        return (folder / f"{self.point}.{self.number}").exists()


def environment(folder: Path, spec: str) -> dict[str, str]:
    """Environment variables for failpoints such as ``"run.before=kill@3"``, counted in `folder`, which is made."""
    folder.mkdir()
    return {failpoints.SPEC: spec, failpoints.FOLDER: str(folder)}


def paused_at(folder: Path, name: str, process: subprocess.Popen[bytes]) -> Reached:
    """Wait until somebody waits at the failpoint `name`; fail if `process` ends before."""
    path = folder / f"{name}.reached"
    wait_for(path.exists, f"a pause at {name}", process)
    pid, ppid = map(int, path.read_text().split())
    return Reached(pid, ppid, folder / f"{name}.go")
