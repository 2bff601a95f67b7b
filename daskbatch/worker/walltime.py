"""When the batch job of a Dask worker ends, and what still fits before that."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

__all__ = ["JOB_START_VARIABLE", "WALLTIME_VARIABLE", "Walltime", "end_of_job", "walltime_of"]

JOB_START_VARIABLE = "DASKBATCH_JOB_START"
"""Seconds since 1970 at which the job's script began, set by the script."""

WALLTIME_VARIABLE = "DASKBATCH_JOB_WALLTIME"
"""Seconds that the job may take, set by the script: not every queue tells."""

_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID", "LSB_JOBID", "OAR_JOB_ID", "_CONDOR_SCRATCH_DIR")
"""Variables of Slurm, PBS, SGE, LSF, OAR and HTCondor: each has set one of them in its jobs."""

_RESERVE = 0.02  # of the walltime
_LEAST_RESERVE, _MOST_RESERVE = 3.0, 30.0  # seconds
_LONGER = 1.5  # a mini-batch may take that much longer than the longest before
_WHOLE = 0.8  # of a slot's time: a mini-batch that had so much of it would not fit into another job either


def walltime_of(environment: Mapping[str, str], lifetime: float | None = None) -> Walltime | None:
    """The walltime of the batch job that this process runs in; None outside of one.

    Parameters
    ----------
    environment : mapping
        Of the Dask worker.
    lifetime : float, optional
        Seconds, from the start of the process: ``dask worker --lifetime``.
    """
    if not lifetime and not any(name in environment for name in (JOB_START_VARIABLE, *_JOBS)):
        return None
    return Walltime(end_of_job(environment, lifetime))


def end_of_job(environment: Mapping[str, str], lifetime: float | None = None) -> float:
    """When this process will be ended, in seconds since 1970; infinite where nothing tells.

    The first of: Slurm's ``SLURM_JOB_END_TIME``; what the job's script has set; ``PBS_WALLTIME``; the Dask worker's
    own lifetime.

    Parameters
    ----------
    environment : mapping
        Of the Dask worker.
    lifetime : float, optional
        Seconds.
    """
    import psutil

    began = psutil.Process().create_time()
    job_began = _number(environment, JOB_START_VARIABLE, began)
    return min(
        _number(environment, "SLURM_JOB_END_TIME"),
        job_began + _number(environment, WALLTIME_VARIABLE),
        job_began + _number(environment, "PBS_WALLTIME"),
        began + (lifetime or math.inf),
    )


def _number(environment: Mapping[str, str], name: str, otherwise: float = math.inf) -> float:
    try:
        return float(environment[name])
    except (KeyError, ValueError):
        return otherwise


class Walltime:
    """The time that a worker has left.

    Parameters
    ----------
    end : float
        Of its job, in seconds since 1970; see `end_of_job`.
    """

    def __init__(self, end: float) -> None:
        self.whole = end - time.time()
        """Seconds that there were."""
        reserve = min(max(_LEAST_RESERVE, _RESERVE * self.whole), _MOST_RESERVE)
        # Clocks are set: what is left is measured by one that is not.
        self._until = time.monotonic() + self.whole - reserve
        self.longest = 0.0
        """Seconds of the longest mini-batch here so far."""

    @property
    def left(self) -> float:
        """Seconds until results must be safe; infinite where the end is not known."""
        return self._until - time.monotonic()

    @property
    def fits(self) -> bool:
        """Whether another mini-batch may begin: one somewhat longer than any before would end in time."""
        return self.left > _LONGER * self.longest

    def learn(self, seconds: float) -> None:
        """A mini-batch took so long."""
        self.longest = max(self.longest, seconds)

    @staticmethod
    def had_all(seconds: float, ready: float) -> bool:
        """Whether a mini-batch that was cut after so long could not have ended in another such job either.

        Parameters
        ----------
        seconds : float
        ready : float
            Seconds since the slot was ready for its first one.
        """
        return seconds > _WHOLE * ready
