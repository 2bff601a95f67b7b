"""What is known of a task before its report."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Heard"]


@dataclass(slots=True)
class Heard:
    """What a task under way has told."""

    done: int = 0
    """Mini-batches answered."""
    items: int = 0
    failures: int = 0
    """Failed tries."""
    failed: int = 0
    """Mini-batches that have finally failed."""
    items_failed: int = 0
