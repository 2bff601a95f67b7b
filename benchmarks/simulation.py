"""Scale on paper: daskbatch's engine on a thousand nodes and a hundred million mini-batches; where its first limit is.

The simulation is `scale_model`; what a step costs is measured on this machine with the engine's own code, or given as
an option. A task costs engine and scheduler about the same however many mini-batches it has, so that the first limit is
how many tasks end a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import comparison
from scale_constants import Constants, measured
from scale_model import GB, Outcome, Scenario, Simulation

from daskbatch.options import DEFAULTS
from daskbatch.policy import crowd_seconds


def scenarios(base: Scenario) -> Iterator[Scenario]:
    """Yield the run as it is; as if its slots told as often as a few do; and with its next limits lifted."""
    crowd = crowd_seconds(base.all_slots)
    seconds, every = max(base.task_seconds, crowd), max(base.progress_every, crowd)
    yield dataclasses.replace(base, task_seconds=seconds, progress_every=every)
    yield dataclasses.replace(base, name="tasks and words of progress as on a few nodes")
    quick = dataclasses.replace(base.costs, sync=0.0, place=0.0)
    yield dataclasses.replace(
        base,
        name="as it is, one fsync for many reports, a place found at once",
        task_seconds=seconds,
        progress_every=every,
        costs=quick,
    )


def conclusions(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield what follows from the figures."""
    first = outcomes[0]
    s, c = first.scenario, first.scenario.costs
    busy = first.busy()
    name = max(("engine", "scheduler"), key=busy.__getitem__)
    if busy["slots"] > 0.9:
        yield f"With {s.all_slots:,} slots no part of the engine is the limit: the slots are busy {busy['slots']:.0%}."
    else:
        yield (f"The first limit is the {name}, busy {busy[name]:.0%} of the time; slots are busy {busy['slots']:.0%}.")
    parts = {
        "Dask's part in the client": c.client,
        "the ledger's fsync": c.sync,
        "booking": c.book,
        f"looking through {s.nodes:,} places": c.place * s.nodes,
        "taking a row off the plan": c.row + c.mini_batch,
    }
    told = ", ".join(f"{what} {seconds * 1e3:.2f} ms" for what, seconds in parts.items())
    yield (
        f"A task costs the engine {s.engine_each * 1e3:.2f} ms ({told}) and the scheduler {c.scheduler * 1e3:.2f} ms:"
        f" at most {1 / s.engine_each:,.0f} and {1 / c.scheduler:,.0f} tasks a second."
        f" With task_seconds={s.task_seconds:.3g} that keeps {s.task_seconds / s.engine_each:,.0f} slots at work."
        f" Words of progress, one a slot in {s.progress_every:.3g} s, alone take the scheduler"
        f" {s.all_slots / s.progress_every * c.scheduler_event:.1f} s a second."
    )
    full = 1 / s.crowd_tasks - (s.engine_each - c.place * s.nodes)
    if c.place and full > 0:
        yield (
            f"As many tasks end a second on any number of nodes, so that the engine is full with {full / c.place:,.0f}"
            " nodes: when it looks through so many places for each."
        )
    for other in outcomes[1:]:
        shares = other.busy()
        name = max(("engine", "scheduler"), key=shares.__getitem__)
        yield (
            f"{other.scenario.name} (task_seconds={other.scenario.task_seconds:.3g}, progress every"
            f" {other.scenario.progress_every:.3g} s): slots {shares['slots']:.0%} busy, {name} {shares[name]:.0%};"
            f" the run phase takes {other.run / first.run:.3g} times as long."
        )
    seconds, size = first.combining
    yield (
        f"Planning takes {first.planning:,.0f} s before the first task, unless the input is one URL of files, which is"
        f" planned while the run works; the reduction takes {seconds:,.0f} s and {size / GB:.1f} GB of memory in one"
        f" process, the list of what is done {c.chunk_bytes * first.tasks / GB:.1f} GB."
    )


def shown(constants: Constants) -> Mapping[str, str]:
    """Return each constant with its unit."""
    values = asdict(constants)
    return {
        name: f"{value:.0f} bytes" if name.endswith("_bytes") else f"{value * 1e6:.2f} us"
        for name, value in values.items()
    }


def table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield lines, a column a scenario, each by a letter."""
    names = {chr(ord("A") + number): row[""] for number, row in enumerate(rows)}
    yield from (f"{letter}: {name}" for letter, name in names.items())
    yield f"{'':16}" + "".join(f"{letter:>14}" for letter in names)
    for what in list(rows[0])[1:]:
        yield f"{what:16}" + "".join(f"{row[what]:>14}" for row in rows)


def constants_of(given: Sequence[str], small: bool) -> Constants:
    """Measure, but for what is given as NAME=VALUE."""
    names = [field.name for field in fields(Constants)]
    values: dict[str, float] = {}
    for one in given:
        name, _, value = one.partition("=")
        if name not in names:
            raise SystemExit(f"--constant must name one of {', '.join(names)}, got {one!r}. Next: --constant plan=6e-6")
        values[name] = float(value)
    if len(values) == len(names):
        return Constants(**values)
    return dataclasses.replace(measured(small), **values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--slots", type=int, default=16, help="of a node")
    parser.add_argument("--mini-batches", type=int)
    parser.add_argument("--seconds", type=float, default=1.0, help="a mini-batch takes")
    parser.add_argument("--task-seconds", type=float, default=DEFAULTS["task_seconds"])
    parser.add_argument(
        "--constant", action="append", default=[], metavar="NAME=VALUE", help="in place of measuring it"
    )
    parser.add_argument("--small", action="store_true", help="a small cluster: shows that it works")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write FOLDER/simulation.json")
    options = parser.parse_args()
    nodes = options.nodes or (20 if options.small else 1_000)
    count = options.mini_batches or (20_000 if options.small else 100_000_000)
    title = f"scale on paper: {nodes:,} nodes of {options.slots} slots, {count:,} mini-batches of {options.seconds:g} s"
    print(title, flush=True)
    constants = constants_of(options.constant, options.small)
    for name, value in shown(constants).items():
        print(f"  {name:18}{value:>16}")
    base = Scenario("as it is", nodes, options.slots, count, options.seconds, options.task_seconds, constants)
    outcomes = [Simulation(scenario).run() for scenario in scenarios(base)]
    rows: list[dict[str, Any]] = [outcome.row() for outcome in outcomes]
    print("\n".join(table(rows)))
    told = list(conclusions(outcomes))
    print("\n".join(told), flush=True)
    if options.json:
        options.json.mkdir(parents=True, exist_ok=True)
        found = {
            "benchmark": "simulation",
            "title": title,
            "small": options.small,
            "constants": shown(constants),
            "scenarios": rows,
            "conclusions": told,
            "versions": comparison.versions(()),
        }
        (options.json / "simulation.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
