"""A run's presence on a Dask cluster: its plugin, its topic, its lease. Gone when the run is over."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Self

from daskbatch.engine.calls import begin_calls, present_workers
from daskbatch.worker.plugin import RunPlugin, forget_topic
from daskbatch.worker.plugin_calls import end_slots, renew_lease
from daskbatch.worker.plugin_settings import PluginSettings

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["LEASE", "Presence"]

LEASE = 40.0
"""Seconds after which a worker that hears nothing of the engine ends the run's processes."""

_RENEW_EVERY = 5.0
_REGISTER_TRIES = 5
_FINISH_PATIENCE = 30.0  # seconds for shutdown() on all workers; its own deadline is shorter
_CALL_PATIENCE = 5.0  # seconds until a worker that does not answer is left to its lease
_END_TIMEOUT = 15.0  # seconds; a worker that is stopped must not hold the end up for ever


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
        self._finishing: dict[str, Future[Any]] = {}
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, name="daskbatch-lease", daemon=True)

    def __enter__(self) -> Self:
        inbox = self._inbox  # and not self: a Client keeps its handlers for its whole life
        self._client.subscribe_topic(self._topic, lambda event: inbox.put(event[1]))
        self._register(RunPlugin(self._name, self._topic, self._settings))
        self._renewal.start()
        return self

    def _register(self, plugin: RunPlugin) -> None:
        for left in reversed(range(_REGISTER_TRIES)):
            try:
                self._client.register_plugin(plugin, name=self._name)
                return
            except OSError:  # a worker has died meanwhile: Dask then leaves the others in the dark too
                if not left:
                    raise
                with contextlib.suppress(Exception):
                    self._client.sync(self._client._unregister_worker_plugin, self._name)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._finish_or_kill(kill=kind is not None)
        self._ended.set()
        self._renewal.join()
        with contextlib.suppress(Exception):  # the scheduler is gone, or the lease's end has done it
            self._client.sync(self._client._unregister_worker_plugin, self._name, callback_timeout=_END_TIMEOUT)
        try:
            self._client.run_on_scheduler(forget_topic, self._topic, callback_timeout=_END_TIMEOUT)
            self._client._event_handlers.pop(self._topic, None)
        except Exception:  # it has no daskbatch, or runs nothing for clients
            with contextlib.suppress(Exception):
                self._client.unsubscribe_topic(self._topic)

    def end(self, how: str, addresses: Sequence[str]) -> None:
        """End the run's slots on these workers; wait for that no longer than deadlines allow.

        Parameters
        ----------
        how : str
            ``"stop"``, ``"kill"`` or ``"finish"``; see `RunPlugin.end`. A finish is only begun: to leave is to wait
            for it.
        addresses : sequence of str
        """
        calls = begin_calls(self._client, end_slots, self._name, how, workers=addresses)
        if how == "finish":
            self._finishing = calls
        else:
            wait(calls.values(), _CALL_PATIENCE)

    def _finish_or_kill(self, kill: bool) -> None:
        """Wait for what `finish` has begun; Ctrl-C turns it into a kill, and nothing else: the work is done."""
        if not self._finishing:
            return
        try:
            kill = kill or not self._finish()
        except KeyboardInterrupt:
            kill = True
        if kill:
            self.end("kill", list(self._finishing))

    def _finish(self) -> bool:
        """Whether it has ended in time, and before a signal came."""
        for call in self._finishing.values():
            call.add_done_callback(self._inbox.put)
        until = time.monotonic() + _FINISH_PATIENCE
        left = len(self._finishing)
        while left:
            try:
                message = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return False
            if isinstance(message, int):
                return False
            left -= isinstance(message, Future)
        return True

    def _renew(self) -> None:
        calls: dict[str, Future[Any]] = {}
        while not self._ended.wait(_RENEW_EVERY):
            with contextlib.suppress(Exception):  # a scheduler that is gone is noticed elsewhere
                workers = present_workers(self._client)
                idle = [worker for worker in workers or () if worker not in calls or calls[worker].done()]
                calls.update(begin_calls(self._client, renew_lease, self._name, workers=idle))
