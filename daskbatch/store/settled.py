"""Which mini-batches need not run again, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from daskbatch.errors import SegmentDamaged
from daskbatch.store.payloads import Payloads
from daskbatch.store.replay import Replay
from daskbatch.store.segments import Segments, parse_index
from daskbatch.types import OPEN_END, Chunk, MiniBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Settled", "damaged_chunks"]

Key = tuple[int, int]
_SKIPPED_AT_ONCE = 65536  # keys that are Python numbers at a time


class Settled:
    """What a replay and the segments that it names say.

    Parameters
    ----------
    segments : Segments
    found : Replay
    """

    damaged: list[Chunk]
    """Chunks whose index is not the one that was committed: they do not count."""
    chunks: list[Chunk]
    """Those that count."""
    begins: list[Key]
    """The first mini-batch of each."""
    short: dict[Key, dict[str, Any]]
    """Entries of mini-batches that succeeded but returned too little."""
    failed: dict[Key, dict[str, Any]]
    """Entries of those that finally failed."""

    def __init__(self, segments: Segments, found: Replay) -> None:
        try:
            self.damaged, self.chunks = [], found.chunks
            payloads = Payloads(segments, self.chunks, facts=True)
        except SegmentDamaged:
            self.damaged = _without_index(segments, found.chunks)
            lost = set(self.damaged)
            self.chunks = [chunk for chunk in found.chunks if chunk not in lost]
            payloads = Payloads(segments, self.chunks, facts=True)
        self.records, self.begins = payloads.records, payloads.begins
        self._tries = found.tries
        # It may be the end of a stream that is damaged: then streams are read on after what is left.
        self._streams = set() if self.damaged else set(found.streams)
        done = self._done = _keys(self.records)
        self.short, self.failed = {}, {}
        for key, line in found.failed.items():
            entry, has_result = line["entry"], _holds(done, key)
            if "missing" in entry:
                if self._is_short(key):  # else it was noted, and its result did not get as far, or was made again
                    self.short[key] = entry
            elif not has_result:
                self.failed[key] = entry
                if entry.get("rest_of_file"):
                    self._streams.add(key[0])
        self._settled = _with(done, self.failed)

    def _is_short(self, key: Key) -> bool:
        place = int(self._done.searchsorted(_number(key)))
        if place == len(self._done) or self._done[place] != _number(key):
            return False
        return bool(self.records["returned"][place] < self.records["items"][place])

    def totals(self) -> tuple[int, int, int, float]:
        """Of those that succeeded: mini-batches, items that came back, items missing, seconds inside ``run()``."""
        records = self.records[self.records["items"] > 0]
        items, returned = records["items"].astype("i8"), records["returned"].astype("i8")
        missing = int((items - returned).clip(0).sum())
        return len(records), int(items.sum()) - missing, missing, float(records["seconds"].sum())

    def __len__(self) -> int:
        return len(self._settled)

    def remaining(
        self, batches: Iterator[MiniBatch], pass_over: Callable[[MiniBatch], None] = lambda _: None
    ) -> Iterator[MiniBatch]:
        """What is left of a plan.

        Parameters
        ----------
        batches : iterator of MiniBatch
            The whole plan, in its order.
        pass_over : callable
            Told each that is left out.
        """
        settled = self._numbers()
        next_done = next(settled, -1)
        for batch in batches:
            if batch.stop == OPEN_END:
                yield from self._rest_of_stream(batch, pass_over)
                continue
            number = batch.file << 32 | batch.index
            while 0 <= next_done < number:
                next_done = next(settled, -1)
            if next_done == number:
                pass_over(batch)
            else:
                yield batch

    def _numbers(self) -> Iterator[int]:
        for start in range(0, len(self._settled), _SKIPPED_AT_ONCE):
            yield from self._settled[start : start + _SKIPPED_AT_ONCE].tolist()

    def outcome(self, key: Key) -> bool | None:
        """Of one that is settled: True (succeeded), False (failed), None (no record in it)."""
        if key in self.failed:
            return False
        place = int(self._done.searchsorted(_number(key)))
        return True if self.records["items"][place] else None

    def _rest_of_stream(self, batch: MiniBatch, pass_over: Callable[[MiniBatch], None]) -> Iterator[MiniBatch]:
        """Gaps one by one, then what follows the last that is settled, unless the stream has ended there."""
        begin, end = self._settled.searchsorted([_number((batch.file, 0)), _number((batch.file + 1, 0))])
        known = set((self._settled[begin:end] & 0xFFFFFFFF).tolist())
        top = max(known, default=-1) + 1
        ended = batch.file in self._streams
        if ended:  # what was only tried may be its last
            top = max([top, *(index + 1 for file, index in self._tries if file == batch.file)])
        for index in range(batch.index, top):
            one = batch._replace(index=index, start=1)
            if index in known:
                pass_over(one)
            else:
                yield one
        if not ended:
            yield batch._replace(index=top)


def damaged_chunks(segments: Segments, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Chunks of which any byte is not the one that was committed. Reads them all."""
    return [chunk for chunk in chunks if not _is_whole(segments, chunk)]


def _is_whole(segments: Segments, chunk: Chunk) -> bool:
    try:
        for _ in Payloads(segments, [chunk]).pieces():
            pass
    except SegmentDamaged:
        return False
    return True


def _without_index(segments: Segments, chunks: Sequence[Chunk]) -> list[Chunk]:
    lost = []
    for chunk, data in zip(chunks, segments.indexes(chunks), strict=True):
        try:
            parse_index(segments, chunk, data)
        except SegmentDamaged:
            lost.append(chunk)
    return lost


def _number(key: Key) -> np.uint64:
    import numpy as np

    return np.uint64(key[0] << 32 | key[1])


def _keys(records: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    import numpy as np

    keys: npt.NDArray[np.uint64] = records["file"].astype(np.uint64) << np.uint64(32) | records["index"]
    return keys


def _holds(keys: npt.NDArray[np.uint64], key: Key) -> bool:
    place = int(keys.searchsorted(_number(key)))
    return place < len(keys) and bool(keys[place] == _number(key))


def _with(keys: npt.NDArray[np.uint64], more: dict[Key, Any]) -> npt.NDArray[np.uint64]:
    import numpy as np

    if not more:
        return keys
    return np.sort(np.concatenate([keys, np.array([_number(key) for key in more], np.uint64)]))
