"""What the tests know of a Slurm that runs: its jobs, and all processes that belong to it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["ENDED", "MARK", "Job", "SlurmServer"]

ENDED = (
    *(
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "TIMEOUT",
    ),
)
"""States that a job does not leave."""
MARK = "DASKBATCH_TEST_SLURM"
"""Variable of the daemons, and of what keeps a job for them, that tells whose they are."""


@dataclass(frozen=True, slots=True)
class Job:
    """What Slurm tells of a job."""

    number: int
    name: str
    state: str
    """Such as ``PENDING``, ``RUNNING`` or one of `ENDED`."""
    reason: str
    """Why it waits or how it ended, such as ``PartitionDown``; ``None`` where Slurm says so."""
    partition: str
    restarts: int
    """How often it was requeued."""
    fields: dict[str, str] = field(repr=False)
    """All that ``scontrol show job`` tells, such as ``ExitCode``, ``EndTime`` and ``StdOut``."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class SlurmServer:
    """A Slurm that runs."""

    folder: Path

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which Slurm's programs find it, in a test and in a job."""
        return {"SLURM_CONF": str(self.conf)}

    def do(self, *command: str) -> str:
        """Run one of Slurm's programs; what it prints."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def submit(self, script: str, *options: str) -> int:
        """Submit a shell script; the job's number. Its output goes to ``slurm-NUMBER.out`` in the server's folder."""
        path = self.folder / f"script-{time.monotonic_ns()}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        out = f"--output={self.folder}/slurm-%j.out"
        return int(self.do("sbatch", "--parsable", out, *options, str(path)).strip().split(";")[0])

    def output(self, number: int) -> str:
        """What a job of `submit` has printed so far."""
        return (self.folder / f"slurm-{number}.out").read_text()

    def jobs(self) -> list[Job]:
        """All jobs that Slurm remembers, ended ones for 5 minutes too; the oldest first."""
        text = self.do("scontrol", "--oneliner", "show", "job")
        lines = [line for line in text.splitlines() if line.startswith("JobId=")]
        return sorted(map(_job, lines), key=lambda job: job.number)

    def job(self, number: int) -> Job:
        return _job(self.do("scontrol", "--oneliner", "show", "job", str(number)).strip())

    def queue(self) -> list[Job]:
        """Jobs that wait, run or are ending: what ``squeue`` shows."""
        return [job for job in self.jobs() if not job.ended]

    def cancel(self, number: int, *options: str) -> None:
        """End a job as a user does: SIGTERM, and SIGKILL for what is left some seconds later."""
        self.do("scancel", *options, str(number))

    def kill(self, number: int | None = None) -> None:
        """SIGKILL to all processes of a job, or of any, its shell too. Slurm itself always sends SIGTERM first.

        To Slurm the job has FAILED, with ``ExitCode`` ``0:9``.
        """
        for process in self.processes_of(number):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def requeue(self, number: int) -> None:
        self.do("scontrol", "requeue", str(number))

    def wait_for(self, number: int, *states: str, timeout: float = 30.0) -> Job:
        """Wait until a job is in one of these states, or has ended where none is given.

        Raises
        ------
        TimeoutError
            With what Slurm tells of the job.
        """
        end = time.monotonic() + timeout
        while (job := self.job(number)).state not in (states or ENDED):
            if time.monotonic() > end:
                raise TimeoutError(f"job {number} is not {' or '.join(states or ENDED)} in {timeout:g} s: {job}")
            time.sleep(0.05)
        return job

    def wait_until_empty(self, timeout: float = 30.0) -> None:
        """Wait until no job waits, runs or is ending.

        Raises
        ------
        TimeoutError
            With the jobs that are left.
        """
        end = time.monotonic() + timeout
        while left := self.queue():
            if time.monotonic() > end:
                raise TimeoutError(f"jobs left in the queue after {timeout:g} s: {left}")
            time.sleep(0.05)

    def clear(self, timeout: float = 30.0) -> None:
        """Cancel all jobs and wait until they are gone."""
        for job in self.queue():
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self.cancel(job.number)
        self.wait_until_empty(timeout)

    def processes(self) -> set[psutil.Process]:
        """The daemons, and all processes of jobs, whoever their parents are."""
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                # slurmstepd writes its title over its environment; it stays in the daemons' folder.
                if process.name().startswith("slurm") and process.cwd() == str(self.folder):
                    found.update([process, *process.children(recursive=True)])
                elif self._is_of_job(process, None) or process.environ().get(MARK) == str(self.folder):
                    found.add(process)
        return found - {psutil.Process()}

    def _is_of_job(self, process: psutil.Process, number: int | None) -> bool:
        variables = process.environ()
        job = variables.get("SLURM_JOB_ID")
        return bool(job) and variables.get("SLURM_CONF") == str(self.conf) and number in (None, int(job))

    def processes_of(self, number: int | None = None) -> set[psutil.Process]:
        """What runs in a job, or in any: its shell and all that it started, whoever their parents are."""
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if self._is_of_job(process, number):
                    found.update([process, *process.children(recursive=True)])
        return found - {psutil.Process()}


def _job(line: str) -> Job:
    # Values may hold blanks; names never do.
    fields = dict(re.findall(r"(?:^|(?<= ))([A-Z][\w:/]*)=(.*?)(?= [A-Z][\w:/]*=|$)", line.strip()))
    return Job(
        number=int(fields["JobId"]),
        name=fields.get("JobName", ""),
        state=fields["JobState"],
        reason=fields.get("Reason", "None"),
        partition=fields.get("Partition", ""),
        restarts=int(fields.get("Restarts", 0)),
        fields=fields,
    )
