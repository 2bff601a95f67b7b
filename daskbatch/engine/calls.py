"""Calls to scheduler and workers that cannot block the engine: one stuck worker is not the others' affair."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from daskbatch.failpoints import failpoint

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["begin_calls", "call_workers", "fetch", "present_workers", "told_of"]

_ANSWER_TIMEOUT = 10.0  # seconds


def begin_calls(
    client: Client, function: Callable[..., Any], *args: Any, workers: Iterable[str]
) -> dict[str, concurrent.futures.Future[Any]]:
    """Start ``function(*args, dask_worker=...)`` on each worker by itself."""
    # Client.run asks all workers in one go and waits for the slowest, for ever if it is stopped.
    loop = cast(Any, client.loop).asyncio_loop
    return {
        worker: asyncio.run_coroutine_threadsafe(client._run(function, *args, workers=[worker]), loop)
        for worker in workers
    }


def fetch(client: Client, future: Future[Any], put: Callable[[tuple[Any, Any]], None]) -> None:
    """Have the result of a future that is done brought; `put` gets both, the result as a future of its own.

    ``future.result()`` would wait for ever where the worker has died, or was stopped, since it was done.
    """
    loop = cast(Any, client.loop).asyncio_loop
    call = asyncio.run_coroutine_threadsafe(cast(Any, future)._result(), loop)

    def arrived(result: concurrent.futures.Future[Any]) -> None:
        failpoint("report.after")
        put((future, result))

    call.add_done_callback(arrived)


def present_workers(client: Client) -> dict[str, dict[str, Any]] | None:
    """What the scheduler says of its workers, by address; None where it does not answer, for now.

    Not ``Client.scheduler_info``: that returns what its cache holds by then, and every few seconds the client itself
    puts an answer into it that has no workers. All would be taken for lost.
    """
    try:
        answer = client.sync(_identity, client, callback_timeout=_ANSWER_TIMEOUT)
    except OSError:  # a timeout is one
        return None
    workers: dict[str, dict[str, Any]] = answer["workers"]
    return workers


async def _identity(client: Client) -> Any:
    return await cast(Any, client.scheduler).identity(n_workers=-1)


def call_workers(
    client: Client, function: Callable[..., Any], *args: Any, workers: Iterable[str], timeout: float
) -> dict[str, Any]:
    """Call a function on each worker; return the answers of those that gave one in time.

    Parameters
    ----------
    timeout : float
        Seconds, for all together.
    """
    calls = begin_calls(client, function, *args, workers=workers)
    concurrent.futures.wait(calls.values(), timeout)
    answers = {}
    for worker, call in calls.items():
        if not call.done():
            call.cancel()
        elif call.exception() is None:
            answers[worker] = call.result()[worker]
    return answers


def told_of(error: BaseException) -> str:
    """What a call has raised, in a line."""
    return f"{type(error).__name__}: {error}"
