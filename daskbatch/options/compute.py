"""Where a run's workers come from: this machine, a Dask cluster, or a batch queue with what its jobs ask for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.options.scheduler import TLS
from daskbatch.options.values import choice
from daskbatch.queues.job import OURS, QUEUES, job_class, walltime_seconds
from daskbatch.spec import Compute

__all__ = ["COMPUTES", "DEFINED", "parse_compute"]

COMPUTES = ("local", "serial")
"""What needs no definition."""

DEFINED = ("node_count", "process_count_per_node", "min_nodes", "min_nodes_timeout", "job_replacements", "dashboard")
"""Options of a run that a definition may give; what the run itself is given wins."""

_DASK = ("scheduler", "insecure", *TLS)
_OF_DASK_JOBQUEUE = ("protocol", "security", "scheduler", "name", "processes", "nanny")
"""Keywords of a job that are ours to give: one job is one worker without a nanny, over TLS."""
_SECRET = re.compile(r"password|passwd|secret|token|credential|api_?key|access_?key", re.IGNORECASE)
_ASSIGNED = re.compile(rf"(?:{_SECRET.pattern})\w*\s*=\s*[^\s$]", re.IGNORECASE)


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


def _defined(value: Mapping[Any, Any]) -> tuple[Compute, dict[str, Any]]:
    content = {str(key).replace("-", "_"): given for key, given in value.items()}
    name = str(content.pop("name", "") or "")
    what = f"compute {name!r}" if name else "compute"
    kind = choice(f"type of {what}", content.pop("type", None), (*COMPUTES, "dask", *QUEUES))
    options = {key: content.pop(key) for key in DEFINED if key in content}
    if kind == "dask":
        _check_names(what, kind, content, _DASK)
        if "scheduler" not in content:
            raise UsageError(f"{what} of type dask must have scheduler: an address such as tls://host:8786, or a file.")
        return Compute("local", name), options | content
    if kind in COMPUTES:
        _check_names(what, kind, content, ())
        return Compute(kind), options
    made = Compute(kind, name, content)
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


def _check_names(what: str, kind: str, content: Mapping[str, Any], allowed: list[str] | tuple[str, ...]) -> None:
    known = sorted({*allowed, *DEFINED})
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
        texts = given if isinstance(given, list) else given.values() if isinstance(given, Mapping) else [given]
        if any(_ASSIGNED.search(text) for text in texts if isinstance(text, str)) or _SECRET.search(key):
            raise UsageError(
                f"{what}: {key} seems to hold a password, key or token, and a job's script can be read by others. Next:"
                " have the job read it from a file of yours."
            )
        for part in ("job_extra_directives", "job_script_prologue", "worker_extra_args", "job_directives_skip"):
            if key == part and not isinstance(given, list) and not (isinstance(given, Mapping) and "extra" in key):
                raise UsageError(f"{what}: {key} must be a list, got {given!r}.")
    cores = compute.keywords.get("cores")
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int) or cores < 1):
        raise UsageError(f"{what}: cores must be a whole number from 1, got {cores!r}.")
    memory = compute.keywords.get("memory")
    if memory is not None and not re.fullmatch(r"\d+(\.\d+)?\s*([kmgt]i?)?b?", str(memory).strip(), re.IGNORECASE):
        raise UsageError(f"{what}: memory must be a size such as 8GB, got {memory!r}.")
    if compute.keywords.get("walltime") is not None and walltime_seconds(compute) is None:
        raise UsageError(
            f"{what}: walltime must be a text such as '01:30:00', got {compute.keywords['walltime']!r}. YAML reads"
            " 1:30:00 without quotes as a number."
        )
