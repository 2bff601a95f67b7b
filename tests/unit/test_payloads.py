"""Payloads of many mini-batches that lie back to back are one place, however many they are."""

from __future__ import annotations

from pathlib import Path

from daskbatch.store.payloads import Payloads
from daskbatch.store.segments import SegmentFolder, SegmentWriter
from daskbatch.types import Record


def test_what_lies_back_to_back_is_one_run(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    chunks = []
    for start in (0, 5000):
        for number in range(start, start + 5000):
            writer.append(Record(0, number, 1, 1, 1, 0, 0, 0, 0.0), b"ten bytes\n", "[]")
        chunk = writer.commit()
        assert chunk is not None
        chunks.append(chunk)
    writer.close()
    payloads = Payloads(SegmentFolder(tmp_path), chunks)
    runs = list(payloads.runs())
    assert [(span.start, span.end) for span, _ in runs] == [(chunk.offset, chunk.index) for chunk in chunks]
    assert [numbers for _, numbers in runs] == [range(5000), range(5000, 10000)]
