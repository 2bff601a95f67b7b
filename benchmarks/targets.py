"""What the benchmarks are to reach, and whether they do. Every figure is a ratio or a median within one session."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from process_memory import MIB

if TYPE_CHECKING:
    from comparison import Comparison, Repeat

__all__ = ["TARGETS", "Target", "verdicts"]


@dataclass(frozen=True)
class Target:
    """One figure to reach."""

    workload: str
    """What people call it."""
    says: str
    """What is compared."""
    benchmark: str
    """Name of the JSON file."""
    of: str
    """The contender."""
    against: str | None = None
    """Another one, for a ratio or a difference."""
    what: str = "run"
    """``"run"`` (for each unit of work), ``"whole"``, ``"first_run"``: seconds. ``"peak_rss"``, ``"client_rss"``: MiB.
    ``"rate"``: units of work a second."""
    difference: bool = False
    """Subtract; otherwise divide."""
    at_most: float | None = None
    at_least: float | None = None

    def figure(self, found: Comparison) -> float | None:
        """Return what was measured, None where a contender is missing."""
        names = [self.of] if self.against is None else [self.of, self.against]
        if any(name not in found.repeats for name in names):
            return None
        ours, *others = [statistics.median(_value(row, self.what) for row in found.repeats[name]) for name in names]
        if not others:
            return ours
        return ours - others[0] if self.difference else ours / others[0]

    def is_reached(self, figure: float) -> bool:
        """Whether `figure` is good enough."""
        high = self.at_most is None or figure <= self.at_most
        return high and (self.at_least is None or figure >= self.at_least)

    @property
    def to_reach(self) -> str:
        """The bound, for people."""
        if self.at_most is None:
            return f">= {self.at_least:,g}"
        return f"<= {self.at_most:,g}"


def _value(row: Repeat, what: str) -> float:
    if what == "run":
        return row.timing.run / row.timing.work
    if what == "rate":
        return row.timing.work / row.timing.run
    if what == "first_run":
        return row.timing.first_run or 0.0
    if what == "whole":
        return row.whole
    return (row.peak_rss if what == "peak_rss" else row.client_rss or 0) / MIB


def verdicts(found: Mapping[str, Comparison]) -> Iterator[tuple[Target, float | None]]:
    """Yield each target of the benchmarks that there are, and what was measured."""
    for target in TARGETS:
        if target.benchmark in found:
            yield target, target.figure(found[target.benchmark])


_SIZES = (("files", "1,000,000 files"), ("rows", "100,000 rows"))

TARGETS = (
    Target("dispatch", "mini-batches/s", "dispatch", "daskbatch, files", what="rate", at_least=50_000),
    Target("dispatch", "rate / plain Dask's", "dispatch", "daskbatch, files", "dask.bag", "rate", at_least=150),
    Target(
        "dispatch",
        "rate / Ray Data's, a block each",
        "dispatch",
        "daskbatch, files",
        "Ray Data, a block each",
        "rate",
        at_least=500,
    ),
    Target("dispatch", "mini-batches/s, 1,000,000 files", "memory", "files, 1,000,000", what="rate", at_least=50_000),
    *(
        Target(
            "dispatch",
            f"time per mini-batch, {most} / 10,000",
            "memory",
            f"{kind}, {most.split()[0]}",
            f"{kind}, 10,000",
            at_most=1.2,
        )
        for kind, most in _SIZES
    ),
    *(
        Target(
            "dispatch",
            f"MiB that client and scheduler grow by, 10,000 to {most}",
            "memory",
            f"{kind}, {most.split()[0]}",
            f"{kind}, 10,000",
            "client_rss",
            difference=True,
            at_most=200,
        )
        for kind, most in _SIZES
    ),
    Target("tables, CSV", "run phase / pandas in a pool", "tables-csv", "daskbatch", "pandas in a pool", at_most=0.65),
    Target("tables, CSV", "run phase / Arrow in a pool", "tables-csv", "daskbatch", "Arrow in a pool", at_most=1.15),
    Target("tables, CSV", "whole / Ray Data", "tables-csv", "daskbatch", "Ray Data", "whole", at_most=1 / 3),
    Target("tables, CSV", "whole / plain Dask", "tables-csv", "daskbatch", "dask.dataframe", "whole", at_most=0.7),
    Target("tables, Parquet", "whole / Ray Data", "tables-parquet", "daskbatch", "Ray Data", "whole", at_most=0.5),
    Target("tables, Parquet", "whole / Spark", "tables-parquet", "daskbatch", "Spark", "whole", at_most=0.5),
    Target(
        "tables, Parquet", "run phase / Arrow in a pool", "tables-parquet", "daskbatch", "Arrow in a pool", at_most=1.15
    ),
    Target(
        "tables, CSV, 1,200 MB",
        "run phase / Arrow in a pool",
        "tables-csv-large",
        "daskbatch, 1,200 MB",
        "Arrow in a pool, 1,200 MB",
        at_most=1.15,
    ),
    Target(
        "tables, Parquet, 200 files",
        "run phase / Arrow in a pool",
        "tables-parquet-large",
        "daskbatch, 200 files",
        "Arrow in a pool, 200 files",
        at_most=1.15,
    ),
    Target("images", "run phase / pool", "images-numpy", "daskbatch", "pool", at_most=1.25),
    Target("images", "whole / Ray Data", "images-numpy", "daskbatch", "Ray Data", "whole", at_most=0.25),
    Target("images", "whole / plain Dask", "images-numpy", "daskbatch", "dask.bag", "whole", at_most=0.5),
    Target("skewed", "run phase / ideal", "skewed", "daskbatch", "ideal", at_most=1.1),
    Target("startup", "seconds, call to the first run()", "startup", "daskbatch", None, "first_run", at_most=1.5),
    Target(
        "startup",
        "seconds, command to the first run()",
        "startup",
        "daskbatch run",
        None,
        "first_run",
        at_most=1.5,
    ),
    Target("startup", "seconds, whole process of 100 items", "startup", "daskbatch", None, "whole", at_most=3),
    Target("startup", "seconds, whole command of 100 items", "startup", "daskbatch run", None, "whole", at_most=3),
    Target("combine", "rate / cat's", "combine", "daskbatch", "cat", "rate", at_least=0.8),
    Target("failures", "run phase, 1 % raise / clean", "failures", "raise", "clean", at_most=1.05),
    Target("failures", "run phase, 1 % segfault / clean", "failures", "segfault", "clean", at_most=1.5),
    Target(
        "memory",
        "peak, 100 windows / 10",
        "memory",
        "tables, 1,200 MB",
        "tables, 120 MB",
        "peak_rss",
        at_most=1.1,
    ),
)
"""All of them."""
