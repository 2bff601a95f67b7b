"""Trying again: the one place that does.

botocore's own loop is off (``filesystem.py``), and s3fs's is not reached, since requests go to the client that it made.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from daskbatch.remote.errors import explained, is_transient

__all__ = ["AT_START", "USUAL", "Limit", "pause", "retried", "retried_sync"]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a request is tried again; the first of both that is reached ends it."""

    tries: int = 10
    seconds: float = 120.0
    """From the first try on. No try begins later; one that is going on may take its own timeout longer."""


USUAL = Limit()
"""While a run is going on: a store may be gone for two minutes."""

AT_START = Limit(tries=4, seconds=15.0)
"""Before a run starts a user waits for the answer: a wrong endpoint looks like a passing fault."""

_BASE, _CAP = 0.1, 20.0
"""Seconds: the longest pause after the first try, and after any."""


def pause(tries: int, chance: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait after so many failed tries: anything up to a bound that doubles.

    Full jitter: clients that were throttled together do not come back together.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return chance(0.0, min(_CAP, _BASE * 2.0 ** min(tries, 30)))


async def retried(
    attempt: Callable[[int], Awaitable[T]],
    url: str,
    doing: str,
    limit: Limit = USUAL,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Await `attempt` until it goes well, up to the limit.

    Parameters
    ----------
    attempt
        Makes one request. Gets how many tries have failed before: after a lost reply a request may have done its work.
    url, doing
        For the message.

    Raises
    ------
    StorageError
        What is not transient at once; what is, when the limit is reached.
    """
    begin, failed = clock(), 0
    while True:
        try:
            return await attempt(failed)
        except Exception as error:
            failed += 1
            wait = _wait(error, failed, clock() - begin, limit)
            if wait is None:
                raise explained(error, url, _told(error, doing, failed)) from error
        await asyncio.sleep(wait)


def retried_sync(attempt: Callable[[], T], url: str, doing: str, limit: Limit = USUAL) -> T:
    """Do the same as `retried` for a call that blocks."""
    begin, failed = time.monotonic(), 0
    while True:
        try:
            return attempt()
        except Exception as error:
            failed += 1
            wait = _wait(error, failed, time.monotonic() - begin, limit)
            if wait is None:
                raise explained(error, url, _told(error, doing, failed)) from error
        time.sleep(wait)


def _wait(error: Exception, failed: int, gone: float, limit: Limit) -> float | None:
    """Seconds until the next try; None where there is none."""
    if not is_transient(error) or failed >= limit.tries:
        return None
    wait = pause(failed)
    return wait if gone + wait < limit.seconds else None


def _told(error: Exception, doing: str, failed: int) -> str:
    return f"{doing}, tried {failed} times" if is_transient(error) and failed > 1 else doing
