"""What the outputs share that were made of one another."""

from __future__ import annotations

from typing import Any

__all__ = ["Origin"]


class Origin:
    """One output, however it is read or delivered."""

    writer: Any = None
    """The step that writes it, which so lives as long as the output: a later step finds it."""
