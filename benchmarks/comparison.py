"""What was measured of contenders side by side: as a table, and as JSON for the report."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from process_memory import MIB

__all__ = ["Comparison", "Repeat", "Timing", "version", "versions"]

SHARED = ("daskbatch", "dask", "distributed", "numpy", "pandas", "pyarrow")
"""What all contenders use."""


@dataclass(frozen=True)
class Timing:
    """What a contender says about one repeat."""

    run: float
    """Seconds from when its processes are up (daskbatch: the first ``run()``) to when the result file is complete."""
    work: int
    """Units done: mini-batches, rows or pictures."""
    first_run: float | None = None
    """Seconds from the call to the first ``run()``; None where the contender cannot tell."""


@dataclass(frozen=True)
class Repeat:
    """One repeat, measured from outside."""

    whole: float
    """Seconds from starting the process to its end."""
    peak_rss: int
    """Bytes: the largest sum of resident memory over the process and all below it, looked at every 100 ms."""
    timing: Timing
    client_rss: int | None = None
    """Bytes: the high-water mark of the process that was started, where it was looked at."""


def version(package: str) -> str | None:
    """Return the version that is installed, None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, of what all contenders use, and of `packages`."""
    found = {package: version(package) for package in [*SHARED, *packages]}
    return {"python": platform.python_version(), **{name: number for name, number in found.items() if number}}


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):9.3f}{f'{min(values):.2f}..{max(values):.2f}':>15}"


@dataclass(frozen=True)
class Comparison:
    """The repeats of one benchmark's contenders."""

    name: str
    title: str
    unit: str
    """What `Timing.work` counts."""
    small: bool
    """Whether the data was tiny: then the figures mean nothing."""
    repeats: Mapping[str, Sequence[Repeat]]
    """By contender. Ratios are the first one's time over the others'."""
    versions: Mapping[str, str]

    def table(self) -> Iterator[str]:
        """Yield a line a contender: medians with their spread, the rate, ratios, and peak memory."""
        ours = next(iter(self.repeats), None)
        if ours is None:
            return
        run = {name: statistics.median(r.timing.run for r in rows) for name, rows in self.repeats.items()}
        whole = {name: statistics.median(r.whole for r in rows) for name, rows in self.repeats.items()}
        work = {name: rows[0].timing.work for name, rows in self.repeats.items()}
        per = {name: run[name] / work[name] for name in self.repeats}
        yield (
            f"{'':24}{'run s':>9}{'min..max':>15}{'whole s':>9}{'min..max':>15}{self.unit + '/s':>18}"
            f"{'run ratio':>11}{'whole ratio':>13}{'peak MiB':>10}"
        )
        for name, rows in self.repeats.items():
            ratios = f"{per[ours] / per[name]:11.3f}"
            ratios += f"{whole[ours] / whole[name]:13.3f}" if work[name] == work[ours] else f"{'':>13}"
            seconds = _spread([r.timing.run for r in rows]) + _spread([r.whole for r in rows])
            yield f"{name:24}{seconds}{1 / per[name]:18,.0f}{ratios}{max(r.peak_rss for r in rows) / MIB:10,.0f}"
        first = [r.timing.first_run for r in self.repeats[ours] if r.timing.first_run is not None]
        if first:
            yield f"{ours}: from the call to the first run(): {statistics.median(first):.2f} s"

    def write(self, folder: Path) -> None:
        """Write ``NAME.json`` into `folder`."""
        repeats = {
            name: [
                {"whole": r.whole, "peak_rss": r.peak_rss, "client_rss": r.client_rss, **asdict(r.timing)} for r in rows
            ]
            for name, rows in self.repeats.items()
        }
        told = {
            "benchmark": self.name,
            "title": self.title,
            "unit": self.unit,
            "small": self.small,
            "repeats": repeats,
            "versions": dict(self.versions),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(told, indent=1) + "\n")
