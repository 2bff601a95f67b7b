"""Which workers of a run there are: told by the engine, asked by who looks after their processes."""

from __future__ import annotations

import time
from collections.abc import Collection

__all__ = ["Arrivals"]


class Arrivals:
    """What was seen of workers so far, by name. Any thread: nothing in here is changed, but replaced."""

    def __init__(self) -> None:
        self.here: frozenset[str] = frozenset()
        """Those that were there when somebody looked last."""
        self.came: frozenset[str] = frozenset()
        """Those that ever were."""
        self.looked = 0.0
        """When somebody looked last, by ``time.monotonic()``."""

    def seen(self, workers: Collection[str]) -> None:
        """Tell which workers there are now."""
        self.here = frozenset(workers)
        self.came |= self.here
        self.looked = time.monotonic()  # last: who reads it first finds what was seen then, or later
