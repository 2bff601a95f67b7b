"""The beginning of a result is written during the run, however small it is and however loaded the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from daskbatch.store import draft
from daskbatch.types import Chunk

__all__ = ["PRELUDE", "install"]

PRELUDE = f"""
import sys
sys.path.insert(0, {__file__.rpartition("/")[0]!r})
import eager_drafts
sys.path.pop(0)
eager_drafts.install(setattr)
"""
"""Python that has it so in the process of a command."""


def install(replace: Callable[[object, str, object], None]) -> None:
    """Have it so in this process, by ``setattr`` or pytest's."""
    replace(draft, "ENOUGH", 1)
    replace(draft, "LEAST_EACH", 0)
    replace(draft, "LEAST_FREE", 0)
    look = draft.Draft.look

    def look_once_it_is_idle(one: draft.Draft, chunks: Sequence[Chunk], settled: Callable[[], tuple[int, int]]) -> None:
        while not one._idle:
            one._over.wait(0.001)
        one._enough = 1
        look(one, chunks, settled)

    replace(draft.Draft, "look", look_once_it_is_idle)
