"""Where a run's workers come from: this machine, a Dask cluster, a batch queue with what its jobs ask for, or hosts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.options.compute_secrets import is_secret, tells_secret
from daskbatch.options.compute_ssh import KEYS, check_ssh
from daskbatch.options.scheduler import TLS
from daskbatch.options.values import choice, seconds, whole_number
from daskbatch.queues.job import OURS, QUEUES, job_class, walltime_seconds
from daskbatch.spec import Compute

__all__ = ["COMPUTES", "DEFINED", "check_min_nodes", "parse_compute"]

COMPUTES = ("local", "serial")
"""What needs no definition."""

DEFINED = ("node_count", "process_count_per_node", "min_nodes", "min_nodes_timeout", "job_replacements", "dashboard")
"""Options of a run that a definition may give; what the run itself is given wins."""

_DASK = ("scheduler", "insecure", *TLS)
_OF_DASK_JOBQUEUE = ("protocol", "security", "scheduler", "name", "processes", "nanny", "worker_command")
"""Keywords of a job that are ours to give: one job is one worker without a nanny, over TLS."""
_OF_THE_WORKER = {
    *("--name", "--nanny", "--no-nanny", "--nthreads", "--nworkers", "--protocol"),
    *("--tls-ca-file", "--tls-cert", "--tls-key"),
}
"""Its options that are ours too."""
_LISTS = (
    *("job_extra_directives", "job_script_prologue", "worker_extra_args", "job_directives_skip"),
    *("submit_command_extra", "cancel_command_extra"),
)
_OLD_LISTS = ("job_extra", "env_extra", "extra", "header_skip")
"""The same by the names that dask-jobqueue had for them before."""
_MAPPINGS = ("coordinator", "scheduler_options")
_SWITCHES = ("use_stdin",)
_SIZE = re.compile(r"\d+(\.\d+)?\s*([kmgt]i?)?b?", re.IGNORECASE)
_ENDLESS = ("infinite", "unlimited")
"""Walltimes of Slurm."""


def parse_compute(value: object, scheduler: object = None) -> tuple[Compute, dict[str, Any]]:
    """Read ``compute``.

    Parameters
    ----------
    value : str or mapping
        ``"local"``, ``"serial"``, or a definition: ``type`` and keywords.
    scheduler : object
        The option of that name; it makes no sense with all types.

    Returns
    -------
    compute : Compute
    options : dict
        What the definition says of other options of the run: some of `DEFINED`, and of the scheduler.

    Raises
    ------
    UsageError
        It is neither, or something in it is wrong.
    """
    if not isinstance(value, Mapping):
        made, options = Compute(choice("compute", value, COMPUTES)), dict[str, Any]()
    else:
        made, options = _defined(value)
    if scheduler is not None and made.type != "local":
        raise UsageError(
            f"compute {made.name or made.type!r} uses no scheduler that is there already, got scheduler {scheduler!r}."
            " Leave one of them out."
        )
    return made, options


def check_min_nodes(compute: Compute, min_nodes: int, node_count: int | None) -> int:
    """``min_nodes``, where so many jobs or hosts are asked for.

    Raises
    ------
    UsageError
        The work would never begin; there are no jobs or hosts.
    """
    if min_nodes > 1 and not compute.brings_workers:
        raise UsageError(
            f"min_nodes must be 1 where neither a batch queue nor hosts are given: a run begins with what is there, got"
            f" {min_nodes} with compute={compute.type!r}. Next: leave it out; node_count says on how many nodes of a"
            " Dask cluster to work."
        )
    wanted = node_count or compute.default_node_count
    if compute.brings_workers and min_nodes > wanted:
        there = "hosts" if compute.is_ssh else "jobs"
        raise UsageError(
            f"min_nodes must be at most node_count={wanted}, the {there} there are, got {min_nodes}. Next:"
            " give a greater node_count."
        )
    return min_nodes


def _defined(value: Mapping[Any, Any]) -> tuple[Compute, dict[str, Any]]:
    content = {str(key).replace("-", "_"): given for key, given in value.items()}
    name = str(content.pop("name", "") or "")
    what = f"compute {name!r}" if name else "compute"
    kind = choice(f"type of {what}", content.pop("type", None), (*COMPUTES, "dask", "ssh", *QUEUES))
    options = {key: given for key in DEFINED if (given := content.pop(key, None)) is not None}
    _check_options(what, options)
    if kind == "dask":
        _check_names(what, kind, content, _DASK)
        if "scheduler" not in content:
            raise UsageError(f"{what} of type dask must have scheduler: an address such as tls://host:8786, or a file.")
        return Compute("local", name), options | content
    if kind in COMPUTES:
        _check_names(what, kind, content, ())
        return Compute(kind), options
    made = Compute(kind, name, content)
    if made.is_ssh:
        _check_names(what, kind, content, KEYS)
        check_ssh(what, content)
        return made, options
    _check_names(what, kind, content, _keywords(made))
    _check_values(what, made)
    return made, options


def _keywords(compute: Compute) -> list[str]:
    """What a job of this queue takes."""
    names = set(OURS)
    for kind in job_class(compute).__mro__:
        if "__init__" in vars(kind):
            names |= set(inspect.signature(kind).parameters)
    return sorted(names - {"self", "args", "kwargs", "base_class_kwargs", *_OF_DASK_JOBQUEUE})


def _check_names(
    what: str, kind: str, content: Mapping[str, Any], allowed: Sequence[str], options: Sequence[str] = DEFINED
) -> None:
    known = sorted({*allowed, *options})
    for key in content:
        if key in _OF_DASK_JOBQUEUE and kind in QUEUES:
            raise UsageError(
                f"{what} of type {kind} must not give {key}: each job is one Dask worker, without a nanny, over TLS."
                " Its threads are the slots, see process_count_per_node."
            )
        if key not in known:
            raise UsageError(
                f"{what} of type {kind} has no key {key!r}.{nearest(key, known)} Allowed: {', '.join(known)}."
            )


def _check_values(what: str, compute: Compute) -> None:
    for key, given in compute.keywords.items():
        _check_no_secret(what, key, given)
        if given is not None:
            _check_shape(what, key, given, compute.type)
    coordinator = compute.keywords.get("coordinator")
    if coordinator is not None:
        allowed = [name for name in _keywords(compute) if name not in OURS]
        _check_names(f"coordinator of {what}", compute.type, coordinator, allowed, options=())
        _check_values(f"coordinator of {what}", Compute(compute.type, compute.name, coordinator))
    cores = compute.keywords.get("cores")
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int) or cores < 1):
        raise UsageError(f"{what}: cores must be a whole number from 1, got {cores!r}.")
    memory = compute.keywords.get("memory")
    if memory is not None and not _SIZE.fullmatch(str(memory).strip()):
        raise UsageError(f"{what}: memory must be a size such as 8GB, got {memory!r}.")
    _check_walltime(what, compute)


def _check_no_secret(what: str, key: str, given: object) -> None:
    """In the text of a job's script. What a message shows is the key alone."""
    if is_secret(key) or tells_secret(given):
        raise UsageError(
            f"{what}: {key} seems to hold a password, key or token, and a job's script can be read by others. Next:"
            " have the job read it from a file of yours."
        )


