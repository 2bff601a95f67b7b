"""Waiting for the end of a worker on a host; ending it where its Dask worker does not come, or is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from daskbatch.cluster.arrivals import Arrivals
from daskbatch.cluster.ssh_process import Ending, RemoteWorker

__all__ = ["watch"]

_TICK = 1.0  # seconds between looks
_PATIENCE = 20.0  # seconds until a process whose worker is gone is ended itself, and as many until it is given up
_BEGIN_PATIENCE = 180.0  # seconds until a worker has come: it may read all its Python over a network


async def watch(worker: RemoteWorker, arrivals: Arrivals, has_come: Callable[[], None]) -> Ending:
    """Wait until the process has ended, however that is.

    Parameters
    ----------
    worker : RemoteWorker
        Its process has begun.
    arrivals : Arrivals
        Tells whether its Dask worker is there.
    has_come : callable
        Called when it is there for the first time.
    """
    ended = asyncio.ensure_future(worker.ended())
    missing_since, came, why = time.monotonic(), False, ""
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=_TICK)
            looked = arrivals.looked  # before what was seen: that is of then, or newer
            if worker.name in arrivals.came and not came:
                came, missing_since = True, time.monotonic()
                has_come()
            if not why and worker.name in arrivals.here:
                missing_since = time.monotonic()
            # While nobody looks, nobody knows whether it is missing.
            missing, patience = looked - missing_since, _PATIENCE if came else _BEGIN_PATIENCE
            if missing > patience:
                gone = f"was ended, as its Dask worker was gone for {_PATIENCE:g} s"
                why = why or (gone if came else f"does not begin within {_BEGIN_PATIENCE:g} s")
                worker.kill()
            if missing > patience + _PATIENCE:
                return Ending("does not end" if came else why, is_ours=True)
        ending = ended.result()
        return Ending(why, ending.status, is_ours=True) if why else ending
    finally:
        ended.cancel()
