"""The logs of a run, as they grow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from daskbatch.api.again import status
from daskbatch.engine.status import RunStatus
from daskbatch.errors import UsageError
from daskbatch.layout import COORDINATOR_LOG, LOGS

__all__ = ["GOING_ON", "LOOK_EVERY", "LOST_LOOKS", "STATUS_EVERY", "LogReader", "log_lines"]

LOOK_EVERY = 1.0
"""Seconds between looks at files that may lie on a shared filesystem."""
STATUS_EVERY = 5
"""Looks at files for each one at the status."""
GOING_ON = ("Submitted", "Running")
"""States of a run that has not ended."""
LOST_LOOKS = 4
"""At the status: a job that was killed, or whose node failed, may be put back into its queue."""


def log_lines(
    output: str | os.PathLike[str],
    *,
    follow: bool = False,
    user: bool = False,
    storage_options: Mapping[str, object] | Sequence[str] | None = None,
) -> Iterator[str]:
    """Yield the lines of a run's logs.

    Parameters
    ----------
    output : path
        The output folder.
    follow : bool
        Go on until the run has ended. Of one that is lost, and that nothing goes on with for some twenty seconds, the
        last lines are its status.
    user : bool
        What the entry script prints in all processes, each line with its process; else what the run itself says.
    storage_options : mapping, optional
        As of `daskbatch.status`.

    Raises
    ------
    UsageError
        There is no run.
    """
    if "://" in os.fspath(output):
        raise UsageError(
            f"The logs of a run on a store are there when it has ended, below {os.fspath(output)}/{LOGS}. Next:"
            " daskbatch status tells how it is."
        )
    seen = [status(output, storage_options)]
    logs = LogReader(Path(output) / LOGS, user=user)
    looks = 0
    while True:
        over = not follow or _is_over(seen)
        yield from logs.new_lines(ended=over)
        if over:
            break
        time.sleep(LOOK_EVERY)
        looks += 1
        if looks % STATUS_EVERY == 0:
            seen.append(status(output, storage_options))
    if follow and seen[-1].state == "Lost":
        yield from seen[-1].text.splitlines()


def _is_over(seen: list[RunStatus]) -> bool:
    """Whether a run has ended, or is lost and has been for some looks; they are all that is kept of ``seen``."""
    del seen[:-LOST_LOOKS]
    if seen[-1].state == "Lost":
        return len(seen) == LOST_LOOKS and all(status.state == "Lost" for status in seen)
    return seen[-1].state not in GOING_ON


def _run_logs(folder: Path) -> list[tuple[Path, str]]:
    """Of a submitted run what its coordinator has printed; else the overviews, one of each life."""
    submitted = folder / COORDINATOR_LOG
    if submitted.exists():
        return [(submitted, "")]
    return [(path, "") for path in sorted(folder.glob("job_progress_overview.*.txt"))]


def _user_logs(folder: Path) -> list[tuple[Path, str]]:
    return [
        (path, f"{path.parent.name}/{path.name.split('.')[0]}")
        for kind in ("stdout", "stderr")
        for path in sorted((folder / "user" / kind).glob(f"*/*.{kind}.txt"))
    ]


class LogReader:
    """Reads the logs of a run as they grow.

    Parameters
    ----------
    folder : Path
        Of the logs.
    user : bool
        Those of the entry script.
    """

    def __init__(self, folder: Path, *, user: bool = False) -> None:
        self._folder = folder
        self._files = _user_logs if user else _run_logs
        self._read: dict[Path, int] = {}

    def new_lines(self, *, ended: bool) -> Iterator[str]:
        """What has been added; a line that is not whole waits for its end."""
        for path, name in self._files(self._folder):
            for line in self._new_of(path, ended):
                yield f"{name}: {line}" if name else line

    def _new_of(self, path: Path, ended: bool) -> Iterator[str]:
        try:
            with path.open("rb") as file:
                begin = self._read.get(path, 0)
                if file.seek(0, os.SEEK_END) < begin:  # it was emptied, as it had grown too large
                    begin = 0
                file.seek(begin)
                data = file.read()
        except OSError:
            return
        whole = data if ended else data[: data.rfind(b"\n") + 1]
        self._read[path] = begin + len(whole)
        yield from whole.decode(errors="replace").splitlines()
