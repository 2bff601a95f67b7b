"""Run contenders side by side and print their medians.

Each contender is a function that writes its result into a folder and returns a `Timing`. Each repeat of each is a
fresh Python process, and the repeats are interleaved, so that a noisy minute hits all of them alike. All run with the
Python that runs this program, so that pandas and Arrow are the same for all; a peer that is not installed there is
left out, and that is said. ``make bench`` makes an environment that has them all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import comparison
import psutil
from comparison import Comparison, Repeat, Timing
from process_memory import watched

__all__ = [
    "SLOTS",
    "Benchmark",
    "Contender",
    "Peer",
    "Timing",
    "daskbatch_timing",
    "local_cluster",
    "main",
    "pool",
    "write_rows",
]

SLOTS = 2
MARK = "DASKBATCH_BENCHMARK"
"""Environment variable by which a contender's processes are known, even when their parents have died."""
LIMIT = 900
"""Seconds for one repeat of one contender; more is taken for a hang."""


Contender = Callable[[Path, bool], Timing]
"""Takes the folder for its result and whether the data is the small one."""


@dataclass(frozen=True)
class Peer:
    """A contender that needs a package which daskbatch does not."""

    package: str
    """The distribution's name, as pip knows it."""
    run: Contender
    program: str = ""
    """An executable that it needs on PATH, such as ``"java"``."""

    def __call__(self, out: Path, small: bool) -> Timing:
        """Be the contender."""
        return self.run(out, small)

    @property
    def lacks(self) -> str | None:
        """What is not installed here, None where nothing is missing."""
        if comparison.version(self.package) is None:
            return f"{self.package} is not installed; `make bench` installs it"
        if self.program and shutil.which(self.program) is None:
            return f"{self.program} is not on PATH"
        return None


@dataclass(frozen=True)
class Benchmark:
    """A set of contenders over the same data."""

    name: str
    """Short: the name of the JSON file."""
    title: str
    unit: str
    """What `Timing.work` counts, for the printed rate."""
    prepare: Callable[[bool], object]
    """Makes the data; its argument is whether the small one is wanted."""
    contenders: Mapping[str, Contender]
    """By name. The first is daskbatch; ratios are its time over the others'."""
    check: Callable[[Mapping[str, Path]], None]
    """Raises where the contenders' results differ."""


def daskbatch_timing(
    script: Path,
    inputs: Path,
    output: Path,
    mini_batch_size: int | str,
    work: int | None = None,
    environment: Mapping[str, str] | None = None,
    result: str = "predictions.csv",
) -> Timing:
    """Run daskbatch as a user would, and read its own account of the phases. Work counts mini-batches if not given."""
    import daskbatch

    run = daskbatch.run(
        str(script),
        str(inputs),
        output=str(output),
        mini_batch_size=mini_batch_size,
        process_count_per_node=SLOTS,
        environment_variables=dict(environment or {}),
        append_row_file_name=result,
        progress=False,
    )
    summary = run.summary
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


class ContenderFailed(Exception):
    """Raised when a contender ends with an error or takes too long."""


def _end(processes: Iterable[psutil.Process], grace: float) -> None:
    """Leave nothing of a contender: peers have servers and workers that outlive the process that started them."""
    _, alive = psutil.wait_procs(list(processes), timeout=grace)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=10)


def _marked(mark: str) -> Iterator[psutil.Process]:
    """Yield the processes that carry the mark in their environment, whoever their parent is."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                yield process


def _watch(process: subprocess.Popen[bytes], mark: str) -> tuple[float, int]:
    """Wait for a contender's process; return seconds and the peak of memory."""
    begin = time.perf_counter()
    with watched(process.pid) as peaks:
        try:
            process.wait(LIMIT)
            return time.perf_counter() - begin, peaks.total
        finally:
            # Those that Ray renames lose their environment's beginning: they were among the last seen.
            _end({*_marked(mark), *peaks.last}, grace=10 if process.returncode == 0 else 0)
            process.kill()  # does nothing to one that has ended
            process.wait()


