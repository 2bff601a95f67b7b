"""Hand rows of mini-batches to Dask workers and take their reports back."""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distributed import CancelledError, Client, Future

from daskbatch import errors
from daskbatch.engine.allot import Allotment
from daskbatch.engine.attendance import Attendance
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.books import Books
from daskbatch.engine.calls import fetch, told_of
from daskbatch.engine.deadline import GRACE_AFTER_FAILURE, GRACE_AFTER_SIGNAL, PATIENCE_AFTER_KILL, STOPPING, Deadline
from daskbatch.engine.places import Place, Places
from daskbatch.engine.presence import Presence
from daskbatch.engine.reduction import Reduction
from daskbatch.engine.rows import rest_of
from daskbatch.engine.stop import Stop
from daskbatch.engine.under_way import Task, UnderWay, report_of_lost
from daskbatch.events import Event, Notice, RunnerStarted, TaskFinished
from daskbatch.policy import InitGate, crowd_seconds
from daskbatch.spec import RunSpec
from daskbatch.types import OPEN_END, MiniBatch
from daskbatch.worker.plugin_calls import run_row
from daskbatch.worker.plugin_settings import PluginSettings
from daskbatch.worker.wire import encode_row

if TYPE_CHECKING:
    from daskbatch.cluster.supply import Supply

__all__ = ["Dispatcher"]

_PROGRESS_EVERY = 0.5
_LOOK_FOR_WORKERS_EVERY = 1.0
_STREAM_BUDGET = 1e9  # a stream cut short would be read from its start again


