"""Read what the benchmarks wrote with ``--json FOLDER``: print the targets; write ``RESULTS.md`` and plots."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from charts import draw
from comparison import Comparison, Repeat, Timing
from machine import machine
from process_memory import MIB
from targets import verdicts

HERE = Path(__file__).parent


def read(path: Path) -> Comparison:
    """Return what `Comparison.write` wrote."""
    told = json.loads(path.read_text())
    repeats = {name: [_repeat(row) for row in rows] for name, rows in told["repeats"].items()}
    return Comparison(told["benchmark"], told["title"], told["unit"], told["small"], repeats, told["versions"])


def _repeat(row: Mapping[str, Any]) -> Repeat:
    timing = Timing(row["run"], row["work"], row["first_run"])
    return Repeat(row["whole"], row["peak_rss"], timing, row.get("client_rss"))


def row_of(cells: Sequence[object]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield row_of(header)
    yield row_of(["---"] * len(header))
    yield from map(row_of, rows)


def spread(values: Sequence[float]) -> str:
    """Return the median, and the least and the greatest where there are several."""
    median = f"{statistics.median(values):.3f}"
    return median if len(values) < 2 else f"{median} ({min(values):.2f} to {max(values):.2f})"


def targets(found: Mapping[str, Comparison]) -> Iterator[str]:
    """Yield what was to be reached and what was."""
    rows = []
    for target, figure in verdicts(found):
        got = "not measured" if figure is None else f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
        reached = "" if figure is None else "yes" if target.is_reached(figure) else "**no**"
        rows.append((target.workload, target.says, target.to_reach, got, reached))
    yield from table(("workload", "figure", "to reach", "measured", "reached"), rows)


def contenders(found: Comparison) -> Iterator[str]:
    """Yield a table of one benchmark; where peers are beside daskbatch, with its time over theirs."""
    beside = next(iter(found.repeats)).startswith("daskbatch")
    ours = next(iter(found.repeats.values()))
    each = statistics.median(row.timing.run / row.timing.work for row in ours)
    whole = statistics.median(row.whole for row in ours)
    rows = []
    for name, repeats in found.repeats.items():
        rate = statistics.median(row.timing.work / row.timing.run for row in repeats)
        same = repeats[0].timing.work == ours[0].timing.work
        first = [row.timing.first_run for row in repeats if row.timing.first_run is not None]
        peak = max(row.peak_rss for row in repeats) / MIB
        rows.append(
            (
                name,
                spread([row.timing.run for row in repeats]),
                spread([row.whole for row in repeats]),
                f"{rate:,.0f}" if rate >= 10 else f"{rate:.3g}",
                f"{each * rate:.3f}" if beside else "",
                f"{whole / statistics.median(row.whole for row in repeats):.3f}" if same and beside else "",
                f"{statistics.median(first):.2f}" if first else "",
                f"{peak:,.0f}" if peak else "",
            )
        )
    unit = f"{found.unit}/s"
    yield from table(("", "run s", "whole s", unit, "run ratio", "whole ratio", "first run() s", "peak MiB"), rows)


def simulated(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a simulation says: its constants and its scenarios."""
    yield from table(("constant", "value"), list(told["constants"].items()))
    yield ""
    yield from table(list(told["scenarios"][0]), [list(row.values()) for row in told["scenarios"]])
    yield from ("", *told["conclusions"])


def write(
    path: Path, found: Mapping[str, Comparison], simulations: Sequence[Mapping[str, Any]], plots: Mapping[str, str]
) -> None:
    """Write the report; `plots` are in the folder ``plots`` beside it."""
    lines = ["# Results of the benchmarks", ""]
    lines += ["Written by `report.py` from what the benchmarks measured; do not edit."]
    lines += ["A ratio is daskbatch's time over the other's.", ""]
    if any(comparison.small for comparison in found.values()):
        lines += ["**Tiny data: these figures show that the programs work, and nothing else.**", ""]
    versions = {name: number for one in found.values() for name, number in one.versions.items()}
    facts = {"date": dt.datetime.now().astimezone().date().isoformat(), **machine(), **versions}
    lines += [*table(("", ""), list(facts.items())), "", "## Targets", "", *targets(found), ""]
    for one in found.values():
        repeats = max(map(len, one.repeats.values()))
        lines += [f"## {one.title}", "", f"Medians of {repeats}, with the least and the greatest.", ""]
        lines += [*contenders(one), ""]
    for told in simulations:
        lines += [f"## {told['title']}", "", *simulated(told), ""]
    if plots:
        lines += ["## Plots", ""]
        for name, caption in plots.items():
            lines += [f"![{caption}](plots/{name})", ""]
    path.write_text("\n".join(lines).rstrip() + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="what the benchmarks were given as --json")
    parser.add_argument("--output", type=Path, default=HERE, help="where RESULTS.md and plots go; default: beside this")
    options = parser.parse_args()
    paths = sorted(options.folder.glob("*.json"))
    if not paths:
        raise SystemExit(f"no JSON file in {options.folder}. Next: run a benchmark with --json {options.folder}")
    told = {path: json.loads(path.read_text()) for path in paths}
    found = {path.stem: read(path) for path in paths if told[path].get("repeats")}
    simulations = [one for one in told.values() if "scenarios" in one]
    print("\n".join(targets(found)), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    plots = draw(found, options.output / "plots")
    write(options.output / "RESULTS.md", found, simulations, plots)
    print(f"written: {options.output / 'RESULTS.md'}", flush=True)


if __name__ == "__main__":
    main()
