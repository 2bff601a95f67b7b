"""What Dask is told where it is ours: everywhere, and in workers of one run, jobs of a queue or processes on hosts."""

from __future__ import annotations

__all__ = ["OUR_CONFIG", "WORKER_CONFIG", "as_variables"]

OUR_CONFIG: dict[str, object] = {
    # Dask keeps the last messages for its own debugging: ours are long, and within a process they are all kept.
    "distributed.admin.low-level-log-length": 0,
    # How long the loop takes for a turn is of no use to anybody, and by itself it asks fifty times a second.
    "distributed.admin.tick.interval": "1s",
}

WORKER_CONFIG: dict[str, object] = {
    **OUR_CONFIG,
    # Nobody needs a page of a worker, and everybody on its host could read it.
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.comm.require-encryption": True,
}


def as_variables() -> dict[str, str]:
    """The same as environment variables, which Dask reads as Python's literals."""
    names = {key: key.replace(".", "__").replace("-", "_").upper() for key in WORKER_CONFIG}
    return {f"DASK_{name}": repr(WORKER_CONFIG[key]) for key, name in names.items()}
