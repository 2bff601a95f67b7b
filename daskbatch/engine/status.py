"""How a run is, by its files alone: for other processes, while it runs and after."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from daskbatch.engine.begin import last_life
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.heartbeat import is_over, stands_still
from daskbatch.engine.submission import Submission, read_submission, state_of
from daskbatch.errors import UsageError
from daskbatch.layout import RUN_SUMMARY
from daskbatch.queues.states import JobState

__all__ = ["RunStatus", "ask_to_cancel", "read_status"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What is known of a run."""

    output: str
    """The output folder, or its URL."""
    run_id: str
    state: str
    """``"Submitted"``: its coordinator waits in a queue, or begins in its job; ``"Running"``; ``"Lost"``: its engine
    was killed, it can be resumed; ``"Completed"``, ``"Failed"`` or ``"Canceled"``."""
    epoch: int
    """How many engines have worked on it."""
    owner: str | None
    """Process, host and since when, of an engine that runs or is lost."""
    phase: str | None
    """``"plan"``, ``"run"`` or ``"combine"`` of one that runs."""
    seconds: float | None
    """For which it runs."""
    progress: Mapping[str, Any] | None
    """Of one that runs: mini-batches, items and retries so far, estimated seconds left."""
    committed: int
    """Mini-batches whose results are safe, ranges without records included."""
    total: int | None
    """Mini-batches, where planning could count them."""
    summary: Mapping[str, Any] | None
    """The content of ``run_summary.json`` of one that has ended."""

    @property
    def text(self) -> str:
        """All this for people."""
        lines = [f"{self.state}: run {self.run_id} in {self.output}"]
        if self.owner is not None:
            lines.append(f"  {self.owner}")
        if self.state == "Running":
            lines.append(_progress_text(self.phase, self.seconds, self.progress))
        elif self.summary is not None and self.summary.get("error"):
            lines.append(f"  {self.summary['error']['message']}")
        of = "" if self.total is None else f" of {self.total:,}"
        lines.append(f"  {self.committed:,}{of} mini-batches are committed")
        if self.state not in ("Submitted", "Running", "Completed"):
            lines.append(f"  Next: daskbatch resume {self.output}")
        elif self.summary is not None and self.summary["mini_batches"]["failed"]:
            count = self.summary["mini_batches"]["failed"]
            lines.append(f"  {count:,} failed. To try them again: daskbatch retry-failed {self.output}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def read_status(folder: RunFolder) -> RunStatus:
    """Read the files of the run; watch its heartbeat for some seconds where that is needed.

    Parameters
    ----------
    folder : RunFolder
        It need not hold a run.

    Raises
    ------
    UsageError
        There is no run in the folder.
    """
    last = last_life(folder)
    submitted = read_submission(folder.place)
    if not last.number and submitted is not None:
        return _before_it_begins(folder.place, submitted)
    if not last.number:
        raise UsageError(
            f"There is no run in {folder.place!r}. Give the output folder of one. Runs of pipelines have ids:"
            " 'daskbatch runs' lists them, and cancels and resumes them."
        )
    beat = folder.read_beat(last.number)
    ended = None if last.found is None else last.found.ended
    running = ended is None and _is_running(folder, last.number, beat)
    if ended is None and not running:  # it may have ended while it was watched
        last = last_life(folder)
        ended = None if last.found is None else last.found.ended
    shown = beat if ended is None else None
    job = None if submitted is None or running or ended == "Completed" else state_of(submitted)
    # A running job begins again, or is about to end: which of them a failure is, that it was recorded tells.
    begins = job is not None and (job.state == "pending" or (job.state == "running" and ended != "Failed"))
    if submitted is not None and begins:
        return dataclasses.replace(_before_it_begins(folder.place, submitted, job), epoch=last.number)
    return RunStatus(
        output=folder.place,
        run_id=last.record.run_id if last.record else last.found.run_id if last.found else "",
        state=ended or ("Running" if running else "Lost"),
        epoch=last.number,
        owner=None if shown is None else f"process {shown['pid']} on {shown['host']}, since {shown['since']}",
        phase=shown["phase"] if shown and running else None,
        seconds=shown["seconds"] if shown and running else None,
        progress=shown["progress"] if shown and running else None,
        committed=sum(chunk.count for chunk in last.found.chunks) if last.found else 0,
        total=None if last.record is None else last.record.plan["mini_batches"],
        summary=_summary(folder.output) if ended else None,
    )


def _before_it_begins(place: str, submitted: Submission, job: JobState | None = None) -> RunStatus:
    """Of a run whose coordinator has not begun, or begins again in its job or the queue."""
    job = job or state_of(submitted)
    state = "Submitted" if job is None or job.state != "ended" else "Canceled" if job.reason == "CANCELLED" else "Lost"
    how = "" if job is None else f": {job.state}" + (f" ({job.reason})" if job.reason else "")
    return RunStatus(
        output=place,
        run_id=submitted.run_id,
        state=state,
        epoch=0,
        owner=submitted.text + how,
        phase=None,
        seconds=None,
        progress=None,
        committed=0,
        total=None,
        summary=None,
    )


def ask_to_cancel(folder: RunFolder) -> RunStatus:
    """Leave word for the engine; of a run that has not begun, take the coordinator's job out of the queue.

    Raises
    ------
    UsageError
        There is none.
    """
    now = read_status(folder)
    submitted = read_submission(folder.place)
    if now.state == "Submitted" and submitted is not None and submitted.cancel_command:
        subprocess.run([*shlex.split(submitted.cancel_command), submitted.job], check=False, timeout=60)
        return now
    if now.state not in ("Running", "Submitted"):
        text = f"No run is going on in {folder.place!r}: the last one there is {now.state}. There is nothing to cancel."
        raise UsageError(text)
    folder.ask_to_cancel()
    return now


def _is_running(folder: RunFolder, number: int, beat: dict[str, Any] | None) -> bool:
    some_beats = 5 * folder.beat_every  # by the clocks of two hosts, so it only saves watching, and decides nothing
    if beat is not None:
        if is_over(beat):
            return False
        if folder.is_fresh(number, time.time(), some_beats):
            return True
    over = partial(folder.has_ended, number)
    return not stands_still(number, over, some_beats, folder.beat_every / 2, folder.read_beat)


def _summary(output: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((output / RUN_SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _progress_text(phase: str | None, seconds: float | None, progress: Mapping[str, Any] | None) -> str:
    text = f"  in phase {phase} after {seconds or 0:.0f} s"
    if progress is None:
        return text
    about = "" if progress["total_is_exact"] else "at least " if progress.get("total_is_least") else "about "
    text += f": {progress['mini_batches_done']:,} of {about}{progress['mini_batches_total']:,} mini-batches done"
    if progress["mini_batches_failed"] or progress["items_failed"]:
        text += f", {progress['mini_batches_failed']:,} failed ({progress['items_failed']:,} items)"
    if progress["remaining"] is not None:
        text += f", about {progress['remaining']:.0f} s left"
    return text
