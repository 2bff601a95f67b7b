"""What failures cost: one mini-batch in a hundred raises, segfaults or hangs at each of its three tries.

Each mini-batch takes 20 ms of a core, ``init()`` takes 0.2 s. A failing one fails when its work is done, so that 2 %
more work than in the clean run is the least that can be. The ideal of the hanging ones is arithmetic: the clean run's
work, and for each of their tries the timeout and another ``init()``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import data
import harness
from models import failing

SCRIPT = Path(failing.__file__)
TIMEOUT = 0.5
"""Seconds that a hanging ``run()`` gets."""
TRIES = 3


def count(small: bool) -> int:
    return 100 if small else 1_000


def prepare(small: bool) -> None:
    data.empty_files(count(small))


def timed(out: Path, small: bool, how: str) -> harness.Timing:
    import daskbatch

    options = {"run_invocation_timeout": TIMEOUT} if how == "hang" else {}
    result = daskbatch.run(
        str(SCRIPT),
        str(data.empty_files(count(small))),
        output=str(out / "run"),
        mini_batch_size=1,
        process_count_per_node=harness.SLOTS,
        environment_variables={"FAILURE": how},
        error_threshold=-1,
        run_max_try=TRIES,
        progress=False,
        **options,  # type: ignore[arg-type]
    )
    summary = result.summary
    batches, first = summary["mini_batches"], float(summary["first_run_seconds"])
    expected = count(small) // failing.EVERY if how else 0
    if batches["failed"] != expected or summary["tries"] != batches["total"] + expected * (TRIES - 1):
        raise SystemExit(f"{how or 'clean'}: {expected} mini-batches were to fail {TRIES} times, got {summary}")
    return harness.Timing(float(summary["seconds"]) - first, int(batches["total"]), first)


def hang_ideal(out: Path, small: bool) -> harness.Timing:
    """Not run: the work, and for each try that hangs its timeout and a new runner's ``init()``, over the slots."""
    total = count(small)
    (out / "predictions.csv").write_text("result\n")
    work = total * failing.RUN_SECONDS + total // failing.EVERY * TRIES * (TIMEOUT + failing.INIT_SECONDS)
    return harness.Timing(work / harness.SLOTS, total)


def check(folders: Mapping[str, Path]) -> None:
    """What did not fail is there."""
    for name, out in folders.items():
        with next(out.rglob("predictions.csv")).open(newline="") as file:
            values = [row["result"] for row in csv.DictReader(file)]
        if set(values) - {"0"}:
            raise SystemExit(f"{name} wrote something else than zeros: {values[:3]}")


BENCHMARK = harness.Benchmark(
    name="failures",
    title="failures: 1 % of mini-batches fail, three times each",
    unit="mini-batches",
    prepare=prepare,
    contenders={
        "clean": partial(timed, how=""),
        "raise": partial(timed, how="raise"),
        "segfault": partial(timed, how="segfault"),
        "hang": partial(timed, how="hang"),
        "hang, ideal": hang_ideal,
    },
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
