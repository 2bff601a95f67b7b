"""Begins a run whose coordinator needs neither the terminal nor the program that has begun it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

from daskbatch.api.compute_definition import with_definition
from daskbatch.api.inputs import resolve_inputs
from daskbatch.engine.owner import this_process
from daskbatch.engine.submission import (
    LOCAL,
    Submission,
    forget_submission,
    read_submission,
    state_of,
    write_submission,
)
from daskbatch.errors import UsageError
from daskbatch.layout import COORDINATOR_LOG, COORDINATOR_VARIABLE, LOGS, STATE_FOLDER, VARIABLES_VARIABLE
from daskbatch.options import check_output, make_spec
from daskbatch.options.names import RunOptions
from daskbatch.options.output import check_unused
from daskbatch.options.restore import options_from, stored_options
from daskbatch.options.scheduler import refuse_open_scheduler
from daskbatch.queues.coordinator import coordinator_job
from daskbatch.queues.job import cancel_command
from daskbatch.queues.own_loop import in_own_loop
from daskbatch.spec import RunSpec

__all__ = ["Submitted", "submit"]

_Path = str | os.PathLike[str]
Inputs = _Path | Sequence[_Path] | Mapping[str, _Path | Sequence[_Path]]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was handed over."""

    run_id: str
    output: str
    """Folder or URL: all that `daskbatch.status`, `daskbatch.cancel` and the commands need."""
    job: str
    """Who does it, such as ``"job 12 of slurm"``."""
    log: Path
    """File with what that says; below the output folder, or in the home folder where the output is on a store."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    """Where it is a process of this host."""


def submit(
    entry: object,
    inputs: Inputs,
    *,
    output: str | os.PathLike[str],
    **options: Unpack[RunOptions],
) -> Submitted:
    """Begin a run and return at once.

    With a batch queue as ``compute`` its coordinator is a small job of that queue, which on Slurm goes on by itself
    when it was killed or put back; else it is a process of its own on this host. A run that was stopped and is in the
    output folder goes on.

    Parameters
    ----------
    entry, inputs, output
        As of `daskbatch.run`; `entry` is a script, and `inputs` are files.
    **options
        As of `daskbatch.run`.

    Returns
    -------
    Submitted

    Raises
    ------
    UsageError
        As of `daskbatch.run`; the queue refuses the job; a coordinator is there already.
    """
    given, collection = resolve_inputs(inputs, options)
    if collection is not None:
        raise UsageError("submit reads files: a Dask dataframe lives in this program. Use daskbatch.run.")
    spec = make_spec(entry, given, output=output, **with_definition(options))
    stored = stored_options(spec)
    options_from(stored)  # it can be begun from a file
    earlier = read_submission(spec.output)
    if earlier is not None:
        state = state_of(earlier)
        if state is not None and state.state != "ended":
            raise UsageError(
                f"The run in {spec.output!r} is being done already: {earlier.text} is {state.state}. Next: daskbatch"
                f" status {spec.output}, or daskbatch cancel {spec.output}."
            )
    elif "://" not in spec.output and not Path(spec.output, STATE_FOLDER).exists():
        check_unused(spec.output, spec.append_row_file_name, lambda name: Path(spec.output, name).exists())
    refuse_open_scheduler(spec)
    check_output(spec)
    run_id = earlier.run_id if earlier else f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
    command = cancel_command(spec.compute) if spec.compute.is_queue else ""
    made = Submission(run_id, spec.compute.type if spec.compute.is_queue else LOCAL, "", command, stored)
    write_submission(spec.output, made)
    log = _log(spec.output)
    try:
        job, process = _begin(spec, log)
        made = replace(made, job=job, owner=None if process is None else this_process(process.pid))
    except BaseException:
        if earlier is None:
            forget_submission(spec.output)
        else:
            write_submission(spec.output, earlier)
        raise
    write_submission(spec.output, made)
    return Submitted(run_id, spec.output, made.text, log, process)


def _begin(spec: RunSpec, log: Path) -> tuple[str, subprocess.Popen[bytes] | None]:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)  # with a dashboard its secret link is in there
    variables = {VARIABLES_VARIABLE: json.dumps(dict(spec.environment_variables))} if spec.environment_variables else {}
    if spec.compute.is_queue:
        job = coordinator_job(spec.compute, spec.output, str(log), list(variables))
        try:
            with _environment(variables):
                in_own_loop(job.start())  # type: ignore[no-untyped-call]
        except (RuntimeError, OSError, ValueError) as error:
            raise UsageError(
                f"the coordinator's job for compute={spec.compute.name!r} was not taken: {error}"
            ) from error
        return str(job.job_id), None
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "daskbatch", "resume", spec.output],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **variables, COORDINATOR_VARIABLE: "1"},
            start_new_session=True,
        )
    # Else it would stay as a zombie until this process ends, and look as if it ran.
    threading.Thread(target=process.wait, name="daskbatch-coordinator-wait", daemon=True).start()
    return str(process.pid), process


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """What the job inherits: a job's script can be read by others."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)


def _log(output: str) -> Path:
    if "://" in output:
        return Path.home() / ".daskbatch" / "logs" / f"{secrets.token_hex(8)}.txt"
    return Path(output) / LOGS / COORDINATOR_LOG
