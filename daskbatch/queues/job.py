"""Jobs of batch queues, as dask-jobqueue writes and submits them: one Dask worker each."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daskbatch.errors import UsageError
from daskbatch.worker.walltime import JOB_START_VARIABLE, WALLTIME_VARIABLE

if TYPE_CHECKING:
    from dask_jobqueue.core import Job

    from daskbatch.spec import Compute

__all__ = ["OURS", "QUEUES", "cancel_command", "job_class", "job_of", "walltime_seconds"]

QUEUES = {
    "htcondor": "HTCondorJob",
    "lsf": "LSFJob",
    "moab": "MoabJob",
    "oar": "OARJob",
    "pbs": "PBSJob",
    "sge": "SGEJob",
    "slurm": "SLURMJob",
}
"""Type of a compute target to the name of dask-jobqueue's class."""

OURS = ("scheduler_options", "shared_temp_directory")
"""Keywords of a target that are not the job's own."""

_DEATH_TIMEOUT = 60  # seconds that a worker looks for a scheduler


def job_class(compute: Compute) -> type[Job]:
    """dask-jobqueue's class.

    Raises
    ------
    UsageError
        dask-jobqueue is not installed.
    """
    try:
        from dask_jobqueue import htcondor, lsf, moab, oar, pbs, sge, slurm
    except ImportError:
        raise UsageError(
            f"compute={compute.name!r} is of type {compute.type}, which needs dask-jobqueue. Next: pip install"
            " 'daskbatch[hpc]'"
        ) from None
    modules = {"htcondor": htcondor, "lsf": lsf, "moab": moab, "oar": oar, "pbs": pbs, "sge": sge, "slurm": slurm}
    found: type[Job] = getattr(modules[compute.type], QUEUES[compute.type])
    return found


def cancel_command(compute: Compute) -> str:
    """The command that ends a job whose id follows."""
    return str(job_class(compute).cancel_command)


def job_of(
    compute: Compute,
    name: str,
    *,
    scheduler: str,
    threads: int | None,
    tls: Mapping[str, str],
    log_directory: str | None,
    environment: Mapping[str, str],
) -> Job:
    """A job that is not submitted yet.

    What the target does not say is as the user's own ``jobqueue.yaml`` has it.

    Parameters
    ----------
    compute : Compute
    name : str
        Of its Dask worker.
    scheduler : str
        Address.
    threads : int or None
        Of the worker; None: the job's cores.
    tls : mapping
        ``ca_file``, ``cert`` and ``key``: paths. Empty: no TLS.
    log_directory : str or None
        Where the job prints, unless the target says so.
    environment : mapping
        Variables of the worker. No secrets: they stand in the job's script.

    Raises
    ------
    UsageError
        What the target says makes no job.
    """
    made = job_class(compute)
    given = {key: value for key, value in compute.keywords.items() if key not in OURS}
    cores = given.pop("cores", None) or _configured(compute, given, "cores") or threads
    if cores is None:
        raise UsageError(
            f"compute={compute.name!r}: how many cores has a job? Next: add cores: to it, or give"
            " process_count_per_node"
        )
    if not (given.get("memory") or _configured(compute, given, "memory")):
        raise UsageError(f"compute={compute.name!r}: how much memory has a job? Next: add memory: 8GB, say, to it")
    extra = list(given.pop("worker_extra_args", None) or _configured(compute, given, "worker-extra-args") or [])
    prologue = list(given.pop("job_script_prologue", None) or _configured(compute, given, "job-script-prologue") or [])
    for option, path in tls.items():
        extra += [f"--tls-{option.replace('_', '-')}", shlex.quote(path)]
    if tls:
        extra += ["--protocol", "tls"]
    extra += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    if threads is not None:
        extra += ["--nthreads", str(threads)]  # the last one counts
    if compute.type == "slurm":
        directives = list(given.pop("job_extra_directives", None) or _directives(compute, given))
        if not any("requeue" in directive for directive in directives):
            directives.append("--no-requeue")  # its worker would look for a scheduler that is gone by then
        given["job_extra_directives"] = directives
    defaults = {
        "job_name": "daskbatch",
        "log_directory": log_directory,
        "python": sys.executable,
        "death_timeout": _DEATH_TIMEOUT,
    }
    try:
        return made(
            scheduler,
            name=name,
            **{**defaults, **given},
            cores=cores,
            processes=1,
            nanny=False,
            worker_extra_args=extra,
            job_script_prologue=[*_exports(compute, environment), *prologue],
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"compute={compute.name!r}: {error}") from error


def _exports(compute: Compute, environment: Mapping[str, str]) -> list[str]:
    lines = [f"export {JOB_START_VARIABLE}=$(date +%s)"]
    walltime = walltime_seconds(compute)
    if walltime is not None:
        lines.append(f"export {WALLTIME_VARIABLE}={walltime:.0f}")
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


def _directives(compute: Compute, given: Mapping[str, Any]) -> list[str]:
    return _configured(compute, given, "job-extra-directives") or _configured(compute, given, "job-extra") or []


def _configured(compute: Compute, given: Mapping[str, Any], name: str) -> Any:
    """What the user's ``jobqueue.yaml`` says."""
    import dask

    return dask.config.get(f"jobqueue.{given.get('config_name') or compute.type}.{name}", None)


def walltime_seconds(compute: Compute) -> float | None:
    """The walltime of a target's jobs; None where it has none, or none that can be read.

    Each queue writes it in its own way: Slurm's ``5`` and LSF's ``5`` are minutes, PBS's are seconds.
    """
    given = compute.keywords.get("walltime") or _configured(compute, compute.keywords, "walltime")
    if given is None:
        return None
    days, _, clock = str(given).strip().rpartition("-")
    if not re.fullmatch(r"\d+(:\d+){0,3}", clock) or not re.fullmatch(r"\d*", days):
        return None
    parts = [int(part) for part in clock.split(":")]
    if days:  # D-HH[:MM[:SS]]
        parts = [int(days), *parts, 0, 0][:4]
    elif compute.type == "lsf" or (compute.type == "slurm" and len(parts) == 1):  # [HH:]MM
        parts.append(0)
    seconds = 0
    for part, unit in zip(reversed(parts), (1, 60, 3600, 86400), strict=False):
        seconds += part * unit
    return float(seconds)
