"""A run's presence on a Dask cluster: its plugin, its topic, its lease. Gone when the run is over."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from daskbatch.worker.plugin import PluginSettings, RunPlugin, end_slots, forget_topic, renew_lease

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["LEASE", "Presence"]

LEASE = 60.0
"""Seconds after which a worker that hears nothing of the engine ends the run's processes."""

_RENEW_EVERY = 10.0


class Presence:
    """Register a run's plugin, hear what the workers tell, keep the lease; take all of it back at the end.

    Parameters
    ----------
    client : Client
        The user's, it may be: used as it is and left as it was found.
    name : str
        Of the plugin: unique for the run and this life of its engine.
    settings : PluginSettings
    inbox : queue
        Where the workers' messages go.
    """

    def __init__(self, client: Client, name: str, settings: PluginSettings, inbox: queue.SimpleQueue[Any]) -> None:
        self._client = client
        self._name = name
        self._settings = settings
        self._inbox = inbox
        self._topic = f"{name}-events"
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, name="daskbatch-lease", daemon=True)

    def __enter__(self) -> Self:
        inbox = self._inbox  # and not self: a Client keeps its handlers for its whole life
        self._client.subscribe_topic(self._topic, lambda event: inbox.put(event[1]))
        self._client.register_plugin(RunPlugin(self._name, self._topic, self._settings), name=self._name)
        self._renewal.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._client.unregister_worker_plugin(self._name)
        try:
            self._client.run_on_scheduler(forget_topic, self._topic)
        except Exception:  # it has no daskbatch, or runs nothing for clients
            self._client.unsubscribe_topic(self._topic)
        self._renewal.join()

    def end_slots(self, how: str, addresses: Sequence[str]) -> None:
        """End the run's slots on these workers: ``"stop"``, ``"kill"`` or ``"finish"``; see `RunPlugin.end`."""
        self._client.run(end_slots, self._name, how, workers=list(addresses), on_error="ignore")

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_EVERY):
            self._client.run(renew_lease, self._name, on_error="ignore")
