"""Where the Dask workers come from: this process, or a cluster that is already there."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster, Scheduler, Worker, WorkerPlugin
from distributed.deploy.subprocess import SubprocessCluster
from distributed.security import Security

from daskbatch.cluster_orphan import Nanny, nanny_options, scheduler_options
from daskbatch.errors import UsageError
from daskbatch.spec import RunSpec

__all__ = ["connect", "usable_cores"]

_CONNECT_TIMEOUT = 10.0
# Dask's configuration and the environment variables are the whole process's, and its first cluster imports modules
# late: of several runs in one program, one starts at a time.
_STARTING = threading.Lock()
_IN_PROCESS = {
    "distributed.scheduler.worker-ttl": None,
    # Dask's tasks do nothing but wait here; the samples would grow all the time.
    "distributed.worker.profile.enabled": False,
    # Dask keeps the last messages for its own debugging: ours are long, and within a process they are all kept.
    "distributed.admin.low-level-log-length": 0,
}


def usable_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


@contextmanager
def connect(spec: RunSpec, client: Client | None, has_dask_graph: bool) -> Iterator[Client]:
    """A connected Client for the time of the run.

    Parameters
    ----------
    spec : RunSpec
    client : Client or None
        The user's own: used as it is, and never closed.
    has_dask_graph : bool
        The input is a Dask collection: its tasks are the user's code and get processes of their own.

    Raises
    ------
    UsageError
        No scheduler answers at ``spec.scheduler``; an asynchronous Client was given.
    """
    if client is not None:
        if client.asynchronous:
            raise UsageError(
                "client must be a synchronous Client, got one with asynchronous=True. Create it with Client(...) "
                "outside of a coroutine."
            )
        yield client
        return
    slots = spec.process_count_per_node or usable_cores()
    if spec.scheduler is not None:
        with _existing(spec.scheduler) as ours:
            yield ours
    elif has_dask_graph:
        with _processes(slots, spec.dashboard) as ours:
            yield ours
    else:
        with _in_process(slots, spec.dashboard) as ours:
            yield ours


@contextmanager
def _existing(scheduler: str) -> Iterator[Client]:
    is_file = Path(scheduler).is_file()
    try:
        client = Client(
            scheduler_file=scheduler if is_file else None,
            address=None if is_file else scheduler,
            timeout=_CONNECT_TIMEOUT,
            set_as_default=False,
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at scheduler={scheduler!r} within {_CONNECT_TIMEOUT:g} s ({error}). "
            "Give an address such as tls://host:8786 or the path of a scheduler file."
        ) from error
    with client:
        yield client


@contextmanager
def _in_process(slots: int, dashboard: bool) -> Iterator[Client]:
    """Scheduler and one worker in this process.

    No memory limit, for it would count the notebook's own memory; no worker-ttl, for a laptop that slept would
    wake up to a scheduler without workers. Nothing listens unless a dashboard is asked for: both HTTP servers
    exist in any case, so they are put on loopback and stopped.
    """
    with _quiet(), ExitStack() as stack:
        with _STARTING, dask.config.set(_IN_PROCESS):
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
        if not dashboard:
            cluster.scheduler.http_server.stop()
        yield client


class _Quiet:
    """Holds Dask's logger at errors while any cluster of ours is there, whichever of them ends first.

    Closing the comms of runners' threads is Dask's work; its warnings about that are not for our users.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, logging.NOTSET

    @contextmanager
    def __call__(self) -> Iterator[None]:
        logger = logging.getLogger("distributed")
        with self._lock:
            if self._inside == 0:
                self._before = logger.level
                logger.setLevel(logging.ERROR)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    logger.setLevel(self._before)


_quiet = _Quiet()


@contextmanager
def _processes(slots: int, dashboard: bool) -> Iterator[Client]:
    """Scheduler and workers as processes on loopback, over TLS with credentials that live as long as they do.

    Their HTTP servers, which speak no TLS, are stopped unless a dashboard is asked for. If this process is killed
    they end too, and the credentials go.

    Subprocesses and not `multiprocessing`: a user's script needs no ``__main__`` guard.
    """
    security = Security.temporary()
    with _quiet(), tempfile.TemporaryDirectory(prefix="daskbatch-tls-") as folder:
        with _environment(_credentials(security, folder)):
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
            client.wait_for_workers(1, timeout=_CONNECT_TIMEOUT * 6)
            client.register_plugin(_NoHttp())
            if not dashboard:
                client.run_on_scheduler(_stop_http)
            yield client


class _NoHttp(WorkerPlugin):
    """Stops the HTTP server of each worker, of those that come later too."""

    name = "daskbatch-no-http"

    def setup(self, worker: Worker) -> None:
        worker.http_server.stop()


def _stop_http(dask_scheduler: Scheduler) -> None:
    dask_scheduler.http_server.stop()


def _credentials(security: Security, folder: str) -> dict[str, str]:
    """Write the credentials where only this user reads them; name them as Dask's configuration does."""
    names = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    for name, attribute in (
        ("CA_FILE", "tls_ca_file"),
        *(
            (f"{role.upper()}__{part.upper()}", f"tls_{role}_{part}")
            for role in ("scheduler", "worker", "client")
            for part in ("cert", "key")
        ),
    ):
        path = Path(folder, name.lower())
        path.touch(mode=0o600)
        path.write_text(getattr(security, attribute))
        names[f"DASK_DISTRIBUTED__COMM__TLS__{name}"] = str(path)
    return names


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that start within."""
    with _STARTING:
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
