"""Run contenders side by side and print their medians.

Each contender is a function that writes its result into a folder and returns a `Timing`. Each repeat of each is a
fresh Python process, and the repeats are interleaved, so that a noisy minute hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["SLOTS", "Benchmark", "Timing", "daskbatch_timing", "local_cluster", "main", "pool", "write_rows"]

SLOTS = 2


@dataclass(frozen=True)
class Timing:
    """What a contender says about one repeat."""

    run: float
    """Seconds from when its processes are up (daskbatch: the first ``run()``) to when the result file is complete."""
    work: int
    """Units done: mini-batches, rows or pictures."""
    first_run: float | None = None
    """Seconds from the call to the first ``run()``; None where the contender cannot tell."""


Contender = Callable[[Path, bool], Timing]
"""Takes the folder for its result and whether the data is the small one."""


@dataclass(frozen=True)
class Benchmark:
    """A set of contenders over the same data."""

    title: str
    unit: str
    """What `Timing.work` counts, for the printed rate."""
    prepare: Callable[[bool], object]
    """Makes the data; its argument is whether the small one is wanted."""
    contenders: Mapping[str, Contender]
    """By name. The first is daskbatch; ratios are its time over the others'."""
    check: Callable[[Mapping[str, Path]], None]
    """Raises where the contenders' results differ."""


@dataclass(frozen=True)
class Repeat:
    """One repeat, measured from outside."""

    whole: float
    """Seconds from starting the process to its end."""
    timing: Timing


def daskbatch_timing(
    script: Path,
    inputs: Path,
    output: Path,
    mini_batch_size: int | str,
    work: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Timing:
    """Run daskbatch as a user would, and read its own account of the phases. Work counts mini-batches if not given."""
    import daskbatch

    result = daskbatch.run(
        str(script),
        str(inputs),
        output=str(output),
        mini_batch_size=mini_batch_size,
        process_count_per_node=SLOTS,
        environment_variables=dict(environment or {}),
        progress=False,
    )
    summary = result.summary
    done, first = int(summary["mini_batches"]["succeeded"]), float(summary["first_run_seconds"])
    return Timing(float(summary["seconds"]) - first, work or done, first)


@contextmanager
def pool() -> Iterator[Any]:
    """Yield a multiprocessing pool whose processes are up."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(SLOTS) as processes:
        processes.map(time.sleep, [0.05] * SLOTS, chunksize=1)
        yield processes


@contextmanager
def local_cluster() -> Iterator[Any]:
    """Yield a Client of a LocalCluster as Dask's documentation recommends it, its workers up."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=SLOTS, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(SLOTS)
        yield client


def write_rows(path: Path, header: Sequence[str], rows: Iterator[Sequence[object]]) -> int:
    """Write a CSV file; return the number of rows."""
    import csv

    count = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _repeat(program: str, name: str, folder: Path, small: bool) -> Repeat:
    """Run one contender once, in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, program, "--contender", name, "--folder", str(folder), *(["--small"] if small else [])]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")
    return Repeat(whole, Timing(**json.loads((folder / "timing.json").read_text())))


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _table(benchmark: Benchmark, repeats: Mapping[str, Sequence[Repeat]]) -> Iterator[str]:
    ours = next(iter(benchmark.contenders))
    run = {name: _median([r.timing.run for r in rows]) for name, rows in repeats.items()}
    whole = {name: _median([r.whole for r in rows]) for name, rows in repeats.items()}
    work = {name: rows[0].timing.work for name, rows in repeats.items()}
    per = {name: run[name] / work[name] for name in repeats}
    yield f"{'':24}{'run s':>9}{'whole s':>9}{benchmark.unit + '/s':>18}{'run ratio':>11}{'whole ratio':>13}"
    for name in repeats:
        ratios = f"{per[ours] / per[name]:11.3f}"
        ratios += f"{whole[ours] / whole[name]:13.3f}" if work[name] == work[ours] else f"{'':>13}"
        yield f"{name:24}{run[name]:9.3f}{whole[name]:9.3f}{1 / per[name]:18,.0f}{ratios}"
    first = [r.timing.first_run for r in repeats.get(ours, ()) if r.timing.first_run is not None]
    if first:
        yield f"{ours}: from the call to the first run(): {_median(first):.2f} s"


def compare(benchmark: Benchmark, program: str, repeats: int, small: bool) -> None:
    """Run all contenders `repeats` times and print the medians."""
    print(
        f"{benchmark.title}: {repeats} repeats, {SLOTS} slots; a ratio is daskbatch's time / the contender's",
        flush=True,
    )
    benchmark.prepare(small)
    measured: dict[str, list[Repeat]] = {name: [] for name in benchmark.contenders}
    with tempfile.TemporaryDirectory(prefix="daskbatch-bench-") as scratch:
        folders = {name: Path(scratch) / str(number) for number, name in enumerate(measured)}
        for number in range(repeats):
            for name, rows in measured.items():
                rows.append(_repeat(program, name, folders[name], small))
            if number == 0:
                benchmark.check(folders)
    print("\n".join(_table(benchmark, measured)), "\n", flush=True)


def main(program: str, *benchmarks: Benchmark) -> None:
    """Be the benchmark's command line, or one contender in its own process."""
    parser = argparse.ArgumentParser(description=benchmarks[0].title)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="tiny data: shows that it works, measures nothing")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders to run; all others are left out")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run = next(b.contenders[options.contender] for b in benchmarks if options.contender in b.contenders)
        timing = run(options.folder, options.small)
        (options.folder / "timing.json").write_text(json.dumps(asdict(timing)))
        return
    for benchmark in benchmarks:
        wanted = {n: c for n, c in benchmark.contenders.items() if not options.only or n in options.only}
        compare(replace(benchmark, contenders=wanted), program, options.repeats, options.small)
