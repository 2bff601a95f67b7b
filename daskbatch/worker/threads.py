"""Threads of the libraries in a runner: as many as its share of the cores.

Each would start one a core; with several runners on a host they would stand in each other's way.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import dask

__all__ = ["FOLLOWERS", "VARIABLES", "set_by_dask", "set_by_queue", "thread_variables"]

FOLLOWERS = ("BLIS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Where these are not set, ``OMP_NUM_THREADS`` counts for their libraries."""

VARIABLES = (
    "OMP_NUM_THREADS",  # OpenMP; the pool of Arrow; PyTorch
    *FOLLOWERS,
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",  # tokenizers
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What libraries read when they are imported."""

_PRE_SPAWN = "distributed.nanny.pre-spawn-environ"


def thread_variables(threads: int, environment: Mapping[str, str], not_users: Collection[str] = ()) -> dict[str, str]:
    """Variables that limit the threads; none that the user has set.

    >>> sorted(thread_variables(2, {name: "" for name in VARIABLES if name != "MKL_NUM_THREADS"}).items())
    [('MKL_NUM_THREADS', '2')]
    >>> "MKL_NUM_THREADS" in thread_variables(2, {"OMP_NUM_THREADS": "4"})
    False

    Parameters
    ----------
    threads : int
        Of one runner.
    environment : mapping
        What it would have.
    not_users : collection of str
        Of that, what others have set than the user.
    """
    users = {name for name in VARIABLES if name in environment and name not in not_users}
    if "OMP_NUM_THREADS" in users:
        users.update(FOLLOWERS)
    return {name: str(threads) for name in VARIABLES if name not in users}


def set_by_queue(environment: Mapping[str, str]) -> set[str]:
    """Of `VARIABLES`, what the batch queue has set: PBS gives ``OMP_NUM_THREADS`` the cores of the whole job."""
    cores = environment.get("NCPUS") if "PBS_JOBID" in environment else None
    return {"OMP_NUM_THREADS"} if cores and environment.get("OMP_NUM_THREADS") == cores else set()


def set_by_dask(environment: Mapping[str, str], nanny: bool, names: Collection[str] = VARIABLES) -> set[str]:
    """Of some variables, what Dask's nanny has set for its worker, and nobody before it.

    What a user's program sets after its start and before it makes its cluster cannot be told from Dask's own, if it is
    the same value: ``environment_variables`` can.

    Parameters
    ----------
    environment : mapping
        Of the worker.
    nanny : bool
        Whether the worker has one.
    names : collection of str
        The variables.
    """
    if not nanny:
        return set()
    dasks: dict[str, object] = {}
    for defaults in dask.config.defaults:
        dasks |= dask.config.get(_PRE_SPAWN, {}, config=dict(defaults))
    before = _environment_of(os.getppid())
    return {name for name in names if name not in before and environment.get(name) == str(dasks.get(name))}


def _environment_of(process: int) -> dict[str, str]:
    """What a process was started with. Empty where that cannot be known."""
    try:
        text = Path(f"/proc/{process}/environ").read_text(errors="surrogateescape")
    except OSError:
        return {}
    return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)
