"""Uneven mini-batches: one in 50 takes 100 times longer than the others.

The ideal is arithmetic: all work over the slots, plus the longest mini-batch. The model sleeps, so that neither the
noise of the machine nor its number of cores is measured. The pool's loop hands out one mini-batch at a time.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import data
import harness
from models import skewed

SCRIPT = Path(skewed.__file__)
COLUMNS = ("process", "begin", "end")


def count(small: bool) -> int:
    return 100 if small else 2_000


def prepare(small: bool) -> None:
    data.empty_files(count(small))


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    return harness.daskbatch_timing(SCRIPT, data.empty_files(count(small)), out / "run", 1)


def ideal(out: Path, small: bool) -> harness.Timing:
    """Not run: what nobody can be sure to beat."""
    work = [skewed.seconds_of(number) for number in range(count(small))]
    (out / "predictions.csv").write_text(",".join(COLUMNS) + "\n")
    return harness.Timing(sum(work) / harness.SLOTS + max(work), len(work))


def rows(results: Iterable[list[dict[str, object]]]) -> Iterator[Sequence[object]]:
    for result in results:
        for item in result:
            yield [item[column] for column in COLUMNS]


def with_pool(out: Path, small: bool) -> harness.Timing:
    work = [[str(path)] for path in sorted(data.empty_files(count(small)).iterdir())]
    with harness.pool() as pool:
        begin = time.perf_counter()
        done = harness.write_rows(out / "predictions.csv", COLUMNS, rows(pool.imap(skewed.run, work, chunksize=1)))
        return harness.Timing(time.perf_counter() - begin, done)


def check(folders: Mapping[str, Path]) -> None:
    """Everyone did all of it. Say how long slots stood idle, and when the first had nothing left to do."""
    counts = {}
    for name, out in folders.items():
        slots: dict[str, list[tuple[float, float]]] = defaultdict(list)
        with next(out.rglob("predictions.csv")).open(newline="") as file:
            for row in csv.DictReader(file):
                slots[row["process"]].append((float(row["begin"]), float(row["end"])))
        if not slots:
            continue
        counts[name] = sum(map(len, slots.values()))
        begin = min(b for spans in slots.values() for b, _ in spans)
        lasts = sorted(max(e for _, e in spans) for spans in slots.values())
        busy = sum(e - b for spans in slots.values() for b, e in spans)
        idle = 1 - busy / (len(slots) * (lasts[-1] - begin))
        print(f"{name:24}slots idle {idle:6.1%} of the time; tail {lasts[-1] - lasts[0]:.3f} s", flush=True)
    if len(set(counts.values())) > 1:
        raise SystemExit(f"the contenders did different numbers of mini-batches: {counts}")


BENCHMARK = harness.Benchmark(
    name="skewed",
    title="skewed: one mini-batch in 50 takes 100 times longer",
    unit="mini-batches",
    prepare=prepare,
    contenders={"daskbatch": with_daskbatch, "ideal": ideal, "pool": with_pool},
    check=check,
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
