"""How a run is at this moment, for RunDetails to show: read from small files, whatever the run's size."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from daskbatch.api.documents import read_document
from daskbatch.api.pipeline_run import PipelineRun
from daskbatch.api.run_folder import ENDED, NOT_STARTED, RUNNING, PipelineFolder, read_state
from daskbatch.api.widget_files import FailedFile, Failure, LogEnd, LogFile, latest_file
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.heartbeat import LOST_AFTER, is_over, read_heartbeat
from daskbatch.engine.status import read_status
from daskbatch.errors import UsageError
from daskbatch.layout import LOGS, RUN_SUMMARY
from daskbatch.store.replay import has_ended

__all__ = ["EngineReader", "Picture", "PipelineReader", "Reader", "StepPicture"]

_LOST = "Lost"
_RATE_WINDOW = 15.0  # seconds: the rate of now, not of the start
_LOOK_FOR_LOGS = 5.0  # seconds between two looks at which log is the latest


@dataclass(frozen=True, slots=True)
class StepPicture:
    """A step, or a run of its own."""

    name: str
    state: str
    """As `StepRun.get_status`, or ``"Lost"``."""
    folder: Path
    reused: bool = False
    error: str = ""
    """Why it failed as a whole."""
    seconds: float | None = None
    """For which it has run."""
    phase: str = ""
    done: int | None = None
    """Mini-batches that have succeeded or finally failed."""
    total: int | None = None
    exact: bool = True
    """Whether `total` is known or estimated."""
    failed: int = 0
    """Mini-batches."""
    items: int = 0
    """Succeeded."""
    items_failed: int = 0
    retries: int = 0
    rate: float | None = None
    """Items per second, now or as a whole."""
    remaining: float | None = None
    """Estimated seconds left."""
    result: Path | None = None
    """The combined file of one that has ended."""
    failures: tuple[Failure, ...] = ()
    failed_file: Path | None = None
    logs: tuple[LogEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A run."""

    title: str
    state: str
    seconds: float | None
    error: str
    folder: Path
    steps: tuple[StepPicture, ...]
    logs: tuple[LogEnd, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in (*ENDED, _LOST)


class Reader(Protocol):
    """Reads a run again and again."""

    def read(self) -> Picture:
        """How it is now.

        Raises
        ------
        UsageError
            It is not there.
        """


class PipelineReader:
    """A pipeline's run, or one step of it.

    Parameters
    ----------
    run : PipelineRun
    only : str, optional
        Name of the step.
    """

    def __init__(self, run: PipelineRun, only: str | None = None) -> None:
        self._run, self._only = run, only
        self._folder = PipelineFolder(run.folder)
        self._log = LogFile()
        self._steps: dict[tuple[str, Path], _Engine] = {}

    def read(self) -> Picture:
        """See `Reader`."""
        state = read_state(self._folder)
        names = [name for name in state["steps"] if self._only in (None, name)]
        steps = tuple(self._step(name, state["steps"][name]) for name in names)
        log = self._log.read("coordinator", self._folder.log)
        title, status, whole = f"{self._run.experiment.name} / {self._run.id}", state["status"], state
        if self._only is not None:
            title, whole = f"{title} / {self._only}", state["steps"][self._only]
            if status not in ENDED or whole["status"] in ENDED:  # else it was never begun, and never will be
                status = whole["status"]
        return Picture(
            title=title,
            state=status,
            seconds=_between(whole["started"], whole["ended"]),
            error="" if whole["error"] is None else str(whole["error"]["message"]),
            folder=self._folder.path,
            steps=steps,
            logs=() if log is None else (log,),
        )

    def _step(self, name: str, state: Mapping[str, Any]) -> StepPicture:
        folder = self._folder.step(name)
        if state["reused"]:
            folder = self._run.workspace.folder / str(state["folder"])
        engine = self._steps.setdefault((name, folder), _Engine(folder))
        error = "" if state["error"] is None else str(state["error"]["message"])
        seconds = _between(state["started"], state["ended"])
        return engine.picture(name, state["status"], error=error, seconds=seconds, reused=bool(state["reused"]))


class EngineReader:
    """A run of `daskbatch.run`, by its output folder.

    Parameters
    ----------
    output : Path

    Raises
    ------
    UsageError
        There is no run in it.
    """

    def __init__(self, output: Path) -> None:
        self._output = output.absolute()
        self._folder = RunFolder(self._output)
        if not self._folder.latest_epoch():
            raise UsageError(f"There is no run in {str(output)!r}. Give the output folder of one.")
        self._engine = _Engine(self._output)
        self._beat: tuple[int, int, float] = (0, -1, 0.0)

    def read(self) -> Picture:
        """See `Reader`."""
        state, error, seconds = self._state()
        step = self._engine.picture(self._output.name, state, error=error, seconds=seconds)
        return Picture(str(self._output), state, step.seconds, error, self._output, (step,))

    def _state(self) -> tuple[str, str, float | None]:
        number = self._folder.latest_epoch()
        if has_ended(self._folder.ledger(number)):
            summary = read_document(self._output / RUN_SUMMARY) or {}
            error = summary.get("error") or {}
            if summary.get("epoch") == number:
                return str(summary["status"]), str(error.get("message", "")), None
            return read_status(self._folder).state, "", None  # the summary is another engine's, or could not be written
        beat = read_heartbeat(self._folder.heartbeat(number))
        if self._is_lost(number, beat):
            return _LOST, f"Its process is gone. Next: daskbatch resume {self._output}", None
        return RUNNING, "", None if beat is None else beat["seconds"]

    def _is_lost(self, number: int, beat: Mapping[str, Any] | None) -> bool:
        """By what is seen to stand still, as clocks of two hosts may differ by any time."""
        if beat is not None and is_over(dict(beat)):
            return not has_ended(self._folder.ledger(number))
        count = -1 if beat is None else int(beat["beat"])
        if self._beat[:2] != (number, count):
            self._beat = (number, count, time.monotonic())
        return time.monotonic() - self._beat[2] > LOST_AFTER


class _Engine:
    """The part of a picture that the engine's output folder tells."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failed = FailedFile(folder)
        self._overview, self._stderr = LogFile(), LogFile()
        self._recent: deque[tuple[float, int]] = deque()
        self._looked = float("-inf")
        self._paths: list[tuple[str, LogFile, Path | None]] = []

    def picture(self, name: str, state: str, *, error: str, seconds: float | None, reused: bool = False) -> StepPicture:
        """How it is now.

        Parameters
        ----------
        state : str
            What is known of it otherwise; an engine that has ended may be followed by work that takes time.
        seconds : float or None
            For which it has run, where that is known otherwise.
        """
        about: dict[str, Any] = {}
        if state == RUNNING:
            about = self._running()
        elif state != NOT_STARTED:
            about = self._ended()
        about["seconds"] = about.pop("seconds", None) if seconds is None else seconds
        if state == NOT_STARTED:
            return StepPicture(name, state, self._folder, **about)
        failures = self._failed.read()
        return StepPicture(
            name=name,
            state=state,
            folder=self._folder,
            reused=reused,
            error=error,
            failures=failures,
            failed_file=self._failed.path if failures else None,
            logs=self._logs(state),
            **about,
        )

    def _running(self) -> dict[str, Any]:
        folder = RunFolder(self._folder)
        number = folder.latest_epoch()
        beat = read_heartbeat(folder.heartbeat(number)) if number else None
        if beat is None:  # it has only begun, or has ended just now
            return self._ended() or {"phase": "starting"}
        now = beat["progress"]
        if now is None:
            return {"phase": "planning"}
        return {
            "phase": "combining results" if beat["phase"] == "combine" else "",
            "done": now["mini_batches_done"],
            "total": now["mini_batches_total"],
            "exact": now["total_is_exact"],
            "failed": now["mini_batches_failed"],
            "items": max(0, now["items_done"] - now["items_failed"]),
            "items_failed": now["items_failed"],
            "retries": now["retries"],
            "rate": self._rate(now["elapsed"], now["items_done"]),
            "remaining": now["remaining"],
        }

    def _rate(self, elapsed: float, items: int) -> float | None:
        if not self._recent or self._recent[-1][0] != elapsed:
            self._recent.append((elapsed, items))
        while len(self._recent) > 2 and elapsed - self._recent[0][0] > _RATE_WINDOW:
            self._recent.popleft()
        since, before = self._recent[0] if len(self._recent) > 1 else (0.0, 0)
        return (items - before) / (elapsed - since) if elapsed > since else None

    def _ended(self) -> dict[str, Any]:
        summary = read_document(self._folder / RUN_SUMMARY)
        if summary is None:
            return {}
        batches, items = summary.get("mini_batches") or {}, summary.get("items") or {}
        seconds = summary.get("seconds")
        output = summary.get("output") or {}
        return {
            "done": (batches.get("succeeded") or 0) + (batches.get("failed") or 0),
            "total": batches.get("total"),
            "failed": batches.get("failed") or 0,
            "items": items.get("succeeded") or 0,
            "items_failed": items.get("failed") or 0,
            "rate": (items.get("total") or 0) / seconds if seconds else None,
            "seconds": seconds,
            "result": self._folder / output["name"] if output.get("name") else None,
        }

    def _logs(self, state: str) -> tuple[LogEnd, ...]:
        if state != RUNNING or time.monotonic() - self._looked > _LOOK_FOR_LOGS:
            self._looked = time.monotonic()
            overviews = sorted((self._folder / LOGS).glob("job_progress_overview.*.txt"))
            self._paths = [
                ("progress", self._overview, overviews[-1] if overviews else None),
                ("stderr", self._stderr, latest_file(self._folder, "stderr")),
            ]
        ends = [log.read(name, path) for name, log, path in self._paths]
        return tuple(end for end in ends if end is not None)


def _between(started: str | None, ended: str | None) -> float | None:
    """Seconds from a moment to another, or to now."""
    if started is None:
        return None
    until = dt.datetime.now(dt.UTC) if ended is None else dt.datetime.fromisoformat(ended)
    return max(0.0, (until - dt.datetime.fromisoformat(started)).total_seconds())