def _check_shape(what: str, key: str, given: object, kind: str) -> None:
    """Whether it is a list, a mapping, or one text or number: what dask-jobqueue writes into a script as it comes."""
    if key in _MAPPINGS:
        if not isinstance(given, Mapping):
            raise UsageError(f"{what}: {key} must be a mapping of keys, got {given!r}.")
    elif kind == "htcondor" and key in ("job_extra_directives", "job_extra"):
        if not isinstance(given, Mapping):
            raise UsageError(f"{what}: {key} must be a mapping such as {{'+Project': 'x'}}, got {given!r}.")
    elif key in (*_LISTS, *_OLD_LISTS):
        if not (isinstance(given, list) and all(isinstance(part, str) for part in given)):
            raise UsageError(f"{what}: {key} must be a list of texts, got {given!r}.")
        if key in ("worker_extra_args", "extra"):
            _check_worker_options(what, key, given)
    elif key in _SWITCHES:
        if not isinstance(given, bool):
            raise UsageError(f"{what}: {key} must be true or false, got {given!r}.")
    elif isinstance(given, bool) or not isinstance(given, (str, int, float)):
        raise UsageError(f"{what}: {key} must be one text or number, got {given!r}.")


def _check_worker_options(what: str, key: str, given: Sequence[str]) -> None:
    for word in " ".join(given).split():
        name = word.partition("=")[0]
        if name in _OF_THE_WORKER:
            raise UsageError(
                f"{what}: {key} must not give {name}: each job is one Dask worker, without a nanny, over TLS. Its"
                " threads are the slots, see process_count_per_node."
            )


def _check_options(what: str, options: Mapping[str, Any]) -> None:
    for key, given in options.items():
        name = f"{what}: {key}"
        if key == "min_nodes_timeout":
            seconds(name, given)
        elif key != "dashboard":
            whole_number(name, given, 0 if key == "job_replacements" else 1)
        elif not isinstance(given, bool):
            raise UsageError(f"{name} must be true or false, got {given!r}.")


def _check_walltime(what: str, compute: Compute) -> None:
    given = compute.keywords.get("walltime")
    endless = compute.type == "slurm" and str(given).strip().lower() in (*_ENDLESS, "0")
    # Of 1:30:00 YAML makes 5400, which is minutes to Slurm and hours to OAR.
    mistaken = not isinstance(given, str) and compute.type in ("slurm", "oar")
    if given is not None and (mistaken or (walltime_seconds(compute) is None and not endless)):
        raise UsageError(
            f"{what}: walltime must be a text such as '01:30:00', got {given!r}. YAML reads 1:30:00 without quotes as a"
            " number. Next: put it in quotes."
        )