class Dispatcher:
    """One engine's life in a run: a rolling window of tasks over the workers' slots.

    Parameters
    ----------
    client : Client
        Used as it is and left as it was found.
    spec : RunSpec
    settings : PluginSettings
    books : Books
    backlog : Backlog
        What is to be done.
    name : str
        Of the plugin: unique for the run and this life.
    tell : callable
        Takes events.
    partitions : mapping
        File number to the future of a Dask partition.
    inbox : queue
        Where signals arrive: the number of a signal. A function is called.
    jobs : Supply or None
        Of a queue or of hosts, whose workers these are.
    reduction : Reduction or None
        Told of what is committed.
    """

    def __init__(
        self,
        client: Client,
        spec: RunSpec,
        settings: PluginSettings,
        books: Books,
        backlog: Backlog,
        name: str,
        tell: Callable[[Event], None],
        partitions: Mapping[int, Future[Any]],
        inbox: queue.SimpleQueue[Any],
        jobs: Supply | None = None,
        reduction: Reduction | None = None,
    ) -> None:
        self._client = client
        self._spec = spec
        self._books = books
        self._backlog = backlog
        self._name = name
        self._tell = tell
        self._partitions = partitions
        self._inbox = inbox
        self._reduction = reduction
        self._presence = Presence(client, name, settings, inbox)
        self._places = Places(client, spec, name, tell)
        self._attendance = Attendance(client, spec, name, self._places, jobs, tell)
        self._allotment = Allotment(self._places, backlog)
        self._tasks = UnderWay()
        self._sent = 0
        self._deadline = Deadline()
        self._signals = 0
        self._began = time.monotonic()
        self._told = self._looked = 0.0
        self._init = InitGate(succeeded=books.succeeded > 0)  # in an earlier life
        self.first_start: float | None = None
        """``time.monotonic()`` of the first successful ``init()``."""

    def run(self, cluster: contextlib.ExitStack) -> None:
        """Work until nothing is left or the books say stop. Nothing of it is left once `cluster` is left."""
        cluster.enter_context(self._presence)
        try:
            self._look_for_workers()
            self._looked = time.monotonic()
            while True:
                waiting = self._books.stop is None and self._fill()
                if not (self._tasks or waiting) or self._deadline.given_up:
                    break
                self._wait()
            self._progress(final=True)
        finally:
            self._end()

    # What to send

    def _fill(self) -> bool:
        """Send what fits; return whether to wait though nothing is under way: for a worker, or for more of the plan."""
        enough = self._attendance.enough
        while enough and (allotted := self._allotment.next(idle=not self._tasks)) is not None:
            self._send(*allotted)
        if self._tasks or (enough and self._places.usable):
            return self._backlog.more_to_come
        row = self._backlog.next_row(1)
        if not row:
            return self._backlog.more_to_come
        self._backlog.give_back(row)
        why = self._attendance.wait()
        if why is not None:
            self._halt(errors.RunFailed, why)
        return True

    def _send(self, row: list[MiniBatch], place: Place) -> None:
        crowd = crowd_seconds(self._places.slots)
        budget = _STREAM_BUDGET if row[0].stop == OPEN_END else max(self._spec.task_seconds, crowd)
        retries = self._books.retries_of(row)
        future = self._client.submit(
            run_row,
            self._name,
            self._sent,
            encode_row(row, budget, retries),
            self._partitions.get(row[0].file),
            crowd,
            key=f"{self._name}-{self._sent}",
            workers=[place.address],
            allow_other_workers=False,
            pure=False,
            retries=0,
            priority=1 if retries else 0,  # what failed is tried again before what was sent ahead
        )
        self._tasks.add(future, Task(self._sent, row, place))
        self._sent += 1
        future.add_done_callback(lambda done: fetch(self._client, done, self._inbox.put))

    # What comes back

    def _wait(self) -> None:
        now = time.monotonic()
        wait = _PROGRESS_EVERY if self._deadline.at is None else min(_PROGRESS_EVERY, self._deadline.at - now)
        try:
            message = self._inbox.get(timeout=max(0.0, wait))
        except queue.Empty:
            message = None
        while message is not None:
            self._receive(message)
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                message = None
        self._attendance.release()
        now = time.monotonic()
        if self._books.stop is not None and self._deadline.at is None:
            self._stop(GRACE_AFTER_SIGNAL if self._signals else GRACE_AFTER_FAILURE)
        if self._deadline.kill_due:
            self._kill()
        if now - self._looked > _LOOK_FOR_WORKERS_EVERY:
            self._looked = now
            self._look_for_workers()
        if now - self._told > _PROGRESS_EVERY:
            self._told = now
            self._progress()

    def _receive(self, message: Any) -> None:
        if isinstance(message, tuple):
            future, result = message
            task = self._tasks.take(future)
            if task is not None:
                self._receive_task(future, result, task)
        elif isinstance(message, int):
            self._receive_signal(message)
        elif callable(message):
            message()
        elif "task" in message:
            task = self._tasks.get(message["task"])
            if task is not None:  # else its report was quicker
                self._books.hear(task.number, task.row, message)
        elif "started" in message:
            self._init.succeeded = True
            self.first_start = self.first_start or time.monotonic()
            self._tell(
                RunnerStarted(time.time(), message["node"], message["process"], message["started"], message["seconds"])
            )

    def _receive_signal(self, number: int) -> None:
        self._signals += 1
        if self._books.stop is None:
            self._books.stop = Stop(errors.RunCanceled, f"stopped by {signal.Signals(number).name}")
            self._tell(Notice(time.time(), STOPPING, "WARNING"))
        else:
            self._deadline.set()

    def _receive_task(self, future: Future[Any], result: concurrent.futures.Future[Any], task: Task) -> None:
        error = None if result.cancelled() else result.exception()
        future.release()
        if error is not None or result.cancelled():
            self._receive_loss(error, task)
            return
        report = result.result()
        if report["init_error"] is not None:
            self._receive_init_error(report, task)
        if report["refused"] is not None:
            self._halt(errors.RunFailed, report["refused"])
        died = report["died"]
        if died is not None and died["charged"] and report["last"] is None and not report["failures"]:
            # It died before the first mini-batch began: perhaps of what an earlier one has left behind. As with a
            # worker, the third time it is the mini-batch.
            alone = self._backlog.lose(task.row)
            if alone is None:
                self._books.unhear(task.number)
                return
            report["last"] = alone.key
            report["failures"] = [{**died, "key": alone.key, "items": None}]
        rest = rest_of(task.row, report)
        self._enter(task, report, rest)
        done = report["mini_batches"] + len(report["failures"]) + len(report["empty"])
        self._backlog.learn(task.row, done, report["seconds"] - report["start_seconds"])
        where, counts = (report["node"], report["process"]), (report["mini_batches"], report["items"])
        self._tell(TaskFinished(time.time(), *where, *counts, report["seconds"], report["run_seconds"]))

    def _enter(self, task: Task, report: Mapping[str, Any], rest: list[MiniBatch]) -> None:
        again = self._books.enter(task.row, report, task.number)
        self._backlog.give_back(rest, again)
        if self._reduction is not None:
            self._reduction.take(task, report, self._tasks, self._backlog)
        self._allotment.learn(task, report, rest, again)
        for node, why in self._allotment.wrong_nodes():
            self._leave_out(node, why)

    def _receive_loss(self, error: BaseException | None, task: Task) -> None:
        """The task itself failed or was cancelled: its worker is gone, or its input partition failed."""
        if isinstance(error, CancelledError):
            error = None
        self._books.unhear(task.number)
        if self._partitions and error is not None:
            partition = task.row[0].file
            self._halt(errors.RunFailed, f"partition {partition} of the Dask dataframe failed: {told_of(error)}")
        elif error is not None and task.place in self._places.all:
            self._halt(errors.RunFailed, f"worker {task.place.address} failed: {told_of(error)}")
        self._backlog.give_back(task.row)

    def _receive_init_error(self, report: Mapping[str, Any], task: Task) -> None:
        slot = f"{report['node']}/{report['process']}"
        failure = report["init_error"]
        message = f"{failure['error']}: {failure['message']}"
        if failure["error"] == errors.ScriptChanged.__name__:  # no fault of this slot or node
            self._halt(errors.RunFailed, failure["message"])
        verdict = self._init.failed(slot, self._places.slots, failure.get("killed", False))
        if verdict == "stop":
            self._halt(errors.InitFailed, f"init() failed ({message})", failure["traceback"])
        elif verdict == "leave out":
            self._leave_out(task.place.node, f"init() failed twice on {slot} ({message})")

    def _leave_out(self, node: str, why: str) -> None:
        self._tell(Notice(time.time(), f"node {node} is left out: {why}", "WARNING"))
        for place in self._places.leave_out(node):
            for task in self._cancel(place):
                self._backlog.give_back(task.row)
        if not self._places.all:
            self._halt(errors.RunFailed, f"no worker is left; the last one: {why}")

    def _cancel(self, place: Place) -> list[Task]:
        """Take tasks back from Dask."""
        taken = list(self._tasks.cancel(place))
        for task in taken:
            self._books.unhear(task.number)
        return taken

    def _look_for_workers(self) -> None:
        for place in self._attendance.look():
            self._receive_lost_worker(place)
        for row in self._attendance.blamed():
            self._backlog.blame(row)

    def _receive_lost_worker(self, place: Place) -> None:
        """What was under way there goes back; a mini-batch that was, alone, at a third such loss has spent a try."""
        tasks = self._cancel(place)
        deferred = self._attendance.defer(place, [task.row for task in tasks[: place.slots]])
        lose = self._backlog.take_back if deferred else self._backlog.lose
        for number, task in enumerate(tasks):
            if number >= place.slots:  # it was waiting
                self._backlog.give_back(task.row)
            elif (alone := lose(task.row)) is not None:
                self._enter(task, report_of_lost(task, alone), [])

    # How it ends

    def _halt(self, error: type[errors.DaskbatchError], why: str, traceback: str | None = None) -> None:
        """End the run, unless it ends already: the first reason is the one to tell."""
        if self._books.stop is None:
            self._books.stop = Stop(error, why, traceback)

    def _stop(self, grace: float) -> None:
        self._deadline.set(grace)
        self._on_workers("stop")

    def _kill(self) -> None:
        self._deadline.killed = True
        self._on_workers("kill")
        self._deadline.set(PATIENCE_AFTER_KILL)

    def _on_workers(self, how: str) -> None:
        self._presence.end(how, [place.address for place in self._places.all])

    def _end(self) -> None:
        if self._tasks:  # given up, or an error of our own on the way: what is under way is of no use
            if not self._deadline.killed:
                self._kill()
            list(self._tasks.cancel())
        elif not self._deadline.killed:
            self._on_workers("kill" if self._books.stop is not None else "finish")

    def _progress(self, final: bool = False) -> None:
        books, backlog = self._books, self._backlog
        total = 0 if final and books.stop is None else backlog.estimate
        busy = sum(min(place.tasks, place.slots) for place in self._places.all)
        elapsed = time.monotonic() - self._began
        progress = books.progress(elapsed, total, backlog.exact or final, busy)
        if backlog.at_least:
            progress = replace(progress, total_is_exact=False, total_is_least=True, remaining=None)
        self._tell(progress)
