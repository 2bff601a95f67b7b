"""How long a run takes for what."""

from __future__ import annotations

import time

__all__ = ["Phase"]


class Phase:
    """Measure a phase in seconds; the same phase again adds to it."""

    def __init__(self, phases: dict[str, float], name: str) -> None:
        self._phases = phases
        self._name = name

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        seconds = time.monotonic() - self._began
        self._phases[self._name] = round(self._phases.get(self._name, 0.0) + seconds, 6)
