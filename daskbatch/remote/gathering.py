"""Small results of neighbours become one segment that a store can copy, while the run goes on."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from daskbatch.errors import SegmentDamaged
from daskbatch.failpoints import failpoint
from daskbatch.remote.put import put_bytes
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.segments import SegmentObjects
from daskbatch.store.checksum import crc32
from daskbatch.store.segments import Index, Span, parse_index
from daskbatch.types import Chunk, Record

__all__ = ["gather"]


def gather(segments: SegmentObjects, chunks: Sequence[Chunk], limit: Limit = USUAL) -> Chunk:
    """Put what some chunks hold as one object more, in the input's order; they stay as they are. All is in memory.

    May be called again, or twice at the same time: each call's object has a name of its own, and counts only if it
    is committed.

    Raises
    ------
    SegmentDamaged
        Something is not what was committed.
    StorageError
    """
    failpoint("gather.before")
    found: list[tuple[Record, str, memoryview]] = []
    spans = ((Span(chunk.segment, chunk.offset, chunk.end, chunk.token), chunk) for chunk in chunks)
    for data, chunk in segments.read(spans):
        middle = chunk.index - chunk.offset
        records, signatures = parse_index(segments, chunk, bytes(data[middle:]))
        place = 0
        for row in records.tolist():
            record = Record(*row)
            payload = data[place : place + record.length]
            place += record.length
            if crc32(payload) != record.checksum:
                where = f"{segments.where(chunk.segment)}: the result of mini-batch {record.file}-{record[1]}"
                raise SegmentDamaged(f"{where} is damaged")
            found.append((record, signatures[record.columns], payload))
    found.sort(key=lambda one: one[0][:2])
    index = Index()
    for record, signature, payload in found:
        index.add(record, payload, signature)
    payloads, encoded = [payload for *_, payload in found], index.encoded()
    segment = f"gathered-{secrets.token_hex(8)}.seg"
    token = put_bytes(segments.where(segment), b"".join([*payloads, encoded]), segments.options, limit)
    failpoint("gather.after")
    middle = sum(map(len, payloads))
    return Chunk(segment, 0, middle, middle + len(encoded), len(index), crc32(encoded), token)
