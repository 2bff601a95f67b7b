"""Time to the first ``run()``, and the whole time of a job of 100 items, a file a mini-batch.

From the call, or for the command line from the start of its process, imports included. "whole s" has the start of the
interpreter in it. The model returns the moment of each of its calls.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import data
import harness
from models import first

SCRIPT = Path(first.__file__)
COUNT = 100


def prepare(_: bool) -> None:
    data.empty_files(COUNT)


def timing(began: float, results: Path) -> harness.Timing:
    """Return what `results` says of a job that began then and is over now."""
    whole = time.monotonic() - began
    with results.open(newline="") as file:
        moments = [float(row["result"]) for row in csv.DictReader(file)]
    return harness.Timing(whole, len(moments), min(moments) - began)


def with_call(out: Path, _: bool) -> harness.Timing:
    began = time.monotonic()
    import daskbatch

    daskbatch.run(
        str(SCRIPT),
        str(data.empty_files(COUNT)),
        output=str(out / "run"),
        mini_batch_size=1,
        process_count_per_node=harness.SLOTS,
        progress=False,
    )
    return timing(began, out / "run" / "predictions.csv")


def with_command(out: Path, _: bool) -> harness.Timing:
    command = [sys.executable, "-m", "daskbatch", "run", str(SCRIPT), str(data.empty_files(COUNT))]
    command += ["--output", str(out / "run"), "--mini-batch-size", "1", "--quiet"]
    began = time.monotonic()
    subprocess.run([*command, "--process-count-per-node", str(harness.SLOTS)], check=True)
    return timing(began, out / "run" / "predictions.csv")


def paths() -> list[list[str]]:
    return [[str(path)] for path in sorted(data.empty_files(COUNT).iterdir())]


def write(out: Path, results: Sequence[list[float]]) -> Path:
    harness.write_rows(out / "predictions.csv", ["result"], iter(results))
    return out / "predictions.csv"


def with_pool(out: Path, _: bool) -> harness.Timing:
    began = time.monotonic()
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(harness.SLOTS) as pool:
        return timing(began, write(out, list(pool.imap(first.run, paths()))))


def with_bag(out: Path, _: bool) -> harness.Timing:
    began = time.monotonic()
    import dask.bag as db

    with harness.local_cluster():
        bag = db.from_sequence(paths(), npartitions=COUNT).map(first.run)
        return timing(began, write(out, bag.compute()))


def check(folders: Mapping[str, Path]) -> None:
    """Every contender ran all items."""
    for name, out in folders.items():
        lines = len(next(out.rglob("predictions.csv")).read_text().splitlines())
        if lines != COUNT + 1:
            raise SystemExit(f"{name} wrote {lines} lines, expected {COUNT + 1}")


BENCHMARK = harness.Benchmark(
    name="startup",
    title="startup: a job of 100 items",
    unit="mini-batches",
    prepare=prepare,
    contenders={"daskbatch": with_call, "daskbatch run": with_command, "pool": with_pool, "dask.bag": with_bag},
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
