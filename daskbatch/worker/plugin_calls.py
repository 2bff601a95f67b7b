"""What the engine has a worker do: the task of a row, and calls past Dask's scheduling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed import Worker, get_worker

from daskbatch.store.refusal import refusal
from daskbatch.worker.arrow_stream import arrow_stream
from daskbatch.worker.plugin import RunPlugin

__all__ = ["assign_slots", "end_slots", "renew_lease", "run_row"]


def _plugin(worker: Worker, name: str) -> RunPlugin:
    plugin = worker.plugins[name]
    assert isinstance(plugin, RunPlugin)
    return plugin


def run_row(name: str, task: int, row: bytes, partition: Any = None, quiet: float = 0.0) -> dict[str, Any]:
    """The task that Dask schedules: one row of mini-batches on the worker it was sent to.

    `quiet`: see `News`.
    """
    plugin = _plugin(get_worker(), name)
    return plugin.run(task, row, b"" if partition is None else arrow_stream(partition), quiet)


# For Client.run: Dask hands over the worker by the argument's name.


def assign_slots(
    name: str, numbers: Sequence[int], slots_on_node: int, dask_worker: Worker
) -> tuple[str | None, float]:
    """Give a worker its slots; return why it cannot have them, and the seconds that its job has left."""
    plugin = _plugin(dask_worker, name)
    try:
        plugin.assign(numbers, slots_on_node)
    except OSError as error:
        return refusal(error), plugin.seconds_left
    return None, plugin.seconds_left


def renew_lease(name: str, dask_worker: Worker) -> None:
    """Tell a worker that the engine is alive."""
    if name in dask_worker.plugins:
        _plugin(dask_worker, name).renew()


async def end_slots(name: str, how: str, dask_worker: Worker) -> None:
    """End a worker's slots; see `RunPlugin.end`."""
    if name in dask_worker.plugins:
        await _plugin(dask_worker, name).end(how)
