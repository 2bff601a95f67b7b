"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second for an immediate one, the third does not ask."""

from __future__ import annotations

import queue
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupts"]

_PATIENCE = 10.0
"""Seconds after the second: by then who listens has ended the work, unless a scheduler that stands still holds him."""


class Interrupts:
    """Take both signals while a run goes on, where this is the main thread.

    While somebody listens on `inbox` a signal's number is put there, but a third one long after the second is raised:
    who listens does not come to them. Before and after, each is raised as KeyboardInterrupt. While they are held, and
    for the first one once the result is decided, they are put there all the same: they end waits, and leave the result
    as it is. The handlers found are put back at the end.
    """

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.listening = False
        self.number: int | None = None
        """The last signal that came."""
        self._heard: list[float] = []
        self._held = False
        self._spared: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # one that was not set from Python cannot be put back from it
                signal.signal(number, handler)

    def hold(self) -> None:
        """The result is about to get its name: who interrupts now must not find it there and not counted."""
        self._held = True

    def release(self) -> None:
        """The step that must not be left in the middle is over, whatever came of it."""
        self._held = False

    def decide(self) -> None:
        """The result counts: the first signal more ends what is waited for, and that alone."""
        if self._spared is None:
            self._spared = 1

    @property
    def exit_code(self) -> int:
        """Of a process that the last signal has ended."""
        return 128 + (self.number or signal.SIGINT)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self.listening:
            self._heard.append(time.monotonic())
            if len(self._heard) > 2 and self._heard[-1] - self._heard[1] > _PATIENCE:
                raise KeyboardInterrupt
        elif not self._held:
            if not self._spared:
                raise KeyboardInterrupt
            self._spared -= 1
        self.inbox.put(number)
