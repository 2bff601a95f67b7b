"""Before a run on workers that are not ours: can each of them do it?"""

from __future__ import annotations

import os
import platform
import tempfile
import uuid
from typing import TYPE_CHECKING, Any

import daskbatch
from daskbatch.errors import UsageError
from daskbatch.layout import STATE_FOLDER
from daskbatch.plan import Plan, read_plan
from daskbatch.plan_listing import Storage, is_object
from daskbatch.spec import RunSpec

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ask_workers"]

_WORKERS_TIMEOUT = 60.0


def ask_workers(client: Client, spec: RunSpec, plan: Plan) -> None:
    """Ask each worker for its version, the output folder, the script and the first input.

    Raises
    ------
    UsageError
        Naming the worker and what it cannot do.
    """
    try:
        client.wait_for_workers(1, timeout=_WORKERS_TIMEOUT)
    except TimeoutError:
        raise UsageError(
            f"the Dask cluster has no worker after {_WORKERS_TIMEOUT:g} s. Start workers or scale it, then run again."
        ) from None
    token = os.path.join(spec.output, STATE_FOLDER, "plan.jsonl")
    first = [] if plan.format == "arrow" else list(next(read_plan(plan)).paths[:1])
    # Where a command starts the interpreter, it alone knows what the path means.
    program = spec.command_prefix[0] if spec.command_prefix else spec.python
    script = spec.entry.script if spec.entry.source_directory is None else None  # of that they get a copy
    readable = [path for path in (script, program, *first) if path is not None and not is_object(path)]
    objects = [path for path in first if is_object(path)]
    if not os.path.exists(token):
        token = spec.output
    where = (spec.output, spec.output_storage_options, spec.script_output, token)
    answers = client.run(_ask, *where, readable, objects, spec.input.storage_options, on_error="return")
    for worker, answer in answers.items():
        if isinstance(answer, ModuleNotFoundError):
            raise UsageError(
                f"worker {worker} has no module {answer.name!r}. Install daskbatch {daskbatch.__version__} there: the "
                "workers run the same version as the client."
            )
        if isinstance(answer, OSError):
            continue  # it is gone by now: `_ask` itself raises none
        if isinstance(answer, BaseException):
            raise UsageError(f"worker {worker} cannot be used: {type(answer).__name__}: {answer}")
        _judge(worker, answer, spec)


def _judge(worker: str, answer: dict[str, Any], spec: RunSpec) -> None:
    if answer["daskbatch"] != daskbatch.__version__:
        raise UsageError(
            f"worker {worker} has daskbatch {answer['daskbatch']}, this is {daskbatch.__version__}. Install the same "
            "version."
        )
    python = ".".join(platform.python_version_tuple()[:2])
    if spec.entry.pickled is not None and answer["python"] != python:
        raise UsageError(
            f"worker {worker} runs Python {answer['python']}, this is {python}: a function or class cannot travel "
            "between them. Put it into an entry script, or use the same Python."
        )
    if answer["problem"]:
        raise UsageError(
            f"worker {worker} {answer['problem']}. Client and workers must see the same files: use folders on a shared "
            "filesystem."
        )


def _ask(
    output: str,
    output_storage: Storage,
    script_output: str | None,
    token: str,
    readable: list[str],
    objects: list[str],
    storage: Storage,
) -> dict[str, Any]:
    """Runs on each worker."""
    problem = ""
    try:
        if is_object(output):
            problem = _cannot_put(output, output_storage)
        else:
            os.stat(token)
            # Among what is swept up: the worker may die here.
            mark = os.path.join(output, STATE_FOLDER, f"ask-{os.getpid()}.tmp")
            with open(mark, "w"):
                pass
            os.unlink(mark)
        if script_output is not None and not is_object(script_output):
            with tempfile.TemporaryFile(dir=script_output):
                pass
        for path in readable:
            with open(path, "rb"):
                pass
        for url in objects:
            problem = problem or _cannot_fetch(url, storage)
    except OSError as error:
        problem = f"cannot use {error.filename!r}: {error.strerror}"
    python = ".".join(platform.python_version_tuple()[:2])
    return {"daskbatch": daskbatch.__version__, "python": python, "problem": problem}


def _cannot_put(url: str, storage: Storage) -> str:
    """Why this worker, with its own credentials, cannot write below a URL; empty where it can."""
    from daskbatch.remote.errors import StorageError
    from daskbatch.remote.put import delete, put_bytes
    from daskbatch.remote.retrying import AT_START
    from daskbatch.remote.urls import join

    mark = join(url, STATE_FOLDER, f"ask-{uuid.uuid4().hex}")
    try:
        put_bytes(mark, b"daskbatch", storage, AT_START)
        delete(mark, storage, AT_START)
    except (StorageError, UsageError) as error:
        return f"cannot write the output: {error}"
    return ""


def _cannot_fetch(url: str, storage: Storage) -> str:
    """Why this worker, with its own credentials, cannot read an object; empty where it can."""
    from daskbatch.remote.errors import StorageError
    from daskbatch.remote.fetch import read_range
    from daskbatch.remote.retrying import AT_START

    try:
        read_range(url, 0, 1, storage, limit=AT_START)
    except (StorageError, UsageError) as error:
        return f"cannot read the input: {error}"
    return ""
