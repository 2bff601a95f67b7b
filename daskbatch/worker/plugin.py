"""The Dask side of user code: a WorkerPlugin that lends one runner per slot to the task's thread."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from distributed import Worker, WorkerPlugin
from distributed.protocol.pickle import dumps
from distributed.system import MEMORY_LIMIT
from tornado.ioloop import PeriodicCallback

from daskbatch.errors import DaskbatchError
from daskbatch.layout import MODELS_USED_VARIABLE
from daskbatch.worker import wire
from daskbatch.worker.attempt import failure_of
from daskbatch.worker.fetched import ScriptFiles, files_of
from daskbatch.worker.models import model_variables
from daskbatch.worker.node_share import NodeShare, shares_of
from daskbatch.worker.places import Places, places_of
from daskbatch.worker.plugin_settings import PluginSettings
from daskbatch.worker.prefix import filled
from daskbatch.worker.runner import Launch
from daskbatch.worker.scratch import Scratch
from daskbatch.worker.shared_folder import leave_behind
from daskbatch.worker.slot import Slot
from daskbatch.worker.step_variables import step_variables
from daskbatch.worker.task_report import TaskReport
from daskbatch.worker.walltime import walltime_of

if TYPE_CHECKING:
    from daskbatch.worker.ahead import Ahead
    from daskbatch.worker.upcoming import Upcoming

__all__ = ["RunPlugin", "forget_topic"]

_LEASE_CHECK_MS = 2000
_WALLTIME_CHECK_MS = 500
_PACKAGE = Path(__file__).parents[1]


class RunPlugin(WorkerPlugin):
    """One run's runners on one worker.

    Parameters
    ----------
    name : str
        Unique for the run and the engine's life in it: Dask tears down an older plugin of the same name.
    topic : str
        Where failures and starts are told at once, by ``worker.log_event``.
    settings : PluginSettings
    """

    idempotent = True

    def __init__(self, name: str, topic: str, settings: PluginSettings) -> None:
        self.name = name
        self._topic = topic
        self._settings = settings

    def setup(self, worker: Worker) -> None:
        """Called by Dask. Starts no process: a setup that fails would leave a worker that takes tasks."""
        self._worker = worker
        self._slots: list[Slot] = []
        self._closing: asyncio.Task[None] | None = None
        self._free: queue.LifoQueue[Slot | None] = queue.LifoQueue()
        self._scratch: Scratch | None = None
        self._files: ScriptFiles | None = None
        self._places: Places | None = None
        self._upcoming: Upcoming | None = None
        self._renewed = time.monotonic()
        self._overdue = 0
        self._lease = PeriodicCallback(self._check_lease, _LEASE_CHECK_MS)
        self._lease.start()
        self._walltime = walltime_of(os.environ, worker.lifetime)
        self._leaving = self._cut = False
        self._clock = PeriodicCallback(self._look_at_walltime, _WALLTIME_CHECK_MS)
        if self._walltime is not None:
            self._clock.start()

    async def teardown(self, worker: Worker) -> None:
        """Called by Dask when the plugin is unregistered or the worker closes."""
        self._lease.stop()
        self._clock.stop()
        await self.end("kill")

    def assign(self, numbers: Sequence[int], slots_on_node: int) -> None:
        """Make this worker's slots: those with these numbers, of the node's `slots_on_node`."""
        if self._slots:
            return
        settings = self._settings
        package = None if settings.python is None else _PACKAGE
        self._scratch = scratch = Scratch(map(_process, numbers), settings.pickled, package)
        where = (settings.output, settings.state, settings.script_output)
        self._places = places = places_of(*where, settings.output_storage, scratch, settings.models)
        if settings.copies:
            self._upcoming = self._waiting_rows(scratch, len(numbers))
        own = self._variables(places)
        self._files = files_of(self.name, settings.fetched, own, settings.timeouts["read"], settings.source)
        shares = shares_of(numbers, slots_on_node, settings.environment, self._worker.nanny is not None)
        for number, share in zip(numbers, shares, strict=True):
            slot = self._make_slot(number, slots_on_node, scratch, places, share)
            self._slots.append(slot)
            self._free.put(slot)

    def _make_slot(self, number: int, slots_on_node: int, scratch: Scratch, places: Places, share: NodeShare) -> Slot:
        settings, node, process = self._settings, socket.gethostname(), _process(number)
        logs, script_output = places.logs, places.script_output(process)
        paths = {}
        for kind, suffix in (
            ("stdout", "stdout.txt"),
            ("stderr", "stderr.txt"),
            ("entry_script_log", "log.txt"),
        ):
            folder = logs / "user" / kind / node
            places.make(folder)
            paths[kind] = str(folder / f"{process}.{suffix}")
        entry_script = {
            "log_file": paths["entry_script_log"],
            "log_dir": str(logs / "user"),
            "output_dir": script_output,
            "working_dir": scratch.working(process),
            "agent_name": f"{node}/{process}",
            "logging_level": settings.logging_level,
        }
        own = self._variables(places)
        if self._files is not None:
            own |= self._files.variables()
        environment = {**model_variables(own), **os.environ}
        environment |= step_variables(settings.output, settings.environment)
        environment |= {"AZUREML_BI_OUTPUT_PATH": script_output, **own, **share.variables}
        root = scratch.package_root or str(_PACKAGE.parent)
        shared = () if self._files is None else (self._files.folder,)
        there = filter(os.path.isdir, settings.folders)  # the client's own may be on another host
        launch = Launch(
            python=settings.python or sys.executable,
            prefix=filled(settings.prefix, (*there, str(_PACKAGE), scratch.path, *shared)),
            package_root=root,
            setup={
                **settings.setup,
                "package_root": root,
                "entry_script": entry_script,
                "pickled": scratch.pickle,
                "copies": [scratch.copies, settings.copies] if settings.copies else [],
            },
            environment=environment,
            folder=settings.folder if os.path.isdir(settings.folder) else scratch.working(process),
            scratch=scratch.path,
            cpus=share.cpus,
            stdout=paths["stdout"],
            stderr=paths["stderr"],
            timeouts=settings.timeouts,
            memory_limit=settings.memory_limit or self._memory() // max(1, slots_on_node),
        )
        writer = places.writer(f"{node}-{os.getpid()}-{self.name}-{process}")
        ahead = None if self._upcoming is None else self._ahead_of(self._upcoming)
        return Slot(node, process, launch, writer, self._tell, ahead, places.files(process), self._walltime)

    def _memory(self) -> int:
        """Bytes of the node, of the control group that Dask has found us in, or of the batch job."""
        limit = self._worker.memory_manager.memory_limit if self._walltime is not None else None
        return int(min(MEMORY_LIMIT, psutil.virtual_memory().total, limit or math.inf))

    def _variables(self, places: Places) -> dict[str, str]:
        return {**self._settings.environment, MODELS_USED_VARIABLE: places.models}

    def _waiting_rows(self, scratch: Scratch, slots: int) -> Upcoming:
        """What makes copies of mini-batches, for all slots of the worker."""
        from daskbatch.remote.copies import Copies
        from daskbatch.remote.retrying import Limit
        from daskbatch.worker.upcoming import Upcoming

        settings = self._settings
        table = None if settings.setup["table"] is None else wire.table_format(settings.setup["table"])
        limit = Limit(tries=1000, seconds=settings.timeouts["read"])
        return Upcoming(Copies(scratch.copies, table, settings.storage, limit, slots))

    def _ahead_of(self, upcoming: Upcoming) -> Ahead:
        from daskbatch.worker.ahead import Ahead

        return Ahead(upcoming)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Called by Dask for every task of the worker: what waits here may be fetched while others run."""
        upcoming, scratch = self._upcoming, self._scratch
        name, _dash, number = str(key).rpartition("-")
        if upcoming is None or scratch is None or name != self.name:
            return
        if finish == "ready" and scratch.made:  # until then nobody would remove the copies after a kill
            task = self._worker.state.tasks[key]
            arguments: Sequence[Any] = getattr(task.run_spec, "args", ())  # those of `run_row`
            if len(arguments) > 2 and isinstance(arguments[2], bytes):
                row: bytes = arguments[2]
                upcoming.add(int(number), lambda: wire.decode_row(row)[0], task.priority or ())
        elif start == "ready" and finish != "executing":
            upcoming.forget(int(number))

    def _tell(self, message: dict[str, Any]) -> None:
        self._worker.log_event(self._topic, message)

    def run(self, task: int, row: bytes, blob: bytes | memoryview = b"", quiet: float = 0.0) -> dict[str, Any]:
        """Run a row on a free slot. Called in the task's thread."""
        slot = self._free.get()
        try:
            if slot is None or self._scratch is None:
                return TaskReport().as_dict()
            self._scratch.make()
            if self._files is not None and (failed := self._fetch(self._files, self._scratch.path, slot)):
                return failed
            report = slot.execute(task, row, blob, quiet)
            report["leaving"] = self._leaving
            return report
        finally:
            self._free.put(slot)

    def _fetch(self, files: ScriptFiles, scratch: str, slot: Slot) -> dict[str, Any] | None:
        """Have what the script is told of stores; a report where that fails."""
        leave_behind(scratch, files.folder)
        try:
            slot.launch = files.filled(slot.launch)
        except (DaskbatchError, OSError) as error:
            report = TaskReport(slot.node, slot.process)
            report.init_error = failure_of(error, "start")
            return report.as_dict()
        return None

    @property
    def seconds_left(self) -> float:
        """Until results must be safe, as the worker's job ends; infinite where it has none, or no end."""
        return math.inf if self._walltime is None else self._walltime.left

    def _look_at_walltime(self) -> None:
        """Begin nothing that the end of the worker's job would cut; cut ourselves, and tell, what runs until then."""
        walltime = self._walltime
        assert walltime is not None
        if not walltime.fits and not self._leaving:
            self._leaving = True
            for slot in self._slots:
                slot.stop()
        if walltime.left < 0 and not self._cut:
            self._cut = True
            for slot in self._slots:
                slot.cut()

    def renew(self) -> None:
        """The engine is alive."""
        self._renewed = time.monotonic()

    async def _check_lease(self) -> None:
        late = time.monotonic() - self._renewed > self._settings.lease
        # Twice in a row: where this process itself stood still, the engine's signs are still to be heard.
        self._overdue = self._overdue + 1 if late else 0
        if self._overdue < 2:
            return
        try:
            await self.end("kill")
        finally:
            # For all workers, and for those to come: whoever is first. Stops this very check too.
            with contextlib.suppress(Exception):
                await self._worker.scheduler.unregister_worker_plugin(name=self.name)
            with contextlib.suppress(Exception):
                await self._worker.scheduler.run_function(function=dumps(forget_topic), args=dumps((self._topic,)))

    async def end(self, how: str) -> None:
        """End the slots.

        Parameters
        ----------
        how : str
            ``"stop"``: tasks hand back what they have not begun; runners stay. ``"kill"``: at once. ``"finish"``: the
            slots are idle; ``shutdown()`` is called.
        """
        for slot in self._slots:
            {"stop": slot.stop, "kill": slot.kill, "finish": slot.finish}[how]()
        if how == "stop":
            return
        if self._closing is None:
            self._closing = asyncio.create_task(asyncio.to_thread(self._close))
        await asyncio.shield(self._closing)  # who kills what is finishing waits for the same end

    def _close(self) -> None:
        """Take each step, whatever becomes of the others: what it leaves stays for the life of the worker's process."""
        errors = []
        for step in self._last_steps():
            try:
                step()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _last_steps(self) -> Iterator[Callable[[], None]]:
        for _ in self._slots:
            slot = self._free.get()  # a killed slot comes back as soon as its task has seen it
            if slot is not None:
                yield slot.close
        self._free.put(None)  # tasks that start after the end find that there is no slot
        if self._upcoming is not None:
            yield self._upcoming.close
        if self._places is not None:
            yield self._places.close
        if self._scratch is not None:
            yield self._scratch.remove
        if self._files is not None:
            yield self._files.close
        for slot in self._slots:
            yield slot.let_go


def _process(number: int) -> str:
    return f"process{number:03d}"


def forget_topic(topic: str, dask_scheduler: Any) -> None:
    """Drop a topic with its events and subscribers, on the scheduler: it would keep them for its whole life."""
    dask_scheduler._broker._topics.pop(topic, None)
