"""Dask's own log, while a cluster of ours is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]


class _Quiet:
    """Holds Dask's logger at errors while any cluster of ours is there, whichever of them ends first.

    Closing the comms of runners' threads is Dask's work; its warnings about that are not for our users.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, logging.NOTSET

    @contextmanager
    def __call__(self) -> Iterator[None]:
        logger = logging.getLogger("distributed")
        with self._lock:
            if self._inside == 0:
                self._before = logger.level
                logger.setLevel(logging.ERROR)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    logger.setLevel(self._before)


quiet = _Quiet()