def _repeat(program: str, name: str, folder: Path, small: bool) -> Repeat:
    """Run one contender once, in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Peers' worker processes must find the models: they are started in ways that lose this program's own sys.path.
    paths, mark = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])], uuid.uuid4().hex
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), MARK: mark}
    command = [sys.executable, program, "--contender", name, "--folder", str(folder), *(["--small"] if small else [])]
    said = folder / "said.txt"
    with said.open("w") as file:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        starting = time.perf_counter() - begin
        try:
            seconds, peak = _watch(process, mark)
        except subprocess.TimeoutExpired:
            raise ContenderFailed(f"{name} took more than {LIMIT} s:\n{said.read_text()}") from None
    if process.returncode:
        raise ContenderFailed(f"{name} failed:\n{said.read_text()}")
    return Repeat(starting + seconds, peak, Timing(**json.loads((folder / "timing.json").read_text())))


def _present(contenders: Mapping[str, Contender]) -> dict[str, Contender]:
    """Return the contenders that can run here; say which cannot."""
    found = {}
    for name, contender in contenders.items():
        lacks = contender.lacks if isinstance(contender, Peer) else None
        if lacks:
            print(f"{name} is left out: {lacks}", flush=True)
        else:
            found[name] = contender
    return found


def compare(
    benchmark: Benchmark, program: str, repeats: int, small: bool, enough: float | None = None
) -> tuple[Comparison, list[str]]:
    """Run all contenders `repeats` times and print the medians; return them, and what to say of those that failed.

    One that has taken `enough` seconds in all is not repeated again. One that fails is left out from there on.
    """
    print(
        f"{benchmark.title}: {repeats} repeats, {SLOTS} slots; a ratio is daskbatch's time / the contender's",
        flush=True,
    )
    benchmark.prepare(small)
    contenders = _present(benchmark.contenders)
    measured: dict[str, list[Repeat]] = {name: [] for name in contenders}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="daskbatch-bench-") as scratch:
        folders = {name: Path(scratch) / str(number) for number, name in enumerate(measured)}
        for number in range(repeats):
            for name, rows in list(measured.items()):
                if enough is not None and sum(row.whole for row in rows) > enough:
                    continue
                try:
                    rows.append(_repeat(program, name, folders[name], small))
                except ContenderFailed as error:
                    failed.append(str(error))
                    del measured[name]
            if number == 0:
                benchmark.check({name: folders[name] for name in measured})
    peers = [contender.package for contender in contenders.values() if isinstance(contender, Peer)]
    found = Comparison(benchmark.name, benchmark.title, benchmark.unit, small, measured, comparison.versions(peers))
    print("\n".join(found.table()), "\n", flush=True)
    return found, failed


def main(program: str, *benchmarks: Benchmark) -> None:
    """Be the benchmark's command line, or one contender in its own process."""
    parser = argparse.ArgumentParser(description=benchmarks[0].title)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="tiny data: shows that it works, measures nothing")
    parser.add_argument("--enough", type=float, metavar="SECONDS", help="do not repeat what has taken more in all")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders to run; all others are left out")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write FOLDER/NAME.json for each benchmark")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run = next(b.contenders[options.contender] for b in benchmarks if options.contender in b.contenders)
        timing = run(options.folder, options.small)
        (options.folder / "timing.json").write_text(json.dumps(asdict(timing)))
        return
    failed = []
    for benchmark in benchmarks:
        wanted = {n: c for n, c in benchmark.contenders.items() if not options.only or n in options.only}
        if not wanted:
            continue
        wanted_alone = replace(benchmark, contenders=wanted)
        found, failures = compare(wanted_alone, program, options.repeats, options.small, options.enough)
        failed += failures
        if options.json:
            found.write(options.json)
    if failed:
        sys.exit("\n".join(failed))
