"""Where the Dask workers come from: this process, a cluster that is there already, a batch queue, or hosts over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daskbatch.cluster import existing
from daskbatch.cluster.local import in_process, in_processes
from daskbatch.errors import UsageError
from daskbatch.spec import RunSpec
from daskbatch.worker.cores import usable_cores

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from daskbatch.cluster.supply import Supply

__all__ = ["connect"]


@contextmanager
def connect(
    spec: RunSpec, client: Client | None, has_dask_graph: bool, logs: Path
) -> Iterator[tuple[Client, Supply | None]]:
    """A connected Client for the time of the run, and the jobs of its workers where it has any.

    Parameters
    ----------
    spec : RunSpec
    client : Client or None
        The user's own: used as it is, and never closed.
    has_dask_graph : bool
        The input is a Dask collection: its tasks are the user's code and get processes of their own.
    logs : Path
        Where jobs of a queue print.

    Raises
    ------
    UsageError
        No scheduler answers at ``spec.scheduler``; an asynchronous Client was given; the queue takes no job.
    """
    if client is not None:
        if client.asynchronous:
            raise UsageError(
                "client must be a synchronous Client, got one with asynchronous=True. Create it with Client(...) "
                "outside of a coroutine."
            )
        yield client, None
        return
    slots = spec.process_count_per_node or usable_cores()
    if spec.compute.is_queue:
        from daskbatch.cluster.on_queue import on_queue

        with on_queue(spec, spec.compute, logs) as both:
            yield both
    elif spec.compute.is_ssh:
        from daskbatch.cluster.over_ssh import over_ssh

        with over_ssh(spec, spec.compute, logs) as both:
            yield both
    elif spec.scheduler is not None:
        with existing.existing(spec, spec.scheduler) as ours:
            yield ours, None
    elif has_dask_graph:
        with in_processes(slots, spec.dashboard) as ours:
            yield ours, None
    else:
        with in_process(slots, spec.dashboard) as ours:
            yield ours, None
