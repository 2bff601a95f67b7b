"""Peak memory and time per mini-batch as the input grows ten times, and ten times more with ``--million``.

A cheap model over tables of ten and of a hundred times the mini-batches that are under way at once. A no-op model over
the rows of one table, a row a mini-batch, and over empty files, a file a mini-batch. The client is one process with
Dask's scheduler and workers in it; the runners are its children. Peaks are of resident memory (on Linux the kernel's
own high-water mark), read every 50 ms; "all" is the sum of all processes' peaks, pages that they share counted in each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import comparison
import data
import harness
import psutil
from comparison import Comparison, Repeat, Timing
from models import linear, noop
from process_memory import MIB, Peaks

KINDS = ("tables", "rows", "files")
WINDOW = 6
"""Mini-batches under way: three a slot."""
FILE_MB = 6


def counts(kind: str, small: bool, million: bool) -> list[int]:
    """Return the sizes of one kind: mini-batches, or MB of a table that is cut into mini-batches of 2 MB."""
    if kind == "tables":
        return [12, 24] if small else [10 * WINDOW * 2, 100 * WINDOW * 2]
    if small:
        return [100, 1_000]
    # A table of a row each takes half a millisecond to read: a million would take longer than all else together.
    return [10_000, 100_000, *([1_000_000] if million and kind == "files" else [])]


def inputs(kind: str, count: int) -> tuple[Path, Path, int | str]:
    """Return the script, the input and the mini-batch size of one size."""
    if kind == "tables":
        return Path(linear.__file__), data.tables(count // FILE_MB, FILE_MB * 1_000_000), "2MB"
    if kind == "rows":
        return Path(noop.__file__), data.number_lines(count) / "numbers.csv", "1rows"
    return Path(noop.__file__), data.empty_files(count), 1


def measure(kind: str, count: int) -> tuple[Repeat, Peaks]:
    """Run one size in a process of its own and watch it."""
    inputs(kind, count)
    with tempfile.TemporaryDirectory(prefix="daskbatch-bench-") as scratch:
        command = [sys.executable, __file__, "--one", kind, str(count), scratch]
        with (Path(scratch) / "said.txt").open("w") as said:
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            peaks, client = Peaks(), psutil.Process(process.pid)
            while process.poll() is None:
                peaks.look(client)
                time.sleep(0.05)
            whole = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{kind}, {count:,} failed:\n{(Path(scratch) / 'said.txt').read_text()}")
        timing = Timing(**json.loads((Path(scratch) / "timing.json").read_text()))
    if timing.work != count:
        raise SystemExit(f"{kind}: {timing.work} mini-batches were done, expected {count}")
    return Repeat(whole, peaks.summed, timing, peaks.client), peaks


def one(kind: str, count: int, folder: Path) -> None:
    """Be the process that is watched."""
    script, path, size = inputs(kind, count)
    timing = harness.daskbatch_timing(script, path, folder / "run", size, count if kind == "tables" else None)
    (folder / "timing.json").write_text(json.dumps(asdict(timing)))


def name_of(kind: str, count: int) -> str:
    """Return what a size is called."""
    return f"{kind}, {count:,}{' MB' if kind == 'tables' else ''}"


def table(found: Mapping[str, Sequence[Repeat]], children: Mapping[str, int]) -> Iterator[str]:
    """Yield a line a size: medians; ratios and growth are against the smallest of its kind."""
    yield (
        f"{'':20}{'run s':>9}{'us each':>9}{'client MiB':>12}{'child MiB':>11}{'all MiB':>9}"
        f"{'client more':>13}{'all ratio':>11}{'time ratio':>12}"
    )
    bases: dict[str, tuple[float, float, float]] = {}
    for name, rows in found.items():
        seconds = statistics.median(row.timing.run for row in rows)
        each = seconds / rows[0].timing.work * 1e6
        client = statistics.median(row.client_rss or 0 for row in rows)
        total = statistics.median(row.peak_rss for row in rows)
        base = bases.setdefault(name.partition(",")[0], (client, total, each))
        yield (
            f"{name:20}{seconds:9.2f}{each:9.1f}{client / MIB:12.0f}{children[name] / MIB:11.0f}{total / MIB:9.0f}"
            f"{(client - base[0]) / MIB:+13.0f}{total / base[1]:11.3f}{each / base[2]:12.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 mini-batches (makes a million files)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="tiny data: shows that it works, measures nothing")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write FOLDER/memory.json")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one[0], int(options.one[1]), Path(options.one[2]))
        return
    title = "memory: peaks as the input grows"
    print(f"{title}; {harness.SLOTS} slots, each size in a process of its own", flush=True)
    found: dict[str, list[Repeat]] = {}
    children: dict[str, int] = {}
    for _ in range(options.repeats):
        for kind in options.kinds:
            for count in counts(kind, options.small, options.million):
                repeat, peaks = measure(kind, count)
                name = name_of(kind, count)
                found.setdefault(name, []).append(repeat)
                children[name] = max(children.get(name, 0), peaks.child)
    print("\n".join(table(found, children)), flush=True)
    if options.json:
        unit = "mini-batches or MB"
        Comparison("memory", title, unit, options.small, found, comparison.versions(())).write(options.json)


if __name__ == "__main__":
    main()
