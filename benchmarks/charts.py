"""The report's plots, as SVG files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from process_memory import MIB

if TYPE_CHECKING:
    from comparison import Comparison, Repeat

__all__ = ["draw"]

_UNITS = {"KB": 1e-3, "MB": 1.0}


def draw(found: Mapping[str, Comparison], folder: Path) -> dict[str, str]:
    """Write the plots that there are figures for.

    Returns
    -------
    dict
        File name to caption; empty where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        print("the plots are left out: matplotlib is not installed; `make bench` installs it", flush=True)
        return {}
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "daskbatch"  # the same figures give the same bytes
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    if "mini-batch-bytes" in found:
        points = [(_megabytes(name), _rate(rows)) for name, rows in found["mini-batch-bytes"].repeats.items()]
        _plot(folder / "throughput-tables.svg", {"CSV": points}, "MB a mini-batch", "MB/s")
        drawn["throughput-tables.svg"] = "Throughput of tables against the size of a mini-batch"
    if "mini-batch-files" in found:
        repeats = found["mini-batch-files"].repeats
        points = [(float(name.replace(",", "")), _rate(rows)) for name, rows in repeats.items()]
        _plot(folder / "throughput-pictures.svg", {"PNG": points}, "pictures a mini-batch", "pictures/s")
        drawn["throughput-pictures.svg"] = "Throughput of pictures against how many a mini-batch has"
    if "memory" in found:
        drawn |= _draw_memory(found["memory"], folder)
    return drawn


def _draw_memory(memory: Comparison, folder: Path) -> dict[str, str]:
    drawn = {}
    overhead, peaks, tables = {}, {}, []
    for kind in dict.fromkeys(name.partition(",")[0] for name in memory.repeats):
        sizes = {
            float(name.partition(", ")[2].removesuffix(" MB").replace(",", "")): rows
            for name, rows in memory.repeats.items()
            if name.startswith(f"{kind},")
        }
        total = [(size, statistics.median(row.peak_rss for row in rows) / MIB) for size, rows in sizes.items()]
        if kind == "tables":
            tables = total
            continue
        overhead[kind] = [(size, 1e6 / _rate(rows)) for size, rows in sizes.items()]
        peaks[f"{kind}, all processes"] = total
        peaks[f"{kind}, client"] = [
            (size, statistics.median(row.client_rss or 0 for row in rows) / MIB) for size, rows in sizes.items()
        ]
    if overhead:
        _plot(folder / "overhead.svg", overhead, "no-op mini-batches", "microseconds each")
        drawn["overhead.svg"] = "Overhead per mini-batch against how many there are"
        _plot(folder / "memory-mini-batches.svg", peaks, "no-op mini-batches", "peak RSS, MiB")
        drawn["memory-mini-batches.svg"] = "Peak memory against the number of mini-batches"
    if tables:
        _plot(folder / "memory-tables.svg", {"all processes": tables}, "MB of input", "peak RSS, MiB")
        drawn["memory-tables.svg"] = "Peak memory against the size of the input"
    return drawn


def _megabytes(size: str) -> float:
    return float(size[:-2]) * _UNITS[size[-2:]]


def _rate(rows: Sequence[Repeat]) -> float:
    return statistics.median(row.timing.work / row.timing.run for row in rows)


def _plot(path: Path, lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> None:
    """Draw lines over a logarithmic axis; what goes up begins at 0."""
    import matplotlib.pyplot as plt

    figure: Any
    axes: Any
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.set(xscale="log", xlabel=across, ylabel=up)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
