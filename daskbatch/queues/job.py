"""Jobs of batch queues, as dask-jobqueue writes and submits them: one Dask worker each."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

OURS = ("coordinator", "scheduler_options", "shared_temp_directory")
"""Keywords of a target that are not the job's own."""

NO_HTTP = "daskbatch.cluster.no_http"
"""Preload of workers."""

_DEATH_TIMEOUT = 60  # seconds that a worker looks for a scheduler


def job_class(compute: Compute) -> type[Job]:
    """dask-jobqueue's class.

    Raises
    ------
    UsageError
        dask-jobqueue is not installed.
    """
    try:
        with _signals_as_they_are():
            from dask_jobqueue import htcondor, lsf, moab, oar, pbs, sge, slurm
    except ImportError:
        raise UsageError(
            f"compute={compute.name!r} is of type {compute.type}, which needs dask-jobqueue. Next: pip install"
            " dask-jobqueue"
        ) from None
    modules = {"htcondor": htcondor, "lsf": lsf, "moab": moab, "oar": oar, "pbs": pbs, "sge": sge, "slurm": slurm}
    found: type[Job] = getattr(modules[compute.type], QUEUES[compute.type])
    return found


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """dask-jobqueue 0.9 sets a handler of SIGINT when it is imported: Ctrl-C is ours, and threads may set none."""
    set_handler = signal.signal
    signal.signal = lambda number, _handler: signal.getsignal(number)  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = set_handler


def cancel_command(compute: Compute) -> str:
    """The command that ends a job whose id follows."""
    command = str(job_class(compute).cancel_command)
    given = compute.keywords.get("cancel_command_extra") or _configured(
        compute, compute.keywords, "cancel-command-extra"
    )
    return " ".join([command, *map(shlex.quote, given or [])])


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
    extra = _list(compute, given, "worker_extra_args", "extra")
    prologue = _list(compute, given, "job_script_prologue", "env_extra")
    for option, path in tls.items():
        extra += [f"--tls-{option.replace('_', '-')}", shlex.quote(path)]
    if tls:
        extra += ["--protocol", "tls"]
    # First of the preloads, so that no page is ever answered; the option replaces what the configuration says.
    preload = [NO_HTTP, *_configured_preloads()]
    extra = [part for name_ in preload for part in ("--preload", name_)] + extra
    extra += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    if threads is not None:
        extra += ["--nthreads", str(threads)]  # the last one counts
    if compute.type == "slurm":
        directives = _list(compute, given, "job_extra_directives", "job_extra")
        if not any("requeue" in directive for directive in directives):
            directives.append("--no-requeue")  # its worker would look for a scheduler that is gone by then
        given["job_extra_directives"] = directives
    defaults = {
        "job_name": "daskbatch",
        "log_directory": log_directory,
        "python": _configured(compute, given, "python") or shlex.quote(sys.executable),
        "death_timeout": _configured(compute, given, "death-timeout") or _DEATH_TIMEOUT,
    }
    try:
        job = made(
            scheduler,
            name=name,
            **{**defaults, **given},
            cores=cores,
            worker_command="distributed.cli.dask_worker",
            processes=1,
            nanny=False,
            worker_extra_args=extra,
            job_script_prologue=[*_exports(compute, environment), *prologue],
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"compute={compute.name!r}: {error}") from error
    if compute.type in ("slurm", "lsf") and re.search(r"\s", str(job.log_directory)):
        # Both split what follows an option, as a shell does, and refuse the rest.
        job.job_header = re.sub(r"^(#\w+ -[eo] )(.+)$", r'\1"\2"', str(job.job_header), flags=re.MULTILINE)
    return job


def _exports(compute: Compute, environment: Mapping[str, str]) -> list[str]:
    # A file of HTCondor has macros of its own, which look like the shell's newer form.
    now = "`date +%s`" if compute.type == "htcondor" else "$(date +%s)"
    lines = [f"export {JOB_START_VARIABLE}={now}"]
    walltime = walltime_seconds(compute)
    if walltime is not None:
        lines.append(f"export {WALLTIME_VARIABLE}={walltime:.0f}")
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


def _list(compute: Compute, given: dict[str, Any], name: str, old_name: str) -> list[str]:
    """Take a list out of what is given, else from the configuration. dask-jobqueue knows it by an older name too."""
    own = [given.pop(name, None), given.pop(old_name, None)]
    configured = [_configured(compute, given, key.replace("_", "-")) for key in (name, old_name)]
    return list(next((found for found in (*own, *configured) if found), []))


def _configured_preloads() -> list[str]:
    import dask

    names = dask.config.get("distributed.worker.preload", [])
    return [names] if isinstance(names, str) else list(names)


def _configured(compute: Compute, given: Mapping[str, Any], name: str) -> Any:
    """What the user's ``jobqueue.yaml`` says."""
    import dask

    return dask.config.get(f"jobqueue.{given.get('config_name') or compute.type}.{name}", None)


def walltime_seconds(compute: Compute) -> float | None:
    """The walltime of a target's jobs; None where it has none, or none that can be read.

    Each queue writes it in its own way: ``5`` is minutes for Slurm and LSF, hours for OAR, else seconds; ``1:30`` is
    hours and minutes for LSF and OAR, else minutes and seconds.
    """
    given = compute.keywords.get("walltime") or _configured(compute, compute.keywords, "walltime")
    days, _, clock = str(given).strip().rpartition("-")
    if compute.type == "lsf":
        clock = clock.partition("/")[0]  # of a host whose speed it is for
    if not re.fullmatch(r"\d+(:\d*){0,3}", clock) or not re.fullmatch(r"\d*", days):
        return None
    parts = [int(part or 0) for part in clock.split(":")]
    units = _units(compute.type, len(parts), bool(days))
    if len(parts) > len(units):
        return None
    seconds = 86400 * int(days or 0) + sum(part * unit for part, unit in zip(parts, units, strict=False))
    return None if seconds == 0 and compute.type == "slurm" else float(seconds)  # Slurm's 0 is no limit


def _units(kind: str, count: int, days: bool) -> tuple[int, ...]:
    """Seconds of each part of a walltime."""
    if days:
        return (3600, 60, 1) if kind == "slurm" else ()
    if kind == "oar":
        return (3600, 60, 1)
    if kind == "lsf" or (kind == "slurm" and count == 1):
        return (3600, 60)[-count:]
    return ((86400, 3600, 60, 1) if kind == "moab" else (3600, 60, 1))[-count:]
