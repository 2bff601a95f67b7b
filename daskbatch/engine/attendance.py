"""Who is there to do a run's work: workers that come, go, are lost or leave, and the wait for the first ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from daskbatch.engine.places import Place, Places
from daskbatch.events import Event, Notice
from daskbatch.spec import RunSpec
from daskbatch.types import MiniBatch
from daskbatch.worker.plugin_calls import end_slots

if TYPE_CHECKING:
    from distributed import Client

    from daskbatch.cluster.supply import Supply

__all__ = ["Attendance"]

_WAIT_FOR_WORKERS = 60.0  # seconds without any worker, on a cluster that may bring new ones
_FIRST_WORD, _WORD_EVERY = 10.0, 60.0  # seconds between notices that jobs wait in the queue

Row = Sequence[MiniBatch]


class Attendance:
    """Keeps the places of a run up to date, and its jobs where it has any.

    Parameters
    ----------
    client : Client
    spec : RunSpec
    name : str
        Of the plugin.
    places : Places
    jobs : Supply or None
        Of a queue or of hosts.
    tell : callable
        Takes events.
    """

    def __init__(
        self,
        client: Client,
        spec: RunSpec,
        name: str,
        places: Places,
        jobs: Supply | None,
        tell: Callable[[Event], None],
    ) -> None:
        self._client = client
        self._spec = spec
        self._name = name
        self._places = places
        self._jobs = jobs
        self._tell = tell
        self._enough = jobs is None or spec.min_nodes <= 1
        self._short_since: float | None = None
        self._told = 0.0
        self._released: set[str] = set()
        self._lost: dict[str, list[Row]] = {}
        self.fatal: str | None = None
        """Why no worker will come any more."""

    @property
    def enough(self) -> bool:
        """Whether the work may begin: ``min_nodes`` have been there at the same time."""
        self._enough = self._enough or len(self._places.usable) >= self._spec.min_nodes
        return self._enough

    def look(self) -> list[Place]:
        """Look at the cluster.

        Returns
        -------
        list of Place
            Those that are lost: their workers are gone, and had not been let go.
        """
        gone = self._places.refresh()
        if self._jobs is not None:
            self._jobs.seen(self._places.names)
        lost = [place for place in gone if place.id not in self._released]
        for place in lost:
            text = f"worker {place.address} is gone; its mini-batches run elsewhere"
            self._tell(Notice(time.time(), text, "WARNING"))
        if self.enough and self._places.usable:
            self._short_since = None
        return lost

    def blamed(self) -> list[Row]:
        """Hear what has become of jobs; return rows that may be the cause of it."""
        found: list[Row] = []
        for happened in [] if self._jobs is None else self._jobs.happenings():
            self._tell(Notice(time.time(), happened.text, "WARNING"))
            rows = self._lost.pop(happened.worker, [])
            if happened.blame:
                found += rows
            if happened.fatal:
                self.fatal = happened.text
        return found

    def defer(self, place: Place, rows: list[Row]) -> bool:
        """Whether it will be told why a worker was lost, with these rows under way: see `blamed`."""
        if self._jobs is not None:
            self._lost[place.name] = rows
        return self._jobs is not None

    def wait(self) -> str | None:
        """There are too few workers to go on: wait for them, or give the reason to give up."""
        now = time.monotonic()
        if self._short_since is None:
            self._short_since = self._told = now
            self._told += _FIRST_WORD - _WORD_EVERY
            if self._jobs is None:
                text = f"no worker is left; waiting up to {_WAIT_FOR_WORKERS:g} s for a new one"
                self._tell(Notice(time.time(), text, "WARNING"))
        waited = now - self._short_since
        if self._jobs is None:
            late = waited > _WAIT_FOR_WORKERS
            return f"no worker is left, and none came within {_WAIT_FOR_WORKERS:g} s" if late else None
        if self.fatal is not None:
            return self.fatal
        limit, wanted, there = self._spec.min_nodes_timeout, self._spec.min_nodes, len(self._places.usable)
        if limit is not None and waited > limit:
            return (
                f"{there} of min_nodes={wanted} {self._jobs.word} have a worker after min_nodes_timeout={limit:g} s."
                f" {self._jobs.reason()}. Next: {self._jobs.advice}"
            )
        if now - self._told > _WORD_EVERY:
            self._told = now
            self._tell(Notice(time.time(), f"waiting for workers: {self._jobs.reason()}", "INFO"))
        return None

    def release(self) -> None:
        """Let workers go whose job ends soon, and that have nothing to do any more."""
        for place in self._places.all:
            if not place.leaving or place.tasks or place.id in self._released:
                continue
            self._released.add(place.id)
            if self._jobs is not None:
                self._jobs.leave(place.name)
            loop = cast(Any, self._client.loop).asyncio_loop
            asyncio.run_coroutine_threadsafe(self._let_go(place.address), loop)

    async def _let_go(self, address: str) -> None:
        """Have ``shutdown()`` called, and then end the worker if it is ours."""
        await self._client._run(end_slots, self._name, "finish", workers=[address])
        if self._jobs is not None:
            await cast(Any, self._client).scheduler.retire_workers(workers=[address], close_workers=True)
