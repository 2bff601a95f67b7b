"""Dask's own log, while a cluster of ours is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet", "quiet_scheduler"]


class _Quiet:
    """Holds a logger at a level while any cluster of ours is there, whichever of them ends first."""

    def __init__(self, name: str, level: int) -> None:
        self._logger, self._level = logging.getLogger(name), level
        self._lock, self._inside, self._before = threading.Lock(), 0, logging.NOTSET

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._before = self._logger.level
                self._logger.setLevel(self._level)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._logger.setLevel(self._before)


quiet = _Quiet("distributed", logging.ERROR)
"""Closing the comms of runners' threads is Dask's work; its warnings about that are not for our users."""
quiet_scheduler = _Quiet("distributed.scheduler", logging.CRITICAL)
"""Of a queue's jobs: that workers come and go is no error, and is told in our own words."""
