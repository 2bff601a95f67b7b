"""The payloads of all committed chunks, in the input's order, read in big pieces and checked.

For a million mini-batches this holds 60 MB: the indexes' fields that are needed, and their order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from daskbatch.errors import RunFailed, SegmentDamaged
from daskbatch.store.checksum import crc32
from daskbatch.store.segments import Segments, Span, parse_index
from daskbatch.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Payloads"]

_BLOCK_BYTES = 2**20
_PARTS = 4096


class Payloads:
    """Payloads with their places, sorted by mini-batch.

    Parameters
    ----------
    segments
        Where they are read from.
    chunks
        In any order.
    facts
        Keep what a report needs (items, returned, seconds) in place of what reading payloads needs.
    """

    records: npt.NDArray[Any]
    """One for each mini-batch: file, index, rows, and by `facts` items, returned, seconds or place,
    length, checksum, segment, columns."""

    def __init__(self, segments: Segments, chunks: Sequence[Chunk], *, facts: bool = False) -> None:
        self.source = segments
        self._segments: dict[tuple[str, str], int] = {}
        self.segments: list[tuple[str, str]] = []
        """Name and token of each; `records` name them by number."""
        self.begins: list[tuple[int, int]] = []
        """File and index of the first record of each chunk."""
        self._signatures: dict[str, int] = {}
        self.signatures: list[str] = []
        """Every column signature that occurs; `records` name them by number."""
        self.records = _sorted(self._gather(chunks, facts))

    def _gather(self, chunks: Sequence[Chunk], facts: bool) -> npt.NDArray[Any]:
        import numpy as np

        records = np.empty(sum(chunk.count for chunk in chunks), _dtype(facts))
        segments, signatures = self._segments, self._signatures
        end = 0
        for chunk, data in zip(chunks, self.source.indexes(chunks), strict=True):
            index, names = parse_index(self.source, chunk, data)
            start, end = end, end + chunk.count
            part = records[start:end]
            self.begins.append((int(index["file"][0]), int(index["index"][0])))
            for field in records.dtype.names or ():
                if field in (index.dtype.names or ()):
                    part[field] = index[field]
            if facts:
                continue
            part["segment"] = segments.setdefault((chunk.segment, chunk.token), len(segments))
            numbers = np.array([signatures.setdefault(name, len(signatures)) for name in names], "u4")
            part["columns"] = numbers[index["columns"]]
            ends = np.cumsum(index["length"])
            part["place"] = chunk.offset + ends - index["length"]
        self.segments, self.signatures = list(segments), list(signatures)
        return records

    @property
    def rows(self) -> int:
        """Rows of all of them."""
        return int(self.records["rows"].sum(dtype="u8"))

    @property
    def bytes(self) -> int:
        """Bytes of all of them."""
        return int(self.records["length"].sum(dtype="u8"))

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Have those of more chunks too."""
        import numpy as np

        self.records = _sorted(np.concatenate([self.records, self._gather(chunks, facts=False)]))
        self.begins.clear()  # of all chunks there ever were; who adds does not ask

    def take(self, until: tuple[int, int]) -> Payloads:
        """Part with those of the mini-batches before `until`."""
        import numpy as np

        place = int(_keys(self.records).searchsorted(np.uint64((until[0] << 32) + until[1])))
        taken = self.part(0, place)
        self.records = self.records[place:].copy()  # else the ones taken would stay in memory
        return taken

    def part(self, start: int, stop: int | None = None) -> Payloads:
        """Those of the records from number `start` to before `stop`."""
        part = copy.copy(self)
        part.records = self.records[start:stop]
        return part

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
        record = self.records[number]
        segment, place, length = int(record["segment"]), int(record["place"]), int(record["length"])
        ((data, _),) = self.source.read([(self._span(segment, place, length), None)])
        if crc32(data) != record["checksum"]:
            raise self._damaged(segment, number)
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
        for block, numbers in self.source.read(self._spans(_BLOCK_BYTES)):
            part = self.records[numbers.start : numbers.stop]
            done = 0
            for number, size, checksum in zip(numbers, part["length"].tolist(), part["checksum"].tolist(), strict=True):
                if crc32(block[done : done + size]) != checksum:
                    raise self._damaged(int(part["segment"][0]), number)
                done += size
            yield block, numbers

    def runs(self) -> Iterator[tuple[Span, range]]:
        """Yield the places of all payloads in order, those that lie back to back as one, and the numbers of their
        records. Nothing is read.
        """
        joined: tuple[Span, range] | None = None
        for span, numbers in self._spans(None):
            if joined is None:
                joined = span, numbers
                continue
            before, first = joined
            if (before.segment, before.token, before.end) == (span.segment, span.token, span.start):
                joined = before._replace(end=span.end), range(first.start, numbers.stop)
            else:
                yield joined
                joined = span, numbers
        if joined is not None:
            yield joined

    def _spans(self, most: int | None) -> Iterator[tuple[Span, range]]:
        """Places of some payloads each, `most` bytes or one payload; None: as many as lie back to back."""
        import numpy as np

        for start in range(0, len(self.records), _PARTS):
            part = self.records[start : start + _PARTS]
            lengths, places = part["length"], part["place"]
            ends = places + lengths
            apart = (places[1:] != ends[:-1]) | (part["segment"][1:] != part["segment"][:-1])
            cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(part)]
            sizes = lengths.tolist()
            for first, last in pairwise(cuts):
                segment, place = int(part["segment"][first]), int(places[first])
                while first < last:
                    stop, size = first, 0
                    while stop < last and (stop == first or most is None or size + sizes[stop] <= most):
                        size += sizes[stop]
                        stop += 1
                    if size:
                        yield self._span(segment, place, size), range(start + first, start + stop)
                    place += size
                    first = stop

    def _span(self, segment: int, place: int, size: int) -> Span:
        name, token = self.segments[segment]
        return Span(name, place, place + size, token)

    def _damaged(self, segment: int, number: int) -> SegmentDamaged:
        where = self.source.where(self.segments[segment][0])
        place = int(self.records["place"][number])
        return SegmentDamaged(f"{where}: the result of mini-batch {self.name(number)} at byte {place} is damaged")


def _dtype(facts: bool) -> np.dtype[Any]:
    import numpy as np

    common = [("file", "u4"), ("index", "u4"), ("rows", "u4")]
    if facts:
        return np.dtype([*common, ("items", "u4"), ("returned", "u4"), ("seconds", "f8")])
    return np.dtype(
        [*common, ("columns", "u4"), ("checksum", "u4"), ("segment", "u4"), ("length", "i8"), ("place", "i8")]
    )


def _keys(records: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """One number for each mini-batch, in the input's order."""
    import numpy as np

    keys: npt.NDArray[np.uint64] = records["file"].astype("u8") << np.uint64(32) | records["index"]
    return keys


def _sorted(records: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return records by (file, index); most often they nearly are, and then nothing is copied."""
    import numpy as np

    keys = _keys(records)
    if bool((keys[1:] > keys[:-1]).all()):
        return records
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        key = int(keys[twice[0]])
        raise RunFailed(f"mini-batch {key >> 32}-{key & 0xFFFFFFFF} was committed twice; no such output is written")
    return records[order]
