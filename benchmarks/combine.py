"""The reduction on a local disk: segments of two slots become one CSV file, beside ``cat`` of the same segments.

Each row of mini-batches went to one of the slots in turn, as in a run. Both write to the filesystem of the segments
and wait until the file is on the disk. What daskbatch does besides: it sorts, checks each mini-batch's CRC-32, hashes
the whole, and writes the report of mini-batches.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import data
import harness

MB = 1_000_000
ROW_OF = 16
"""Mini-batches of one task."""


def size(small: bool) -> int:
    """Return the bytes of all payloads."""
    return 8 * MB if small else 2_000 * MB


def make(folder: Path, total: int) -> None:
    """Commit `total` bytes, 256 KB a mini-batch."""
    from daskbatch.store.segments import SegmentWriter
    from daskbatch.types import Record

    payload = b"".join(b"%07d,%0.5f\n" % (n, n / 7) for n in range(256_000 // 16))
    rows, columns = payload.count(b"\n"), json.dumps([["id", "int64"], ["score", "double"]])
    slots = [SegmentWriter(folder, f"slot{number}") for number in range(harness.SLOTS)]
    chunks = []
    for start in range(0, total // len(payload), ROW_OF):
        slot = slots[start // ROW_OF % len(slots)]
        for index in range(start, min(start + ROW_OF, total // len(payload))):
            slot.append(Record(0, index, rows, rows, rows, 0, 0, 0, 0.001), payload, columns)
        chunk = slot.commit()
        assert chunk is not None
        chunks.append(list(chunk))
    for slot in slots:
        slot.close()
    (folder / "chunks.json").write_text(json.dumps(chunks))


def folder(small: bool) -> Path:
    return data.segments(size(small), make)


def prepare(small: bool) -> None:
    """Make the segments, and have them in memory where they fit: what is measured is not the disk's reading."""
    for path in folder(small).iterdir():
        with path.open("rb") as file:
            while file.read(MB):
                pass


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    from daskbatch.store.combine import combine, write_processed_csv
    from daskbatch.store.segments import SegmentFolder
    from daskbatch.types import Chunk

    results = SegmentFolder(folder(small))
    chunks = [Chunk(*chunk) for chunk in json.loads((folder(small) / "chunks.json").read_text())]
    begin = time.perf_counter()
    write_processed_csv(results, out, chunks, out / "processed.csv")
    combine(results, out, chunks, out / "predictions.csv")
    return harness.Timing(time.perf_counter() - begin, size(small) // MB)


def with_cat(out: Path, small: bool) -> harness.Timing:
    segments = sorted(map(str, folder(small).glob("*.seg")))
    begin = time.perf_counter()
    with (out / "predictions.csv").open("wb") as file:
        subprocess.run(["cat", *segments], stdout=file, check=True)
        os.fsync(file.fileno())
    return harness.Timing(time.perf_counter() - begin, size(small) // MB)


def check(folders: Mapping[str, Path]) -> None:
    """The result is as long as its segments, but for a header and their indexes."""
    sizes = {name: (out / "predictions.csv").stat().st_size for name, out in folders.items()}
    if max(sizes.values()) > 1.01 * min(sizes.values()):
        raise SystemExit(f"the files differ in size: {sizes}")


BENCHMARK = harness.Benchmark(
    name="combine",
    title="combine: 2 GB of CSV, 256 KB a mini-batch",
    unit="MB",
    prepare=prepare,
    contenders={"daskbatch": with_daskbatch, "cat": with_cat},
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
