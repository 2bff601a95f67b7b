"""dask-jobqueue's coroutines, from code that may stand in somebody's event loop: a notebook's cells do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["in_own_loop"]


def in_own_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a loop of its own, in a thread of its own; give what it gives, or raise that."""
    with ThreadPoolExecutor(1, "daskbatch-loop") as thread:
        return thread.submit(asyncio.run, coroutine).result()
