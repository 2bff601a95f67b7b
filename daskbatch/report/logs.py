"""The log files under the names that users of ParallelRunStep look for."""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

from daskbatch.events import (
    AttemptFailed,
    Event,
    Planned,
    Progress,
    RunFinished,
    RunnerStarted,
    RunResumed,
    RunStarted,
    TaskFinished,
)
from daskbatch.report.words import attempt_text, duration, ending_text, planned_text, resumed_text

__all__ = ["LogFiles"]

EVERY = 5.0
"""Seconds between two lines of the overview."""
MOST_ERROR_BYTES = 16 * 1024**2
"""Tracebacks kept of one process; failed_items.jsonl has the rest."""


@dataclass(slots=True)
class _Work:
    """What one process did: a row of ``node_summary.csv``."""

    node: str
    process: str
    runners_started: int = 0
    init_seconds: float = 0.0
    """Of all its runners together."""
    tasks: int = 0
    mini_batches: int = 0
    items: int = 0
    seconds: float = 0.0
    """Wall time of its tasks."""
    run_seconds: float = 0.0
    """Of these, inside ``run()``."""
    failed_tries: int = 0


class LogFiles:
    """A listener that writes the folder ``logs`` of a run.

    A log that cannot be written is given up with one warning: the run goes on.

    Parameters
    ----------
    output
        Absolute path of the output folder.
    how_to_go_on
        Said at the end of a run that has not completed, in place of the commands for the output folder.
    """

    def __init__(self, output: str, how_to_go_on: str | None = None) -> None:
        self._output = output
        self._how_to_go_on = how_to_go_on
        self._logs = Path(output, "logs")
        self._overview: Path | None = None
        self._last_line = float("-inf")
        self._progress: Progress | None = None
        self._work: dict[tuple[str, str], _Work] = {}
        self._error_bytes: dict[Path, int] = {}
        self._given_up = False

    def write_to(self, output: str) -> None:
        """Write to another folder: what mirrors an output on a store."""
        self._logs = Path(output, "logs")

    def __call__(self, event: Event) -> None:
        """Write what `event` adds."""
        if self._given_up:
            return
        try:
            self._log(event)
        except OSError as error:
            self._given_up = True
            logging.getLogger("daskbatch").warning("The logs in %s are given up: %s", self._logs, error)

    def _log(self, event: Event) -> None:
        match event:
            case RunStarted():
                started = datetime.fromtimestamp(event.time).astimezone()
                self._overview = self._logs / f"job_progress_overview.{started:%Y%m%d-%H%M%S}.txt"
                self._tell(event.time, f"Run {event.run_id} started. Output folder: {event.output}")
            case Planned():
                self._tell(event.time, planned_text(event))
            case Progress():
                self._progress = event
                if not 0 <= event.time - self._last_line < EVERY:  # below 0: the clock was set back
                    self._tell_progress(event)
            case RunnerStarted():
                work = self._of(event.node, event.process)
                work.runners_started += 1
                work.init_seconds += event.init_seconds
                self._of_process(event, f"runner {event.pid} started, init() took {event.init_seconds:.3f} s")
            case TaskFinished():
                work = self._of(event.node, event.process)
                work.tasks += 1
                work.mini_batches += event.mini_batches
                work.items += event.items
                work.seconds += event.seconds
                work.run_seconds += event.run_seconds
                self._of_process(
                    event,
                    f"task done: {event.mini_batches} mini-batches, {event.items} items in {event.seconds:.3f} s,"
                    f" {event.run_seconds:.3f} s of them in run()",
                )
            case AttemptFailed():
                self._of(event.node, event.process).failed_tries += 1
                self._keep_traceback(event)
                kept = "for good" if event.final else "to be tried again"
                self._of_process(
                    event, f"mini-batch {event.mini_batch}, try {event.attempt} failed {kept}: {event.error}"
                )
            case RunResumed():
                self._tell(event.time, resumed_text(event))
            case RunFinished():
                self._finish(event)
            case _:
                pass

    def _of(self, node: str, process: str) -> _Work:
        return self._work.setdefault((node, process), _Work(node, process))

    def _of_process(self, event: RunnerStarted | TaskFinished | AttemptFailed, text: str) -> None:
        """Add to what daskbatch itself has to say of a process."""
        if event.node:
            path = self._logs / "sys" / "node" / _file_name(event.node) / f"{_file_name(event.process)}.txt"
            moment = datetime.fromtimestamp(event.time).astimezone()
            _append(path, f"{moment:%Y-%m-%d %H:%M:%S} {text}\n")

    def _tell(self, time: float, text: str) -> None:
        """Add to the overview, with the local time."""
        if self._overview is not None:
            moment = datetime.fromtimestamp(time).astimezone()
            _append(self._overview, f"{moment:%Y-%m-%d %H:%M:%S} {text}\n")

    def _tell_progress(self, event: Progress) -> None:
        self._last_line = event.time
        about = "at least " if event.total_is_least else "" if event.total_is_exact else "about "
        left = "unknown" if event.remaining is None else duration(event.remaining)
        self._tell(
            event.time,
            f"Processed {event.mini_batches_done} of {about}{event.mini_batches_total} mini batches in"
            f" {duration(event.elapsed)}. Estimated remaining time {left}.",
        )

    def _keep_traceback(self, event: AttemptFailed) -> None:
        path = self._logs / "user" / "error" / _file_name(event.node) / f"{_file_name(event.process)}.error.txt"
        kept = self._error_bytes.get(path, 0)
        if kept > MOST_ERROR_BYTES:
            return
        moment = datetime.fromtimestamp(event.time).astimezone()
        text = f"{moment:%Y-%m-%d %H:%M:%S} {attempt_text(event)}\n\n"
        if kept + len(text) > MOST_ERROR_BYTES:
            text += "More errors follow; they are left out here. All final ones are in failed_items.jsonl.\n"
        self._error_bytes[path] = kept + len(text)
        _append(path, text)

    def _finish(self, event: RunFinished) -> None:
        if self._progress is not None:
            self._tell_progress(self._progress)
        self._tell(event.time, str(event.summary.get("status", "Ended")))
        told = ending_text(event, self._output, with_traceback=False, how_to_go_on=self._how_to_go_on)
        _write(self._logs / "job_result.txt", f"{told}\n")
        if event.error:
            _write(self._logs / "job_error.txt", f"{event.error}\n\n{event.traceback or ''}".rstrip("\n") + "\n")
        else:
            (self._logs / "job_error.txt").unlink(missing_ok=True)  # of an earlier life of the run
        self._write_node_summary()

    def _write_node_summary(self) -> None:
        path = self._logs / "sys" / "job_report" / "node_summary.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [field.name for field in fields(_Work)]
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for _, work in sorted(self._work.items()):
                values = [getattr(work, name) for name in names]
                writer.writerow([f"{value:.3f}" if isinstance(value, float) else value for value in values])


def _append(path: Path, text: str) -> None:
    """Open, write, close: no file stays open for each of a thousand processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _file_name(name: str) -> str:
    """`name` as one part of a path. A node may be called by an address."""
    return re.sub(r"[^\w.-]|^\.+", "_", name)[:100] or "unknown"
