"""What of its node a slot may use: threads, CPUs, a GPU; and the memory that it may keep."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daskbatch.worker import heap
from daskbatch.worker.cores import bound_cpus, usable_cores
from daskbatch.worker.gpus import gpu_variables
from daskbatch.worker.threads import VARIABLES, set_by_dask, set_by_queue, thread_variables

__all__ = ["NodeShare", "cut_cpus", "shares_of"]


@dataclass(frozen=True, slots=True)
class NodeShare:
    """One slot's."""

    variables: Mapping[str, str]
    """Environment variables that tell libraries of it."""
    cpus: tuple[int, ...] = ()
    """Numbers of the CPUs that its runner is held to; empty: none but those that the worker is."""


def shares_of(
    numbers: Sequence[int],
    slots_on_node: int,
    given: Mapping[str, str],
    nanny: bool,
    environment: Mapping[str, str] = os.environ,
) -> list[NodeShare]:
    """Divide what a worker has among its slots; one share for each.

    A worker that has all slots of its node, as each job of a queue has, divides what is its own. Several that share a
    node divide it by the numbers of their slots there.

    Parameters
    ----------
    numbers : sequence of int
        Of the worker's slots, on the host.
    slots_on_node : int
        Of all workers that share the host's cores and GPUs with this one, its own included.
    given : mapping
        ``environment_variables`` of the run: left alone.
    nanny : bool
        Whether the worker has one.
    environment : mapping
        Of the worker.
    """
    alone = len(numbers) == slots_on_node
    threads = max(1, usable_cores(environment) // max(1, slots_on_node))
    dasks = set_by_dask(environment, nanny, (*VARIABLES, *heap.VARIABLES))
    others = (dasks | set_by_queue(environment)) - set(given)
    whole = {**environment, **given}
    limits = thread_variables(threads, whole, others)
    kept = heap.heap_variables(whole, others)
    cpus = cut_cpus(bound_cpus(), len(numbers)) if alone else []
    if any(_asks_for_more(environment, given, name, threads) for name in VARIABLES if name not in limits):
        cpus = []  # of the user's threads some would wait for others
    shares = []
    for place, number in enumerate(numbers):
        gpu = gpu_variables(place if alone else number, not alone, environment)
        variables = {**limits, **kept, **{name: value for name, value in gpu.items() if name not in given}}
        shares.append(NodeShare(variables, cpus[place] if cpus else ()))
    return shares


def cut_cpus(cpus: Sequence[int], slots: int) -> list[tuple[int, ...]]:
    """Neighbours together, each CPU for one slot; empty where there is nothing to divide or too little.

    >>> cut_cpus([2, 3, 8, 9, 10], 2)
    [(2, 3), (8, 9, 10)]
    >>> cut_cpus([2, 3], 3)
    []
    """
    if slots < 2 or len(cpus) < slots:
        return []
    edges = [len(cpus) * slot // slots for slot in range(slots + 1)]
    return [tuple(cpus[start:stop]) for start, stop in itertools.pairwise(edges)]


def _asks_for_more(environment: Mapping[str, str], given: Mapping[str, str], name: str, threads: int) -> bool:
    value = str(given.get(name, environment.get(name, "")))
    return value.isdecimal() and int(value) > threads
