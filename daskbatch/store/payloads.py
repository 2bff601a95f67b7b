"""The payloads of all committed chunks, in the input's order, read in big pieces and checked.

For a million mini-batches this holds 60 MB: the indexes' fields that are needed, and their order.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.errors import RunFailed, SegmentDamaged
from daskbatch.store.segments import open_segment, read_index
from daskbatch.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Payloads"]

_BLOCK_BYTES = 2**20
_PARTS = 4096
_OPEN_FILES = 64


class Payloads:
    """Payloads with their places, sorted by mini-batch.

    Parameters
    ----------
    folder
        The segments.
    chunks
        In any order.
    facts
        Keep what a report needs (items, returned, seconds) in place of what reading payloads needs.
    """

    records: npt.NDArray[Any]
    """One for each mini-batch: file, index, rows, and by `facts` items, returned, seconds or place,
    length, checksum, segment, columns."""

    def __init__(self, folder: Path, chunks: Sequence[Chunk], *, facts: bool = False) -> None:
        self.folder = folder
        self.segments: list[str] = []
        self.signatures: list[str] = []
        """Every column signature that occurs; `records` name them by number."""
        records = self._gather(chunks, facts)
        self.records = _sorted(records)
        self.rows = int(self.records["rows"].sum(dtype="u8"))
        self._fds: OrderedDict[int, int] = OrderedDict()

    def _gather(self, chunks: Sequence[Chunk], facts: bool) -> npt.NDArray[Any]:
        import numpy as np

        records = np.empty(sum(chunk.count for chunk in chunks), _dtype(facts))
        segments: dict[str, int] = {}
        signatures: dict[str, int] = {}
        end = 0
        for chunk in chunks:
            index, names = read_index(self.folder, chunk)
            start, end = end, end + chunk.count
            part = records[start:end]
            for field in records.dtype.names or ():
                if field in (index.dtype.names or ()):
                    part[field] = index[field]
            if facts:
                continue
            part["segment"] = segments.setdefault(chunk.segment, len(segments))
            numbers = np.array([signatures.setdefault(name, len(signatures)) for name in names], "u4")
            part["columns"] = numbers[index["columns"]]
            ends = np.cumsum(index["length"])
            part["place"] = chunk.offset + ends - index["length"]
        self.segments, self.signatures = list(segments), list(signatures)
        return records

    def name(self, number: int) -> str:
        """Return a mini-batch's key as people read it."""
        return f"{self.records['file'][number]}-{self.records['index'][number]}"

    def first_uses(self) -> list[tuple[int, int]]:
        """Return (signature, number of the first record with it), for records with rows, in order."""
        import numpy as np

        filled = np.flatnonzero(self.records["length"])
        numbers, firsts = np.unique(self.records["columns"][filled], return_index=True)
        order = np.argsort(firsts)
        return [(int(numbers[i]), int(filled[firsts[i]])) for i in order]

    def payload(self, number: int) -> memoryview:
        """Return one payload by itself. For a few of them, such as the first of each signature."""
        with self._files():
            record = self.records[number]
            data = self._read(int(record["segment"]), int(record["place"]), int(record["length"]))
        if zlib.crc32(data) != record["checksum"]:
            raise self._damaged(int(record["segment"]), number)
        return data

    def blocks(self) -> Iterator[memoryview]:
        """Yield all payloads' bytes in order, in pieces of about a megabyte."""
        return (block for block, _ in self.pieces())

    def pieces(self) -> Iterator[tuple[memoryview, range]]:
        """Yield bytes and the numbers of the records whose payloads they are, whole ones, checked.

        Raises
        ------
        SegmentDamaged
            A payload's checksum differs.
        """
        import numpy as np

        with self._files():
            for start in range(0, len(self.records), _PARTS):
                part = self.records[start : start + _PARTS]
                lengths, places = part["length"], part["place"]
                ends = places + lengths
                apart = (places[1:] != ends[:-1]) | (part["segment"][1:] != part["segment"][:-1])
                cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(part)]
                sizes, sums = lengths.tolist(), part["checksum"].tolist()
                for first, last in pairwise(cuts):
                    segment, place = int(part["segment"][first]), int(places[first])
                    yield from self._run(start, first, last, segment, place, sizes, sums)

    @contextlib.contextmanager
    def _files(self) -> Iterator[None]:
        try:
            yield
        finally:
            while self._fds:
                os.close(self._fds.popitem()[1])

    def _run(
        self, base: int, first: int, last: int, segment: int, place: int, sizes: list[int], sums: list[int]
    ) -> Iterator[tuple[memoryview, range]]:
        """Read payloads that lie back to back."""
        while first < last:
            stop, size = first, 0
            while stop < last and (stop == first or size + sizes[stop] <= _BLOCK_BYTES):
                size += sizes[stop]
                stop += 1
            if size:
                block = self._read(segment, place, size)
                done = 0
                for number in range(first, stop):
                    end = done + sizes[number]
                    if zlib.crc32(block[done:end]) != sums[number]:
                        raise self._damaged(segment, base + number)
                    done = end
                yield block, range(base + first, base + stop)
            place += size
            first = stop

    def _read(self, segment: int, place: int, size: int) -> memoryview:
        fd = self._fds.pop(segment, -1)
        if fd < 0:
            if len(self._fds) >= _OPEN_FILES:
                os.close(self._fds.popitem(last=False)[1])
            fd = open_segment(self.folder, self.segments[segment])
        self._fds[segment] = fd
        parts = []
        while size > 0:  # Linux gives at most 2 GB at once
            data = os.pread(fd, size, place)
            if not data:
                path = self.folder / self.segments[segment]
                raise SegmentDamaged(f"{path} is shorter than what was committed: it ends before byte {place + size}")
            parts.append(data)
            place += len(data)
            size -= len(data)
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def _damaged(self, segment: int, number: int) -> SegmentDamaged:
        path = self.folder / self.segments[segment]
        place = int(self.records["place"][number])
        return SegmentDamaged(f"{path}: the result of mini-batch {self.name(number)} at byte {place} is damaged")


def _dtype(facts: bool) -> np.dtype[Any]:
    import numpy as np

    common = [("file", "u4"), ("index", "u4"), ("rows", "u4")]
    if facts:
        return np.dtype([*common, ("items", "u4"), ("returned", "u4"), ("seconds", "f8")])
    return np.dtype(
        [*common, ("columns", "u4"), ("checksum", "u4"), ("segment", "u4"), ("length", "i8"), ("place", "i8")]
    )


def _sorted(records: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return records by (file, index); most often they nearly are, and then nothing is copied."""
    import numpy as np

    keys = records["file"].astype("u8") << np.uint64(32) | records["index"]
    if bool((keys[1:] > keys[:-1]).all()):
        return records
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        key = int(keys[twice[0]])
        raise RunFailed(f"mini-batch {key >> 32}-{key & 0xFFFFFFFF} was committed twice; no such output is written")
    return records[order]
