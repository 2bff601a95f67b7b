"""Resume of a run that is 99 % done: how soon its first new ``run()`` begins, and how fast its ledger is read.

A no-op model over empty files, a file a mini-batch. The run is killed with SIGKILL when all slots stand still at
one per cent from the end, and the same command is given again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import comparison
import data
import harness
from comparison import Comparison, Repeat, Timing

from daskbatch.engine.begin import last_life
from daskbatch.engine.folder import RunFolder
from daskbatch.store.settled import Settled

MODEL = Path(__file__).parent / "models" / "halting.py"
"""Not imported: it takes this program's arguments for its own."""


def command(count: int, folder: Path) -> list[str]:
    """Return the command that is given twice."""
    last = count - max(count // 100, 2 * harness.SLOTS)
    return [
        *(sys.executable, "-m", "daskbatch", "run", str(MODEL), str(data.empty_files(count))),
        *("--output", str(folder / "out"), "--mini-batch-size", "1", "--quiet", "--run-invocation-timeout", "3600"),
        *("--process-count-per-node", str(harness.SLOTS), "--", str(last), str(folder)),
    ]


def kill_near_the_end(count: int, folder: Path) -> float:
    """Run until all slots stand still, then kill; return the seconds that it took."""
    began = time.monotonic()
    process = subprocess.Popen(command(count, folder))
    while len(list(folder.glob("stands-*"))) < harness.SLOTS:
        if process.poll() is not None:
            raise SystemExit(f"the run ended with {process.returncode} before it could be killed")
        time.sleep(0.05)
    seconds = time.monotonic() - began
    process.kill()
    process.wait()
    return seconds


def replay_speed(folder: Path) -> tuple[int, float]:
    """Read the ledger and what it names; return the mini-batches that are settled, and seconds."""
    began = time.perf_counter()
    run = RunFolder(folder / "out")
    found = last_life(run).found
    if found is None:
        raise SystemExit("there is no ledger")
    settled = len(Settled(run.results, found))
    return settled, time.perf_counter() - began


def measure(count: int) -> dict[str, Repeat]:
    """Kill a run and go on with it; what each part took. Memory is not looked at."""
    with tempfile.TemporaryDirectory(prefix="daskbatch-bench-") as scratch:
        folder = Path(scratch)
        first = kill_near_the_end(count, folder)
        settled, seconds = replay_speed(folder)
        (folder / "resumed").touch()
        began = time.monotonic()
        subprocess.run(command(count, folder), check=True)
        whole = time.monotonic() - began
        calls = [float(line) for line in (folder / "calls").read_text().split()]
        lines = len((folder / "out" / "predictions.csv").read_bytes().splitlines())
    if lines != count + 1:
        raise SystemExit(f"the result has {lines} lines, expected {count + 1}")
    print(f"resume: {count:,} mini-batches, killed after {first:.2f} s with {settled:,} of them committed")
    print(f"  ledger and indexes read in {seconds:.3f} s: {settled / seconds:,.0f} mini-batches/s")
    print(f"  first new run() {min(calls) - began:.2f} s after the command; done in {whole:.2f} s")
    print(f"  run() called {len(calls):,} times for {count - settled:,} mini-batches that were left", flush=True)
    return {
        "resumed": Repeat(whole, 0, Timing(whole, len(calls), min(calls) - began)),
        "to the kill": Repeat(first, 0, Timing(first, settled)),
        "ledger read": Repeat(seconds, 0, Timing(seconds, settled)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--million", action="store_true", help="1,000,000 mini-batches and not 100,000")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="tiny data: shows that it works, measures nothing")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write FOLDER/resume.json")
    options = parser.parse_args()
    count = 1_000 if options.small else 1_000_000 if options.million else 100_000
    data.empty_files(count)
    repeats = [measure(count) for _ in range(options.repeats)]
    if options.json:
        title = f"resume: {count:,} mini-batches, 99 % of them done"
        found = {name: [repeat[name] for repeat in repeats] for name in repeats[0]}
        Comparison("resume", title, "mini-batches", options.small, found, comparison.versions(())).write(options.json)


if __name__ == "__main__":
    main()
