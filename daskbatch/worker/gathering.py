"""The task that gathers small results, beside the slots' work."""

from __future__ import annotations

from collections.abc import Sequence

from distributed import secede

from daskbatch.remote.gathering import gather
from daskbatch.remote.retrying import Limit
from daskbatch.remote.segments import SegmentObjects
from daskbatch.types import Chunk

__all__ = ["gather_aside"]

_LIMIT = Limit(tries=5, seconds=30.0)
"""Shorter than the engine waits at the end: nothing is to be put once the segments are gone."""


def gather_aside(segments: SegmentObjects, chunks: Sequence[Chunk]) -> tuple[object, ...]:
    """As `gather`, in a thread that is taken from no slot; the fields of the new chunk."""
    secede()
    return tuple(gather(segments, chunks, _LIMIT))
