"""How the constants of the simulation are timed."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["best"]

TRIALS = 3


def best(step: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the least seconds of a few trials."""
    seconds = []
    for _ in range(TRIALS):
        began = clock()
        step()
        seconds.append(clock() - began)
    return min(seconds)
