"""A cluster of batch jobs: the scheduler here, over TLS, and one Dask worker in each job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client
from distributed.security import Security

from daskbatch.cluster.credentials import write_credentials
from daskbatch.cluster.dashboard import guard_scheduler
from daskbatch.cluster.jobs import Jobs
from daskbatch.cluster.own_scheduler import own_scheduler
from daskbatch.cluster.private_folder import JOBS, private_folder
from daskbatch.cluster.quiet import quiet, quiet_scheduler
from daskbatch.cluster.worker_config import as_variables
from daskbatch.errors import UsageError
from daskbatch.queues.job import cancel_command, job_of
from daskbatch.queues.states import states_of

if TYPE_CHECKING:
    from daskbatch.spec import Compute, RunSpec

__all__ = ["on_queue"]


@contextmanager
def on_queue(spec: RunSpec, compute: Compute, logs: Path) -> Iterator[tuple[Client, Jobs]]:
    """A Client, and the jobs of its workers, for the time of the run. No job is left in the queue.

    Parameters
    ----------
    spec : RunSpec
    compute : Compute
        The queue.
    logs : Path
        Where jobs print, unless the output is on a store, of which a queue knows nothing.

    Raises
    ------
    UsageError
        The queue refuses the first job, or is not there.
    """
    security = Security.temporary()
    with quiet(), quiet_scheduler(), ExitStack() as stack:
        shared = compute.keywords.get("shared_temp_directory")
        folder = stack.enter_context(private_folder(spec.output, shared, cancel_command(compute)))
        paths = write_credentials(security, str(folder))
        if "://" in spec.output:
            logs = folder / "logs"
        cluster = own_scheduler(security, _scheduler_options(compute), spec.dashboard)
        jobs = Jobs(
            partial(
                job_of,
                compute,
                scheduler=cluster.scheduler_address,
                threads=spec.process_count_per_node,
                tls={"ca_file": paths["tls_ca_file"], "cert": paths["tls_worker_cert"], "key": paths["tls_worker_key"]},
                log_directory=str(logs),
                environment=as_variables(),
            ),
            f"daskbatch-{folder.name[-8:]}",
            spec.node_count or 1,
            partial(states_of, compute.type),
            spec.job_replacements,
            folder / JOBS,
            logs,
        )
        # In this order: jobs that wait, then the scheduler, which tells the workers to go, then what is left.
        stack.callback(jobs.cancel_all)
        stack.enter_context(cluster)
        stack.callback(jobs.cancel_waiting)
        try:
            jobs.start()
        except (RuntimeError, OSError, ValueError) as error:
            raise UsageError(f"the first job for compute={compute.name!r} was not taken: {error}") from error
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        if spec.dashboard:
            guard_scheduler(client)
        yield client, jobs


def _scheduler_options(compute: Compute) -> dict[str, Any]:
    own = dict(compute.keywords.get("scheduler_options") or {})
    if "host" not in own and "interface" not in own:
        own["interface"] = compute.keywords.get("interface") or _configured(compute, "interface")
    return own


def _configured(compute: Compute, name: str) -> Any:
    section = compute.keywords.get("config_name") or compute.type
    return dask.config.get(f"jobqueue.{section}.{name}", None)
