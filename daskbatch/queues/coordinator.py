"""The job of a run's coordinator: small, and put back into the queue when it is killed or its walltime ends."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daskbatch.errors import UsageError
from daskbatch.layout import COORDINATOR_VARIABLE
from daskbatch.queues.job import job_of, walltime_seconds

if TYPE_CHECKING:
    from dask_jobqueue.core import Job

    from daskbatch.spec import Compute

__all__ = ["coordinator_job"]

_MEMORY = "2GB"
_WARNING = 120.0  # seconds before the end of the walltime that Slurm warns, and that part of it at most
_PART = 0.25
_LEFT_OUT = ("cores", "memory", "job_cpu", "job_mem", "job_extra_directives", "resource_spec", "worker_extra_args")
"""Keywords of the workers' jobs: a coordinator needs no GPUs, and one core."""

_SCRIPT = """\
near=
trap 'near=1; kill -TERM "$child" 2>/dev/null' USR1
trap 'near=; kill -TERM "$child" 2>/dev/null' TERM INT
lives=0
while [ "$((lives += 1))" -le {lives} ]; do
    {command} &
    child=$!
    wait "$child"; code=$?
    while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
    # Killed, and not this job with it: it goes on where it was.
    [ "$code" -eq 137 ] || break
done
{again}exit "$code"
"""

_LIVES = 20

_AGAIN = """\
if [ -n "$near" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 1000 ]; then
    # The walltime ends: back into the queue.
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
"""


def coordinator_job(compute: Compute, output: str, log: str, variables: Sequence[str] = ()) -> Job:
    """A job that is not submitted yet, which goes on with the run in `output`.

    Parameters
    ----------
    compute : Compute
        The target of the workers; its key ``coordinator`` says what is otherwise for this job.
    output : str
        Folder or URL.
    log : str
        File that the coordinator's words are appended to.
    variables : sequence of str
        Names of environment variables that it is to have from who submits it. Their values are not in its script, which
        others may read.

    Raises
    ------
    UsageError
        What the target says makes no job, or the queue hands no variables on.
    """
    keywords = {key: value for key, value in compute.keywords.items() if key not in _LEFT_OUT}
    own: Mapping[str, Any] = keywords.pop("coordinator", None) or {}
    keywords = {"cores": 1, "memory": _MEMORY, "job_name": "daskbatch-coordinator", **keywords, **own}
    slurm = compute.type == "slurm"
    if slurm:
        warning = min(_WARNING, _PART * (walltime_seconds(replace(compute, keywords=keywords)) or math.inf))
        keywords["job_extra_directives"] = [
            *(own.get("job_extra_directives") or ()),
            "--requeue",
            "--open-mode=append",
            f"--signal=B:USR1@{warning:.0f}",
            f'--output="{log}"',
            f'--error="{log}"',
        ]
    elif variables:
        _hand_on(variables, compute, keywords)
    job = job_of(
        replace(compute, keywords=keywords),
        "coordinator",
        scheduler="",
        threads=1,
        tls={},
        log_directory=None,
        environment={},
    )
    command = f"{COORDINATOR_VARIABLE}=1 " + shlex.join([sys.executable, "-m", "daskbatch", "resume", output])
    if not slurm:
        command += f" >> {shlex.quote(log)} 2>&1"
    job._command_template = _SCRIPT.format(command=command, lives=_LIVES, again=_AGAIN if slurm else "")
    return job


def _hand_on(variables: Sequence[str], compute: Compute, keywords: dict[str, Any]) -> None:
    """Have the queue take variables over from who submits. Slurm and LSF do so by themselves."""
    names = ",".join(variables)
    given = keywords.get("job_extra_directives")
    if compute.type in ("pbs", "moab", "sge"):
        keywords["job_extra_directives"] = [*(given or ()), f"-v {names}"]
    elif compute.type == "htcondor":
        keywords["job_extra_directives"] = {**(given or {}), "getenv": names}
    elif compute.type == "oar":
        raise UsageError(
            f"compute={compute.name!r} is of type oar, which hands no environment on to a job, and values of"
            " environment_variables are in no file. Next: daskbatch run in the place of submit, or set them in"
            " job_script_prologue"
        )
