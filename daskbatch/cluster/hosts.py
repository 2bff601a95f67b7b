"""The hosts of one run that are reached over SSH: a Dask worker on each, started again where it is lost, none left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from daskbatch.cluster.arrivals import Arrivals
from daskbatch.cluster.ssh_host import SSHHost
from daskbatch.cluster.ssh_process import Ending, RemoteWorker, Unreachable
from daskbatch.cluster.ssh_watch import watch
from daskbatch.cluster.ssh_worker import REFUSED
from daskbatch.cluster.supply import Happening

__all__ = ["Hosts"]

_CLOSE_PATIENCE = 5.0  # seconds for workers to go by themselves
_AGAIN_AFTER = (5.0, 15.0, 45.0, 120.0)  # seconds until a host that was there before is tried once more
_EARLY_AGAIN_AFTER = 2.0  # seconds until one that was not is tried a second and last time
_AT_ONCE = 8  # connections that are being made; OpenSSH refuses some of more than 10
_USELESS = 3  # processes in a row whose worker never came
_USELESS_PAUSE = 1.0  # seconds after one of those
_NO_PYTHON = (2, 126, 127)  # exit statuses: of a Python that is too old for -P, and the shell's of no command
_HOPELESS = (REFUSED, *_NO_PYTHON)
_LOG_LINES = 20
_SIGTERM = -15

Command = Callable[[SSHHost, str, str | None], str]


class Hosts:
    """Keep a worker on each of so many hosts as are wanted; further ones step in for those that cannot be used.

    Parameters
    ----------
    hosts : sequence of SSHHost
    name : str
        What the names of workers begin with.
    count : int
        How many of the hosts are wanted.
    floor : int
        With fewer the work does not begin.
    command : callable
        Gives the command for a host, a worker's name, and the address here that the host is reached from.
    message : str
        For the standard input of each.
    restarts : int
        How many workers that were lost may be started again.
    logs : Path or None
        Folder for what they print.
    """

    word = "hosts"
    advice = "see what the workers have printed, in logs/jobs; can the hosts reach this machine's address and port?"

    def __init__(
        self,
        hosts: Sequence[SSHHost],
        name: str,
        count: int,
        floor: int,
        command: Command,
        message: str,
        restarts: int,
        logs: Path | None,
    ) -> None:
        self._spare = list(hosts)
        self._using: set[SSHHost] = set()
        self._name = name
        self._count = count
        self._floor = floor
        self._command = command
        self._message = message
        self._restarts = restarts
        self._logs = logs
        self._lock = threading.Lock()
        self._arrivals = Arrivals()
        self._leaving: set[str] = set()
        self._enough = False
        self._happenings: list[Happening] = []
        self._states: dict[SSHHost, str] = {}
        self._out: list[str] = []
        self._over = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="daskbatch-hosts", daemon=True)
        self._tasks: dict[asyncio.Task[None], RemoteWorker | None] = {}
        self._connecting = asyncio.Semaphore(_AT_ONCE)
        self._first = threading.Event()
        self._reached = 0
        self._named = 0
        self.started = 0
        self.restarted = 0
        """Workers that were lost, and others started in their place."""

    def start(self) -> None:
        """Connect to the hosts; return once the first is there.

        Raises
        ------
        Unreachable
            None of them can be reached; the message has a line for each.
        """
        self._thread.start()
        self._do(self._begin())
        self._first.wait()
        if not self._reached:
            raise Unreachable("\n".join(self._out))

    # For the engine, from its thread

    def seen(self, workers: Collection[str]) -> None:
        """Tell which workers there are, by name."""
        self._arrivals.seen(workers)
        self._enough = self._enough or len(self._arrivals.here) >= self._floor

    def leave(self, worker: str) -> None:
        """A worker goes before its time ends: that is no loss, and another one is wanted."""
        with self._lock:
            self._leaving.add(worker)

    def happenings(self) -> list[Happening]:
        """What has happened since the last call; of a lost worker, once it was seen to be gone."""
        with self._lock:
            ready = [each for each in self._happenings if each.worker not in self._arrivals.here]
            self._happenings = [each for each in self._happenings if each not in ready]
        return ready

    def reason(self) -> str:
        """Why workers are missing, in a sentence."""
        waiting = [f"{host.name} {state}" for host, state in list(self._states.items()) if state]
        return ". ".join([", ".join(waiting) or "all hosts that can be used have their workers", *self._out])

    def counts(self) -> dict[str, int]:
        """For the summary."""
        return {
            "reached": self._reached,
            "left_out": len(self._out),
            "workers_started": self.started,
            "workers_replaced": self.restarted,
        }

    # The end, from the engine's thread

    def end_waiting(self) -> None:
        """The work is done: end the workers that have not come."""
        self._over = True
        if self._thread.ident is not None:
            self._do(self._end(lambda worker: worker is None or worker.name not in self._arrivals.came, 0.0))

    def end_all(self) -> None:
        """End all of them, those that have not gone by themselves too."""
        self._over = True
        if self._thread.ident is not None:
            self._do(self._end(lambda _: True, _CLOSE_PATIENCE))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # In the thread

    async def _begin(self) -> None:
        for _ in range(self._count):
            self._use_next()

    async def _end(self, which: Callable[[RemoteWorker | None], bool], patience: float) -> None:
        tasks = {task: worker for task, worker in self._tasks.items() if which(worker)}
        if tasks and patience:
            await asyncio.wait(tasks, timeout=patience)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # One that was being closed was cancelled in that.
        await asyncio.gather(*(worker.close() for worker in tasks.values() if worker))

    def _use_next(self) -> bool:
        """Whether there is one more host to use."""
        if not self._spare:
            return False
        host = self._spare.pop(0)
        self._using.add(host)
        task = self._loop.create_task(self._use(host))
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task)
        if not self._tasks:  # else nobody would wake who waits for the first
            self._first.set()

    async def _use(self, host: SSHHost) -> None:
        try:
            await self._keep(host)
        except Exception as error:  # else it would be as if nothing were wrong there
            self._leave_out(host, f"{type(error).__name__}: {error}")

    async def _keep(self, host: SSHHost) -> None:
        """Have a worker there as long as the run lasts."""
        if not host.is_checked:
            self._happen(
                Happening(
                    f"host {host.name} need not prove who it is, as its connect_options say known_hosts: null. Whoever"
                    " answers there can get at this run"
                )
            )
        useless, again = 0, [_EARLY_AGAIN_AFTER]
        before = False
        while not self._over:
            worker = self._new(host)
            try:
                async with self._connecting:
                    own = await worker.connect()
                await worker.start(self._command(host, worker.name, own), self._message)
                # Not before: there are hosts that let in, and refuse each command.
                self._reached += not before
                before, again = True, list(_AGAIN_AFTER)
                self._first.set()
                self._states[host] = "has a worker that has not come yet"
                self.started += 1
                ending = await watch(worker, self._arrivals, partial(self._has_come, host))
            except Unreachable as error:
                if not again or not (before or error.passing):
                    self._leave_out(host, f"cannot be reached: {error}")
                    return
                wait = again.pop(0)
                self._states[host] = "is out of reach"
                self._happen(Happening(f"host {host.name} cannot be reached: {error}. It is tried again in {wait:g} s"))
                await asyncio.sleep(wait)
                continue
            finally:
                await worker.close()
            if self._over:
                return
            useless = 0 if worker.name in self._arrivals.came else useless + 1
            if not self._judge(worker, ending, useless):
                return
            if useless:
                await asyncio.sleep(_USELESS_PAUSE)

    def _new(self, host: SSHHost) -> RemoteWorker:
        self._named += 1
        self._states[host] = "is being connected to"
        name = f"{self._name}-{self._named}"
        worker = RemoteWorker(host, name, self._logs and self._logs / f"{name}-{host.address}.txt")
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._tasks[task] = worker
        return worker

    def _has_come(self, host: SSHHost) -> None:
        self._states[host] = ""

    def _judge(self, worker: RemoteWorker, ending: Ending, useless: int) -> bool:
        """Whether its host gets another worker. Tells of the one that has ended."""
        host, came = worker.host, worker.name in self._arrivals.came
        if worker.name in self._leaving:
            return True
        told = f"the worker on host {host.name} is lost: its process {ending.text}"
        lost = worker.name if came else ""
        # When a host goes down, or is gone, or it was told to go, nothing that ran there is the cause.
        blame = not ending.is_ours and ending.status not in (None, 0, _SIGTERM)
        if ending.status in _HOPELESS and not came:
            self._leave_out(host, _last(worker.said()) if ending.status == REFUSED else _end_of(worker, ending))
            return False
        if useless >= _USELESS:
            self._leave_out(host, f"{useless} workers in a row have ended before they came. {_end_of(worker, ending)}")
            return False
        if self.restarted >= self._restarts:
            self._happen(Happening(told, lost, blame))
            self._leave_out(host, f"{told}, and job_replacements={self._restarts} workers were started again before")
            return False
        self.restarted += 1
        again = f"another one is started ({self.restarted} of job_replacements={self._restarts})"
        self._happen(Happening(f"{told}; {again}", lost, blame))
        return True

    def _leave_out(self, host: SSHHost, why: str) -> None:
        """Use the host no more; where there are too few now, say so."""
        self._states[host] = ""
        self._using.discard(host)
        self._out.append(f"host {host.name} {why}" if why.startswith("cannot") else f"host {host.name}: {why}")
        another = self._use_next()
        there = len(self._using)
        enough = there >= self._floor or (self._enough and there > 0)
        text = "left out"
        if not another and there == 0:
            text = "no host is left; the last one"
        elif not another and not enough:
            text = f"{there} of min_nodes={self._floor} hosts are left; left out"
        self._happen(Happening(f"{text}: {self._out[-1]}", fatal=not another and not enough))

    def _happen(self, happening: Happening) -> None:
        with self._lock:
            self._happenings.append(happening)


def _last(said: str) -> str:
    return said.splitlines()[-1] if said else ""


def _end_of(worker: RemoteWorker, ending: Ending) -> str:
    lines = worker.said().splitlines()
    said = "It has printed:\n" + "\n".join(lines[-_LOG_LINES:]) if lines else "It has printed nothing"
    if ending.status in _NO_PYTHON or (lines and "No module named" in lines[-1]):
        said += "\nNext: name a Python 3.11 or later that has daskbatch as remote_python"
    return f"The process of the last one {ending.text}. {said}"
