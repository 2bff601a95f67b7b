"""The Dask workers of a run and the slots that each was dealt."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from distributed.comm.addressing import get_address_host

from daskbatch.engine.calls import begin_calls, call_workers, present_workers
from daskbatch.errors import RunFailed
from daskbatch.events import Event, Notice
from daskbatch.spec import RunSpec
from daskbatch.worker.plugin_calls import assign_slots, end_slots

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SCHEDULER_GONE", "Place", "Places"]

SCHEDULER_GONE = (
    "the Dask scheduler is gone. What was done is kept. Next: once there is a scheduler again, repeat the command"
)
"""For the user."""

_ASSIGN_TIMEOUT = 10.0
_TASKS_PER_SLOT = 2


@dataclass(slots=True, eq=False)
class Place:
    """One Dask worker's share of a run."""

    address: str
    node: str
    """Host part of the address."""
    threads: int
    numbers: tuple[int, ...]
    """Of its slots, on the node."""
    id: str
    """Of the worker process: another one may come back at the same address."""
    name: str = ""
    """Of the worker."""
    given: float = math.inf
    """Seconds that there were when it came until its results must be safe: then its job ends."""
    until: float = math.inf
    """``time.monotonic()`` of that."""
    leaving: bool = False
    """Nothing more is for it."""
    tasks: int = 0
    """Tasks under way or waiting there."""
    most: int = field(init=False)
    """Tasks that it may have. One that waits for a slot would hold a thread: where a worker has more threads than
    slots, as on a cluster that does other work too, nothing waits there."""

    def __post_init__(self) -> None:
        self.most = self.slots * (_TASKS_PER_SLOT if self.slots >= self.threads else 1)

    @property
    def slots(self) -> int:
        """How many it was dealt."""
        return len(self.numbers)


class Places:
    """Deal slots to workers as they come.

    Parameters
    ----------
    client : Client
    spec : RunSpec
        ``process_count_per_node`` slots for each host, on at most ``node_count`` hosts.
    name : str
        Of the plugin.
    tell : callable
        Takes events.
    """

    def __init__(self, client: Client, spec: RunSpec, name: str, tell: Callable[[Event], None]) -> None:
        self._client = client
        self._spec = spec
        self._name = name
        self._tell = tell
        self._left_out: set[str] = set()
        self._noticed = False
        self._noticed_nodes = False
        self.all: list[Place] = []
        self.names: frozenset[str] = frozenset()
        """Of all workers of the cluster."""

    @property
    def usable(self) -> list[Place]:
        """Those that may be sent something."""
        return [place for place in self.all if not place.leaving]

    @property
    def slots(self) -> int:
        """Slots at present."""
        return sum(len(place.numbers) for place in self.all if not place.leaving)

    def least_loaded(self, besides: Container[str] = ()) -> Place | None:
        """The place with the fewest tasks for its slots, None where all are full but those on the nodes `besides`."""
        found, least = None, math.inf
        for place in self.all:  # all of a thousand places for each task, most of them full: so that is asked first
            if place.tasks < place.most and not place.leaving and place.node not in besides:
                load = place.tasks / len(place.numbers)
                if load < least:
                    found, least = place, load
        return found

    def leave_out(self, node: str) -> list[Place]:
        """Send nothing to a node any more, and end what runs there; return the places that were there."""
        self._left_out.add(node)
        out = [place for place in self.all if place.node == node]
        self.all = [place for place in self.all if place.node != node]
        begin_calls(self._client, end_slots, self._name, "kill", workers=[place.address for place in out])
        return out

    def refresh(self) -> list[Place]:
        """Look at the cluster: deal slots to new workers.

        Returns
        -------
        list of Place
            Those whose worker is gone.

        Raises
        ------
        RunFailed
            The scheduler is gone, or a worker cannot write into the output folder.
        """
        if self._client.status in ("closing", "closed") or self._client.scheduler is None:  # it has given up looking
            raise RunFailed(SCHEDULER_GONE)
        workers = present_workers(self._client)
        if workers is None:
            return []
        gone = [place for place in self.all if workers.get(place.address, {}).get("id") != place.id]
        self.all = [place for place in self.all if place not in gone]
        self.names = frozenset(str(info["name"]) for info in workers.values())
        hosts: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        for address, info in sorted(workers.items()):
            hosts[get_address_host(address)].append((address, info))
        nodes = {place.node for place in self.all}
        for node, members in hosts.items():
            if node in self._left_out:
                continue
            if self._spec.compute.brings_workers:
                self._deal_to_jobs(node, members)
                continue
            limit = self._spec.node_count
            if node not in nodes and limit is not None and len(nodes) >= limit:
                continue
            nodes.add(node)
            self._deal(node, members)
        if not self._spec.compute.brings_workers:
            self._tell_of_missing_nodes(len(nodes))
        return gone

    def _tell_of_missing_nodes(self, count: int) -> None:
        wanted = self._spec.node_count
        if wanted is not None and count < wanted and not self._noticed_nodes:
            self._noticed_nodes = True
            text = f"node_count={wanted}, but the cluster has {count} {'node' if count == 1 else 'nodes'} at present"
            self._tell(Notice(time.time(), text, "WARNING"))

    def _deal(self, node: str, members: list[tuple[str, Any]]) -> None:
        threads = sum(info["nthreads"] for _, info in members)
        wanted = self._spec.process_count_per_node or threads
        if wanted > threads and not self._noticed:
            self._noticed = True
            self._tell(
                Notice(
                    time.time(),
                    f"process_count_per_node={wanted}, but the Dask workers on {node} have {threads} threads: "
                    f"{threads} slots there",
                    "WARNING",
                )
            )
        wanted = min(wanted, threads)
        known = {place.address: place for place in self.all if place.node == node}
        taken = {number for place in known.values() for number in place.numbers}
        free = [number for number in range(wanted) if number not in taken]
        for address, info in members:
            if address in known:
                continue
            numbers, free = tuple(free[: info["nthreads"]]), free[info["nthreads"] :]
            if not numbers:
                break
            self._assign(node, address, info, numbers, wanted)

    def _deal_to_jobs(self, node: str, members: list[tuple[str, Any]]) -> None:
        """A job is a node of its own; that several are on one host shows in the numbers of their slots alone."""
        known = {place.address: place for place in self.all if place.node == node}
        taken = {number for place in known.values() for number in place.numbers}
        for address, info in members:
            if address not in known:
                wanted = min(self._spec.process_count_per_node or info["nthreads"], info["nthreads"])
                numbers = tuple(islice((number for number in count() if number not in taken), wanted))
                taken.update(numbers)
                self._assign(node, address, info, numbers, wanted)

    def _assign(self, node: str, address: str, info: Any, numbers: tuple[int, ...], slots_on_node: int) -> None:
        answers = call_workers(
            self._client, assign_slots, self._name, numbers, slots_on_node, workers=[address], timeout=_ASSIGN_TIMEOUT
        )
        if address not in answers:  # it is stuck or gone; the next look tells
            return
        refused, left = answers[address]
        if refused is not None:
            raise RunFailed(f"worker {address}: {refused}")
        until = time.monotonic() + left
        self.all.append(Place(address, node, info["nthreads"], numbers, info["id"], str(info["name"]), left, until))
