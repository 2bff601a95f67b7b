"""Does nothing: what is left is the engine's own time."""

from __future__ import annotations

from typing import Any


def run(mini_batch: Any) -> list[int]:
    """Return one number an item."""
    return [0] * len(mini_batch)
