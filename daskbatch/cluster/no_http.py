"""A preload for Dask workers: they answer no HTTP at all.

Dask starts a worker's HTTP server and runs the first preload in one step of its event loop, so this one must come
first: then no request is ever answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["dask_setup"]


def dask_setup(worker: Worker) -> None:
    """Dask calls this in the worker's process."""
    worker.http_server.stop()
