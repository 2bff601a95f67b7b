"""How many cores, and which, this process may use: of its host, its control group and its batch job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["bound_cpus", "job_cores", "quota_cores", "usable_cores"]

_ROOT = Path("/")
_OTHER_QUEUES = ("NCPUS", "PBS_NP", "NSLOTS", "LSB_DJOB_NUMPROC")
"""Variables of PBS, Torque, SGE and LSF: a job's cores on its host."""

_OTHER_JOBS = ("PBS_JOBID", "JOB_ID", "LSB_JOBID")


def usable_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Cores that this process may use; at least 1.

    Those that the kernel lets it run on and gives it time of. A batch job may hold the process to nothing, as Slurm
    does with ``TaskPlugin=task/none``: then what the job was given counts.
    """
    host = os.cpu_count() or 1
    bound = bound_cpus()
    cores = len(bound) or host
    if not bound:
        cores = min(cores, job_cores(environment) or cores)
    return max(1, min(cores, int(quota_cores() or cores)))


def bound_cpus() -> tuple[int, ...]:
    """Numbers of the CPUs that this process is held to, in order; empty where it may run on any of the host's."""
    try:
        cpus = os.sched_getaffinity(0)
    except AttributeError:  # macOS
        return ()
    return tuple(sorted(cpus)) if len(cpus) < (os.cpu_count() or 1) else ()


def job_cores(environment: Mapping[str, str]) -> int | None:
    """Cores that a batch job says it has on this host, for this process; None outside of one.

    >>> job_cores({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "64"})
    4
    """
    if "SLURM_JOB_ID" in environment:
        # The script of a job of several tasks has the cores of all; each task has its own.
        one = environment.get("SLURM_NTASKS", "1") == "1" or "SLURM_STEP_ID" in environment
        names: tuple[str, ...] = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
        names = names if one else names[1:]
    elif any(name in environment for name in _OTHER_JOBS):
        names = _OTHER_QUEUES
    else:
        return None
    told = (environment.get(name, "") for name in names)
    return next((int(text) for text in told if text.isdecimal() and int(text)), None)


def quota_cores(root: Path = _ROOT) -> float | None:
    """Cores' worth of time that the control groups of this process let it have; None where they do not say.

    The least of its own group's and those above it, of either version of control groups.

    Parameters
    ----------
    root : Path
        Of the filesystem.
    """
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.strip("/")
        while True:
            if (quota := _quota(group)) is not None:
                yield quota
            if group == mount or mount not in group.parents:
                break
            group = group.parent


def _quota(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max"; or no such file
        return None
