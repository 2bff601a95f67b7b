"""The batch jobs of one run: each is one Dask worker. Submitted, watched, replaced, and none left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskbatch.cluster.supply import Happening
from daskbatch.queues.own_loop import in_own_loop

if TYPE_CHECKING:
    from pathlib import Path

    from dask_jobqueue.core import Job

    from daskbatch.queues.states import JobState

__all__ = ["Jobs"]

_TICK = 1.0  # seconds between looks at what is known here
_ASK_EVERY = 5.0  # seconds between questions to the queue, while jobs wait in it
_ASK_SELDOM = 30.0  # seconds, once they have waited for long
_LONG = 300.0
_PATIENCE = 20.0  # seconds until a job whose worker is gone is ended itself
_CLOSE_PATIENCE = 5.0  # seconds for workers to go by themselves
_USELESS = 3  # jobs in a row whose worker never came
_SUBMIT_TRIES = 5
_LOG_LINES = 20

Ask = Callable[[Sequence[str]], Mapping[str, "JobState"]]


@dataclass(eq=False)
class _Job:
    """One that was submitted."""

    name: str
    """Of its Dask worker."""
    job: Job
    submitted: float
    here: bool = False
    """Its worker has come."""
    missing_since: float | None = None
    leaving: bool = False
    """Its worker was asked to go: its walltime ends."""
    reason: str = ""
    """Why it waits, in the queue's words."""

    @property
    def id(self) -> str:
        """The queue's."""
        return str(self.job.job_id)


