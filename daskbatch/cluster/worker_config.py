"""What Dask is told in workers that are made for one run: jobs of a queue, and processes on hosts."""

from __future__ import annotations

__all__ = ["WORKER_CONFIG", "as_variables"]

WORKER_CONFIG: dict[str, object] = {
    # Nobody needs a page of a worker, and everybody on its host could read it.
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    # Dask keeps the last messages for its own debugging: ours are long.
    "distributed.admin.low-level-log-length": 0,
    "distributed.admin.tick.interval": "1s",
    "distributed.comm.require-encryption": True,
}


def as_variables() -> dict[str, str]:
    """The same as environment variables, which Dask reads as Python's literals."""
    names = {key: key.replace(".", "__").replace("-", "_").upper() for key in WORKER_CONFIG}
    return {f"DASK_{name}": repr(WORKER_CONFIG[key]) for key, name in names.items()}
