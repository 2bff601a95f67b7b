"""Processes of a local cluster that end when their client is gone, however it went.

The scheduler and each nanny look after themselves: a client may die while only some of them are there.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import click
import dask
import distributed

__all__ = ["Nanny", "dask_setup", "nanny_options", "scheduler_options"]

_LOOK_EVERY = 1.0  # seconds
_PATIENCE = 10.0  # seconds that the scheduler gives the nannies


def scheduler_options(folder: str) -> dict[str, Any]:
    """Options of a Scheduler that is a child of this process and ends with it: this module is its preload.

    Parameters
    ----------
    folder : str
        Has the scheduler's file, and goes too when this process is gone: it is for credentials.
    """
    # What the user has configured stays: names, and for each its arguments, or one list of them for all.
    names = dask.config.get("distributed.scheduler.preload")
    names = [names] if isinstance(names, str) else list(names)
    arguments = list(dask.config.get("distributed.scheduler.preload-argv"))
    if not arguments or isinstance(arguments[0], str):
        arguments = [arguments] * len(names)
    return {
        "scheduler_file": os.path.join(folder, "scheduler.json"),  # nobody would clear the place that Dask chooses
        "preload": [*names, __name__],
        "preload_argv": [*arguments, [str(os.getpid()), folder]],
    }


def nanny_options(folder: str) -> dict[str, Any]:
    """Options of a `Nanny` that is a child of this process and ends with it; `folder` as for the scheduler."""
    return {"client": os.getpid(), "folder": folder}


@click.command()
@click.argument("client", type=int)
@click.argument("folder")
def dask_setup(scheduler: distributed.Scheduler, client: int, folder: str) -> None:
    """Dask calls this in the scheduler's process."""

    def let_workers_go() -> None:
        # A worker that loses its scheduler begins to close; killed in the middle of that it leaves files behind.
        give_up = time.monotonic() + _PATIENCE
        while scheduler.workers and time.monotonic() < give_up:
            time.sleep(_LOOK_EVERY / 10)

    # Dask reads what its scheduler says while that starts, and never again: a full pipe would stop it for ever.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _watch(client, folder, let_workers_go)


class Nanny(distributed.Nanny):
    """Ends with its client, and its worker too. Not by a preload, for Dask prints a line about each.

    Parameters
    ----------
    client : int
        Process id.
    folder : str
        Goes when the client is gone.
    """

    def __init__(self, *args: Any, client: int, folder: str, **options: Any) -> None:
        _watch(client, folder, self._kill_worker)  # first: without the credentials the rest fails, with a traceback
        super().__init__(*args, **options)

    def _kill_worker(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)


def _watch(client: int, folder: str, at_last: Callable[[], None]) -> None:
    """Survive the client by seconds at most. It is the parent of this process.

    That the parent has changed is never missed, nor seen too early, as the end of a process id that is looked up can
    be. From a thread, for an event loop may be stuck.
    """

    def look() -> None:
        while os.getppid() == client:
            time.sleep(_LOOK_EVERY)
        _end(folder, at_last)

    if os.getppid() != client:
        _end(folder, at_last)
    threading.Thread(target=look, name="daskbatch-client-watch", daemon=True).start()


def _end(folder: str, at_last: Callable[[], None]) -> None:
    """No orderly close: there is nobody whom it would serve, and user code may hold the worker."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        at_last()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
