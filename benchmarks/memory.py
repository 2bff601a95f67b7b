"""Peak memory and time per mini-batch as the input grows ten times, and ten times more with ``--million``.

A no-op model over the rows of one table, a row a mini-batch, and over empty files, a file a mini-batch. The client
is one process with Dask's scheduler and workers in it; the runners are its children. Peaks are of resident memory
(on Linux the kernel's own high-water mark), read every 50 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import data
import harness
import psutil
from models import noop
from process_memory import MIB, Peaks

KINDS = ("rows", "files")


def inputs(kind: str, count: int) -> tuple[Path, int | str]:
    """Return the input and the mini-batch size that make `count` mini-batches."""
    if kind == "rows":
        return data.number_lines(count) / "numbers.csv", "1rows"
    return data.empty_files(count), 1


@dataclass(frozen=True)
class Row:
    """One size of one kind."""

    kind: str
    count: int
    peaks: Peaks
    seconds: float
    """The run phase."""

    @property
    def each(self) -> float:
        """Microseconds a mini-batch."""
        return self.seconds / self.count * 1e6


def measure(kind: str, count: int) -> Row:
    """Run one size in a process of its own and watch it."""
    inputs(kind, count)
    with tempfile.TemporaryDirectory(prefix="daskbatch-bench-") as scratch:
        command = [sys.executable, __file__, "--one", kind, str(count), scratch]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        peaks, client = Peaks(), psutil.Process(process.pid)
        while process.poll() is None:
            peaks.look(client)
            time.sleep(0.05)
        output, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{kind}, {count} mini-batches failed:\n{output}")
        timing = harness.Timing(**json.loads((Path(scratch) / "timing.json").read_text()))
    if timing.work != count:
        raise SystemExit(f"{kind}: {timing.work} mini-batches were done, expected {count}")
    return Row(kind, count, peaks, timing.run)


def one(kind: str, count: int, folder: Path) -> None:
    """Be the process that is watched."""
    path, size = inputs(kind, count)
    timing = harness.daskbatch_timing(Path(noop.__file__), path, folder / "run", size)
    (folder / "timing.json").write_text(json.dumps(timing.__dict__))


def report(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line a row; the last two columns are against the smallest input."""
    yield (
        f"{'':8}{'mini-batches':>14}{'run s':>9}{'us each':>9}{'client MiB':>12}{'child MiB':>11}{'all MiB':>9}"
        f"{'client more':>13}{'time ratio':>12}"
    )
    for row in rows:
        base = next(r for r in rows if r.kind == row.kind)
        yield (
            f"{row.kind:8}{row.count:14,}{row.seconds:9.2f}{row.each:9.1f}{row.peaks.client / MIB:12.0f}"
            f"{row.peaks.child / MIB:11.0f}{row.peaks.total / MIB:9.0f}"
            f"{(row.peaks.client - base.peaks.client) / MIB:+13.0f}{row.each / base.each:12.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 mini-batches (makes a million files)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--small", action="store_true", help="tiny data: shows that it works, measures nothing")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one[0], int(options.one[1]), Path(options.one[2]))
        return
    counts = [100, 1_000] if options.small else [10_000, 100_000, *([1_000_000] if options.million else [])]
    print(f"memory: peaks, {harness.SLOTS} slots; each size once, in a process of its own", flush=True)
    rows = [measure(kind, count) for kind in options.kinds for count in counts]
    print("\n".join(report(rows)), flush=True)


if __name__ == "__main__":
    main()