class Jobs:
    """Keep as many jobs as are wanted.

    Parameters
    ----------
    make : callable
        Gives a job that is not submitted yet, for a worker of that name.
    name : str
        What the names of workers begin with.
    count : int
        How many there should be.
    ask : callable
        Gives the states of jobs by their ids, as far as the queue tells; see `daskbatch.queues.states`.
    replacements : int
        How many jobs that ended before their time may be replaced.
    notes : Path
        File that lists the ids, for whoever has to clear up.
    logs : Path
        Folder of what jobs print.
    """

    word = "jobs"
    advice = "wait longer, or see with the queue's own commands when it would begin"

    def __init__(
        self,
        make: Callable[[str], Job],
        name: str,
        count: int,
        ask: Ask,
        replacements: int,
        notes: Path,
        logs: Path,
    ) -> None:
        self._make = make
        self._name = name
        self._count = count
        self._ask = ask
        self._replacements = replacements
        self._notes = notes
        self._logs = logs
        self._lock = threading.Lock()
        self._present: frozenset[str] = frozenset()
        self._leaving: set[str] = set()
        self._happenings: list[Happening] = []
        self._jobs: list[_Job] = []
        self._asked = 0.0
        self._useless = 0
        self._refused = 0
        self._gave_up = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="daskbatch-jobs", daemon=True)
        self.submitted = 0
        self.replaced = 0
        """Jobs that ended before their time."""
        self.left = 0
        """Jobs that were gone before their walltime had ended, and replaced too."""

    def start(self) -> None:
        """Submit the first job: what is wrong with it is known before anything else begins.

        Raises
        ------
        RuntimeError
            What the queue says.
        """
        self._submit()
        self._thread.start()

    # For the engine, from its thread

    def seen(self, workers: Collection[str]) -> None:
        """Tell which workers there are, by name."""
        with self._lock:
            self._present = frozenset(workers)

    def leave(self, worker: str) -> None:
        """A worker goes before its walltime ends: that is no loss, and another one is wanted."""
        with self._lock:
            self._leaving.add(worker)

    def happenings(self) -> list[Happening]:
        """What has happened since the last call."""
        with self._lock:
            happened, self._happenings = self._happenings, []
        return happened

    def reason(self) -> str:
        """Why workers are missing, in a sentence."""
        waiting = [job for job in list(self._jobs) if not job.here]
        if not waiting:
            return "all jobs have their workers"
        reasons = Counter(job.reason for job in waiting if job.reason)
        told = f": {', '.join(f'{reason} ({count})' for reason, count in reasons.most_common())}" if reasons else ""
        return f"{_jobs(len(waiting))} in the queue without a worker yet{told}"

    def counts(self) -> dict[str, int]:
        """For the summary."""
        return {"submitted": self.submitted, "replaced": self.replaced, "left_at_walltime": self.left}

    # The thread

    def _watch(self) -> None:
        while not self._over.wait(_TICK):
            try:
                self._look()
            except Exception as error:
                self._happen(Happening(f"looking at the queue failed: {type(error).__name__}: {error}"))
                self._over.wait(_ASK_EVERY)

    def _look(self) -> None:
        """One look: at workers that came or went, at the queue where that is due; submit what is missing."""
        now = time.monotonic()
        with self._lock:
            present, leaving = self._present, set(self._leaving)
        for job in self._jobs:
            job.leaving |= job.name in leaving
            if job.name in present:
                self._useless = 0
                job.here, job.missing_since, job.reason = True, None, ""
            elif job.here and job.missing_since is None:
                job.missing_since, self._asked = now, 0.0
        asked_for = [job for job in self._jobs if not job.here or job.missing_since is not None]
        if asked_for and now - self._asked >= self._pace(now):
            self._asked = now
            states = self._ask([job.id for job in asked_for])
            for job in asked_for:
                self._judge(job, states.get(job.id), now)
        while len(self._jobs) < self._count and not self._gave_up and not self._over.is_set():
            if not self._resubmit():
                break

    def _pace(self, now: float) -> float:
        """Seconds between two questions to the queue."""
        if any(job.missing_since is not None for job in self._jobs):
            return _TICK
        waits = max((now - job.submitted for job in self._jobs if not job.here), default=0.0)
        return _ASK_SELDOM if waits > _LONG else _ASK_EVERY

    def _judge(self, job: _Job, state: JobState | None, now: float) -> None:
        if state is not None and state.state == "pending":
            job.reason = state.reason
            if job.here:  # the user has it requeued: its worker will come back under the same name
                job.here, job.missing_since, job.submitted = False, None, now
                self._happen(Happening(f"job {job.id} was put back into the queue", job.name))
        elif state is not None and state.state == "ended":
            self._end(job, state.reason)
        elif job.missing_since is None:
            job.reason = "" if state is None else "it has begun, and its worker has not come yet"
        elif now - job.missing_since > _PATIENCE:
            self._cancel([job])
            self._end(job, "")

    def _end(self, job: _Job, how: str) -> None:
        """A job is over: tell of it; whether it is replaced is decided here too."""
        self._jobs.remove(job)
        if job.leaving:
            self.left += 1
            return
        outside = how in ("PREEMPTED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")
        self._useless += not job.here and not outside
        told = f"job {job.id} has ended ({how})" if how else f"the worker of job {job.id} is gone"
        if self._gave_up:
            self._give_up(f"{told}, and no other is submitted{self._said(job)}")
        elif self._useless >= _USELESS:
            self._give_up(f"{self._useless} jobs in a row have ended before their worker came; {told}{self._said(job)}")
        elif self.replaced >= self._replacements:
            self._give_up(
                f"{told}, and job_replacements={self._replacements} jobs were replaced before{self._said(job)}"
            )
        else:
            self.replaced += 1
            again = f"another one is submitted ({self.replaced} of job_replacements={self._replacements})"
            self._happen(Happening(f"{told}; {again}", job.name if job.here else "", blame=not outside))
            return
        self._happen(Happening(told, job.name if job.here else "", blame=not outside))

    def _said(self, job: _Job) -> str:
        """The end of what the job has printed."""
        for path in sorted(self._logs.glob(f"*{job.id}*"), reverse=True):
            with contextlib.suppress(OSError):
                lines = path.read_text(errors="replace").strip().splitlines()
                if lines:
                    return f". The end of {path}:\n" + "\n".join(lines[-_LOG_LINES:])
        return ""

    def _give_up(self, text: str) -> None:
        self._gave_up = True
        self._happen(Happening(text, fatal=not self._jobs))

    def _happen(self, happening: Happening) -> None:
        with self._lock:
            self._happenings.append(happening)

    # Submit and cancel

    def _resubmit(self) -> bool:
        try:
            self._submit()
        except RuntimeError as error:
            self._refused += 1
            self._happen(Happening(f"the queue refuses a job: {_last_line(error)}"))
            if self._refused >= _SUBMIT_TRIES:
                self._give_up(f"the queue has refused {self._refused} jobs; the last time: {error}")
            self._over.wait(_ASK_EVERY)
            return False
        self._refused = 0
        return True

    def _submit(self) -> None:
        self.submitted += 1
        name = f"{self._name}-{self.submitted}"
        job = self._make(name)
        in_own_loop(job.start())  # type: ignore[no-untyped-call]
        with self._notes.open("a") as file:
            file.write(f"{job.job_id}\n")
        self._jobs.append(_Job(name, job, time.monotonic()))

    def _cancel(self, jobs: Iterable[_Job]) -> None:
        async def cancel() -> None:
            await asyncio.gather(*(job.job.close() for job in jobs), return_exceptions=True)  # type: ignore[no-untyped-call]

        in_own_loop(cancel())

    def cancel_waiting(self) -> None:
        """The work is done: end the jobs whose workers have not come."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._cancel(job for job in self._jobs if not job.here)
        self._jobs = [job for job in self._jobs if job.here]

    def cancel_all(self) -> None:
        """The workers were told to go: end the jobs that are still there in a moment."""
        until = time.monotonic() + _CLOSE_PATIENCE
        while self._jobs and time.monotonic() < until:
            states = self._ask([job.id for job in self._jobs])
            self._jobs = [job for job in self._jobs if (state := states.get(job.id)) is None or state.state != "ended"]
            if not any(states.values()):
                break
            time.sleep(_TICK / 2 if self._jobs else 0)
        self._cancel(self._jobs)
        self._jobs = []


def _jobs(count: int) -> str:
    return f"{count} job is" if count == 1 else f"{count} jobs are"


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.endswith(":")]
    return lines[-1] if lines else str(error)
