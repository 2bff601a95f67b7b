"""Failpoints: named places where a test has a process killed, halted or refused by the disk.

Without the environment variable DASKBATCH_FAILPOINTS a failpoint costs one look into an empty dict. The variable is
read once, at import, and inherited by all processes below::

    DASKBATCH_FAILPOINTS="segment.sync.before=kill@3;ledger.append.after=pause"
    DASKBATCH_FAILPOINTS_FOLDER=/some/empty/folder

acts the third time that any process is about to sync a segment, and the first time that a line of the ledger was
written. Each acts once, whatever number of processes and restarts there is: the folder keeps count. Actions:

``kill``
    SIGKILL to the process itself.
``pause``
    Writes ``NAME.reached`` (process ids of itself and its parent) into the folder and waits until ``NAME.go`` is
    there, so that any other process can be killed at this moment.
``error:ENOSPC``
    Raises OSError of that, or any other, errno.

Runs in the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import NamedTuple

__all__ = ["FOLDER", "NAMES", "SPEC", "failpoint"]

SPEC = "DASKBATCH_FAILPOINTS"
FOLDER = "DASKBATCH_FAILPOINTS_FOLDER"

_STEPS = (
    "plan",
    "run_json.write",
    "epoch.begin",
    "read",
    "run",
    "result.send",
    "segment.write",
    "segment.sync",
    "segment.put",
    "report",
    "ledger.append",
    "ledger.sync",
    "ledger.put",
    "gather",
    "gather.commit",
    "draft.write",
    "scratch.remove",
    "combine.write",
    "combine.publish",
    "combine.upload",
    "combine.finish",
    "summary.write",
    "segments.drop",
)  # in the order in which a run comes to them, those of a disk before those of a store
NAMES = tuple(f"{step}.{side}" for step in _STEPS for side in ("before", "after"))
"""Every failpoint. A test holds them equal to the calls in the source."""

_LOOK_EVERY = 0.01  # seconds


class _Plan(NamedTuple):
    """What is to happen at a failpoint."""

    action: str
    number: int
    """At which time, from 1, that it is reached."""
    folder: str


def _parse(spec: str, folder: str) -> dict[str, _Plan]:
    """Read what the environment variables say.

    Raises
    ------
    ValueError
        There is no failpoint of that name, or no such action.
    """
    plans = {}
    for part in filter(None, spec.split(";")):
        name, _, rest = part.partition("=")
        action, _, number = rest.partition("@")
        if name not in NAMES:
            raise ValueError(f"{SPEC} names {name!r}; the failpoints are: {', '.join(NAMES)}.")
        kind, _, value = action.partition(":")
        if action not in ("kill", "pause") and not (kind == "error" and hasattr(errno, value)):
            raise ValueError(
                f"{SPEC} has the action {action!r} for {name}; allowed are kill, pause and error:NAME, where NAME is "
                "an errno such as ENOSPC."
            )
        if not (number or "1").isdigit():
            raise ValueError(f"{SPEC} has the number {number!r} for {name}; it must be a count from 1, as in kill@3.")
        if not os.path.isdir(folder):
            raise ValueError(f"{FOLDER} must be a folder that is there, got {folder!r}.")
        plans[name] = _Plan(action, int(number or 1), folder)
    return plans


_plans = _parse(os.environ.get(SPEC, ""), os.environ.get(FOLDER, ""))


def failpoint(name: str) -> None:
    """Do what the environment asks for at the failpoint `name`; in a user's run: nothing."""
    if name in _plans:
        _reach(name, _plans[name])


def _reach(name: str, plan: _Plan) -> None:
    path = os.path.join(plan.folder, name)
    if _count(path, plan.number) != plan.number:
        return
    if plan.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif plan.action == "pause":
        _pause(path)
    else:
        number = getattr(errno, plan.action.partition(":")[2])
        raise OSError(number, os.strerror(number))


def _count(path: str, last: int) -> int:
    """The number of this time, counted up to `last` over all processes; 0 after that."""
    for number in range(1, last + 1):
        try:
            os.close(os.open(f"{path}.{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return number
    return 0


def _pause(path: str) -> None:
    with open(f"{path}.writing", "w") as file:
        file.write(f"{os.getpid()} {os.getppid()}")
    os.rename(f"{path}.writing", f"{path}.reached")
    while not os.path.exists(f"{path}.go"):
        time.sleep(_LOOK_EVERY)
