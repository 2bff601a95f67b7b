"""What a task, a word of progress and a call cost in Dask's client and scheduler: a cluster of real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from scale_trials import best

__all__ = ["over_dask"]

PATIENCE = 120.0
"""Seconds that messages get to arrive."""
_CALL = "who hears?"


async def tell(topic: str, count: int, pause: float, dask_worker: Any) -> None:
    """Have a worker tell the client of progress, with a `pause` between words."""
    for number in range(count):
        await asyncio.sleep(pause)
        news = {"task": number, "node": "n", "process": "p", "failures": [], "short": [], "done": 9, "items": 9}
        dask_worker.log_event(topic, news)


def nothing(name: str, task: int, row: bytes) -> dict[str, Any]:
    """Return what a task of a row returns, without running it."""
    from daskbatch.worker.task_report import TaskReport

    return TaskReport(name, f"{task}{len(row)}").as_dict(None, 2.0)


def answer(dask_worker: Any) -> str:
    """Return at once."""
    return str(dask_worker.address)


def over_dask(scratch: Path, batches: list[Any], count: int) -> tuple[float, float, float, float, float]:
    """Return the seconds of a task in client and scheduler, of a word of progress in both, and of a call."""
    from distributed import Client

    from daskbatch.engine.calls import begin_calls, fetch
    from daskbatch.worker.wire import encode_row

    file = scratch / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--idle-timeout", "300", *options], **quiet
    )
    worker = subprocess.Popen(
        [*dask, "worker", "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", *options], **quiet
    )
    try:
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(1)
            (address,) = client.scheduler_info(n_workers=-1)["workers"]
            theirs = psutil.Process(scheduler.pid)

            def spent() -> tuple[float, float]:
                times = theirs.cpu_times()
                return time.process_time(), times.user + times.system

            def tasks() -> None:
                import queue

                inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
                row = encode_row(batches[:20], 2.0, {})
                for number in range(count):
                    future = client.submit(
                        nothing, "name", number, row, key=f"t-{time.monotonic_ns()}", workers=[address], pure=False
                    )
                    future.add_done_callback(lambda done: fetch(client, done, inbox.put))
                for _ in range(count):
                    future, result = inbox.get()
                    assert result.result()["seconds"] == 2.0
                    future.release()

            def events(pause: float) -> None:
                heard: list[Any] = []
                called: list[Any] = []
                topic = f"progress-{pause}"
                client.subscribe_topic(topic, lambda word: (called if word[1] == _CALL else heard).append(word))
                while not called:  # a word that comes before the subscription is heard by nobody
                    client.log_event(topic, _CALL)
                    time.sleep(0.02)
                client.run(tell, topic, count, pause)
                end = time.monotonic() + PATIENCE
                while len(heard) < count:
                    if time.monotonic() > end:
                        raise SystemExit(f"{len(heard)} of {count} words of progress came within {PATIENCE:g} s")
                    time.sleep(0.02)

            def costs(step: Callable[[], None]) -> list[float]:
                before = spent()
                step()
                return [(after - was) / count for was, after in zip(before, spent(), strict=True)]

            tasks()  # what is paid once
            found = costs(tasks)
            # The scheduler hears each worker by itself; what it hears in two milliseconds goes to the client together.
            together, apart = costs(lambda: events(0.0)), costs(lambda: events(0.004))
            found += [together[0], apart[1]]

            def one_call() -> None:
                begin_calls(client, answer, workers=[address])[address].result()

            call = best(one_call, time.perf_counter)
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait()
    return found[0], found[1], found[2], found[3], call
