"""Planning over many keys on S3 while the run is at work: the client's peak memory, and when the first run() begins.

A server in this process answers listings, 1,000 keys a page, of objects that lie nowhere; the client is a process of
its own, with Dask's scheduler and worker in it. ``run()`` waits until all is listed, so that the figures are those of
planning; then the run is canceled. ``--latency`` is what a page takes beside: S3 itself needs some 100 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from process_memory import MIB, resident

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "services"))

SCRIPT = """
import os, sys, time
def run(mini_batch):
    folder = sys.argv[1]
    if not os.path.exists(folder + "/first"):
        with open(folder + "/first.tmp", "w") as file:
            file.write(str(time.time()))
        os.rename(folder + "/first.tmp", folder + "/first")
    while not os.path.exists(folder + "/listed"):
        time.sleep(0.01)
    return mini_batch
"""


@dataclass(frozen=True)
class Row:
    """One size."""

    keys: int
    first: float
    """Seconds from the answer with the first page to the first ``run()``."""
    listed: float
    """Seconds from the same moment to the plan being whole."""
    client: int
    """High-water mark of the client's resident memory, in bytes."""


def measure(count: int, latency: float) -> Row:
    """List `count` keys from a client in a process of its own."""
    from key_server import key_server  # type: ignore[import-not-found]

    with key_server(count) as keys, tempfile.TemporaryDirectory(prefix="daskbatch-bench-") as scratch:
        answered: list[float] = []
        keys.first_answer = lambda: answered.append(time.time())
        keys.latency = latency
        command = [sys.executable, __file__, "--one", scratch, keys.url, json.dumps(keys.options)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        client, peak, ending = psutil.Process(process.pid), 0, False
        first_run, listed = Path(scratch, "first"), Path(scratch, "listed")
        while process.poll() is None:
            peak = max(peak, resident(client))
            if not ending and first_run.exists() and listed.exists():
                ending = True
                process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        said = process.communicate()[0]
        if not listed.exists():
            raise SystemExit(f"{count} keys were not planned:\n{said}")
        plan = json.loads(listed.read_text())
        if plan["files"] != count:
            raise SystemExit(f"{plan['files']} keys were planned, expected {count}")
        first = float(first_run.read_text())
    return Row(count, first - answered[0], plan["time"] - answered[0], peak)


def one(folder: str, url: str, options: dict[str, Any]) -> None:
    """Be the client."""
    import daskbatch
    from daskbatch.events import Event, Planned

    Path(folder, "score.py").write_text(SCRIPT)

    def look(event: Event) -> None:
        if isinstance(event, Planned) and event.mini_batches is not None:
            Path(folder, "listed.tmp").write_text(json.dumps({"files": event.files, "time": event.time}))
            os.rename(f"{folder}/listed.tmp", f"{folder}/listed")

    try:
        daskbatch.run(
            f"{folder}/score.py",
            url,
            output=f"{folder}/out",
            storage_options=options,
            arguments=[folder],
            process_count_per_node=1,
            progress=False,
            listeners=[look],
        )
    except daskbatch.RunCanceled:
        return


def report(rows: list[Row]) -> Iterator[str]:
    """Yield a line a row."""
    yield f"{'keys':>12}{'first run() s':>15}{'listed s':>10}{'client MiB':>12}{'more':>7}"
    for row in rows:
        more = (row.client - rows[0].client) / MIB
        yield f"{row.keys:12,}{row.first:15.2f}{row.listed:10.1f}{row.client / MIB:12.0f}{more:+7.0f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds that each page takes beside")
    parser.add_argument("--small", action="store_true", help="few keys: shows that it works, measures nothing")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], given.one[1], json.loads(given.one[2]))
        return
    counts = [3_000, 20_000] if given.small else given.keys
    print("planning while the run is at work, from the first page on", flush=True)
    print("\n".join(report([measure(count, given.latency / 1000) for count in counts])), flush=True)


if __name__ == "__main__":
    main()
