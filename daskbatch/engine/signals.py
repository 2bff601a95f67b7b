"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second for an immediate one."""

from __future__ import annotations

import queue
import signal
import threading
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupts"]


class Interrupts:
    """Take both signals while a run goes on, where this is the main thread.

    While somebody listens on `inbox` a signal's number is put there; before and after, it is raised as
    KeyboardInterrupt. Once the result is decided, the first signal more is put there all the same: it ends waits, and
    leaves the result as it is. The handlers found are put back at the end.
    """

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.listening = False
        self.number: int | None = None
        """The last signal that came."""
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

    def decide(self) -> None:
        """The result is about to get its name: who interrupts from here on must not find it there and not counted."""
        if self._spared is None:
            self._spared = 1

    @property
    def exit_code(self) -> int:
        """Of a process that the last signal has ended."""
        return 128 + (self.number or signal.SIGINT)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if not self.listening:
            if not self._spared:
                raise KeyboardInterrupt
            self._spared -= 1
        self.inbox.put(number)
