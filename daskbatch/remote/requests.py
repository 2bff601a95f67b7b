"""One request to an S3 server, and work of many, from threads that block."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, wait
from contextvars import ContextVar
from typing import Any, TypeVar

from daskbatch.remote.retrying import USUAL, Limit, retried
from daskbatch.remote.urls import split

__all__ = ["Calls", "each", "md5_for", "md5_header", "once", "plain_etag", "request", "result_of", "run"]

A = TypeVar("A")
T = TypeVar("T")

_LOOK_EVERY = 0.2  # seconds
_WIND_UP = 60.0
"""Seconds that work which was interrupted gets to clear up after itself."""


class Calls:
    """What some threads are waiting for, so that another one can end it. A thread belongs to it after `adopt`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._over = False

    def adopt(self) -> None:
        """From now on this thread's calls can be ended."""
        _CALLS.set(self)

    def end(self) -> None:
        """Cancel what is under way, and whatever is begun later: it raises `concurrent.futures.CancelledError`."""
        with self._lock:
            self._over = True
            futures = list(self._futures)
        for future in futures:
            future.cancel()

    @contextlib.contextmanager
    def waiting(self, future: Future[Any]) -> Iterator[None]:
        """While it lasts, `end` cancels `future`."""
        with self._lock:
            self._futures.add(future)
            over = self._over
        if over:
            future.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._futures.discard(future)


_CALLS: ContextVar[Calls | None] = ContextVar("calls", default=None)


async def request(file_system: Any, method: str, url: str, doing: str, limit: Limit = USUAL, **arguments: Any) -> Any:
    """Make one request about the object at `url`, trying again on transient errors; the answer's dictionary.

    For a request whose answer has no body to be read, or whose body the caller reads and retries himself.

    Raises
    ------
    StorageError
    """

    async def attempt(_: int) -> Any:
        return await once(file_system, method, url, **arguments)

    return await retried(attempt, url, doing, limit)


async def once(file_system: Any, method: str, url: str, **arguments: Any) -> Any:
    """Make one request, one try. ``Bucket`` and ``Key`` come from `url`, where `arguments` do not name them."""
    client = await file_system.set_session()
    bucket, key = split(url)
    named = {"Bucket": bucket, **({"Key": key} if key else {}), **file_system.req_kw, **arguments}
    if isinstance(named.get("Body"), bytes):
        named["Body"] = _Body(named["Body"])
    return await getattr(client, method)(**{name: value for name, value in named.items() if value is not None})


class _Body(io.BytesIO):
    """Bytes to be sent: the same ones, where the HTTP client would copy all of them to learn how many they are."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data

    def getbuffer(self) -> memoryview:
        """All of them, to be read."""
        return memoryview(self._data)


async def md5_for(file_system: Any, data: bytes | memoryview) -> str | None:
    """What the server is to check the bytes with; None where the request's signature does so by their SHA-256.

    The client signs the bytes of what goes without TLS, unless the user's profile forbids it or nothing is signed.
    """
    client = await file_system.set_session()
    config = client.meta.config
    signed = not file_system.anon and (config.s3 or {}).get("payload_signing_enabled") in (None, True)
    if signed and client.meta.endpoint_url.startswith("http://"):
        return None
    return await asyncio.to_thread(md5_header, data)


def md5_header(data: bytes | memoryview) -> str:
    """The MD5 of bytes as it goes into a request."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def plain_etag(answer: Any) -> str:
    """The etag without its quotes; empty where the server gave none."""
    return str(answer.get("ETag", "")).strip('"')


def result_of(future: Future[T]) -> T:
    """Wait for work on the client's loop; `Calls.end` cancels it."""
    calls = _CALLS.get()
    with contextlib.nullcontext() if calls is None else calls.waiting(future):
        # Not in one wait: a Ctrl-C that comes right before it begins would not be noticed until its end.
        while not wait([future], _LOOK_EVERY).done:
            pass
        return future.result()


def run(file_system: Any, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the client's loop and wait for it.

    Ctrl-C cancels the work and waits until it has cleared up: an upload is aborted and not left pending.
    """
    ended = threading.Event()

    async def watched() -> T:
        try:
            # Once, before many ask for it: older s3fs would make a client for each. What is wrong, the request says.
            with contextlib.suppress(Exception):
                await file_system.set_session()
            return await work
        finally:
            ended.set()  # a future counts as done as soon as it is cancelled, its work does not

    future = asyncio.run_coroutine_threadsafe(watched(), file_system.loop)
    try:
        return result_of(future)
    except BaseException:
        if future.cancel() or not ended.is_set():
            ended.wait(_WIND_UP)
        raise


async def each(items: Iterable[A], do: Callable[[A], Awaitable[Any]], at_once: int) -> None:
    """Do it for every item, at most `at_once` at the same time. The first error cancels the others."""
    source = iter(items)

    async def worker() -> None:
        for item in source:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
    else:
        return
    raise first  # outside of the handler: its own cause is what the server said
