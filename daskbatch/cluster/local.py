"""A cluster on this machine, in this process or in processes of its own."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import dask
from distributed import Client, LocalCluster, Scheduler, Worker, WorkerPlugin
from distributed.deploy.subprocess import SubprocessCluster
from distributed.security import Security

from daskbatch.cluster.credentials import write_credentials
from daskbatch.cluster.dashboard import guard_scheduler
from daskbatch.cluster.orphan import Nanny, nanny_options, scheduler_options
from daskbatch.cluster.quiet import quiet
from daskbatch.cluster.worker_config import OUR_CONFIG

__all__ = ["STARTING", "in_process", "in_processes"]

_CONNECT_TIMEOUT = 60.0  # seconds
# Dask's configuration and the environment variables are the whole process's, and its first cluster imports modules
# late: of several runs in one program, one starts at a time.
STARTING = threading.Lock()
_IN_PROCESS = {
    **OUR_CONFIG,
    "distributed.scheduler.worker-ttl": None,
    # Dask's tasks do nothing but wait here; the samples would grow all the time.
    "distributed.worker.profile.enabled": False,
}


@contextmanager
def in_process(slots: int, dashboard: bool) -> Iterator[Client]:
    """Scheduler and one worker in this process.

    No memory limit, for it would count the notebook's own memory; no worker-ttl, for a laptop that slept would
    wake up to a scheduler without workers. Nothing listens unless a dashboard is asked for: both HTTP servers
    exist in any case, so they are put on loopback and stopped.
    """
    with quiet(), ExitStack() as stack:
        with STARTING, dask.config.set(_IN_PROCESS):
            cluster = stack.enter_context(
                LocalCluster(
                    processes=False,
                    n_workers=1,
                    threads_per_worker=slots,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address="127.0.0.1:0",
                    silence_logs=False,
                )
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
        for worker in cluster.workers.values():
            worker.http_server.stop()
        if dashboard:
            guard_scheduler(client)
        else:
            cluster.scheduler.http_server.stop()
        yield client


@contextmanager
def in_processes(slots: int, dashboard: bool) -> Iterator[Client]:
    """Scheduler and workers as processes on loopback, over TLS with credentials that live as long as they do.

    Their HTTP servers, which speak no TLS, are stopped unless a dashboard is asked for. If this process is killed
    they end too, and the credentials go.

    Subprocesses and not `multiprocessing`: a user's script needs no ``__main__`` guard.
    """
    security = Security.temporary()
    with quiet(), tempfile.TemporaryDirectory(prefix="daskbatch-tls-") as folder:
        with _environment(_names(write_credentials(security, folder))):
            cluster = SubprocessCluster(
                host="127.0.0.1",
                n_workers=slots,
                threads_per_worker=1,
                security=security,
                dashboard_address="127.0.0.1:0",
                worker_class=f"{Nanny.__module__}.{Nanny.__qualname__}",
                worker_kwargs={"dashboard_address": "127.0.0.1:0", **nanny_options(folder)},
                scheduler_kwargs={"protocol": "tls://", **scheduler_options(folder)},
                silence_logs=logging.ERROR,
            )
        with cluster, Client(cluster, security=security, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=_CONNECT_TIMEOUT)
            client.register_plugin(_NoHttp())
            if dashboard:
                guard_scheduler(client)
            else:
                client.run_on_scheduler(_stop_http)
            yield client


class _NoHttp(WorkerPlugin):
    """Stops the HTTP server of each worker, of those that come later too."""

    name = "daskbatch-no-http"

    def setup(self, worker: Worker) -> None:
        worker.http_server.stop()


def _stop_http(dask_scheduler: Scheduler) -> None:
    dask_scheduler.http_server.stop()


def _names(paths: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that tell Dask's configuration of the credentials."""
    names = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    for attribute, path in paths.items():
        name = attribute.removeprefix("tls_").upper()
        names[f"DASK_DISTRIBUTED__COMM__TLS__{name if name == 'CA_FILE' else name.replace('_', '__')}"] = path
    return names


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that start within."""
    with STARTING:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
