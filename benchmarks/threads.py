"""Threads of BLAS: what daskbatch tells its runners by itself, beside what a user may find by hand.

Every contender is daskbatch; the others set ``OMP_NUM_THREADS`` in ``environment_variables``. "unset" is what the
libraries do by themselves: a thread for each core, in each runner. The largest ratio is the one to the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import data
import harness
from models import products

SCRIPT = Path(products.__file__)


def count(small: bool) -> int:
    return 4 if small else 24


def prepare(small: bool) -> None:
    data.number_lines(count(small))


def timed(out: Path, small: bool, environment: Mapping[str, str]) -> harness.Timing:
    inputs = data.number_lines(count(small)) / "numbers.csv"
    return harness.daskbatch_timing(SCRIPT, inputs, out / "run", "1rows", environment=environment)


def check(folders: Mapping[str, Path]) -> None:
    """Every contender found the same numbers."""
    found = {name: (out / "run" / "predictions.csv").read_text() for name, out in folders.items()}
    if len(set(found.values())) != 1:
        raise SystemExit(f"the contenders' results differ: {found}")


BENCHMARK = harness.Benchmark(
    name="threads",
    title="threads: products of matrices",
    unit="mini-batches",
    prepare=prepare,
    contenders={
        "daskbatch": partial(timed, environment={}),
        **{f"{n} by hand": partial(timed, environment={"OMP_NUM_THREADS": n}) for n in ("1", "2", "4")},
        "unset": partial(timed, environment={"OMP_NUM_THREADS": ""}),
    },
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
