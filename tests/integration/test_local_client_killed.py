"""A client that is killed with -9 takes the processes of its own cluster, and their credentials, with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from daskbatch.store.replay import is_begun, replay

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere supervisors do what they can")

PROMISE = 60.0
"""Seconds after which nothing is left of a client that was killed."""
MINI_BATCHES = 12

# In the second half run() waits until it may go on.
PROGRAM = """
    import os
    import sys
    import time
    from pathlib import Path

    import dask.dataframe as dd
    import pandas as pd

    import daskbatch

    output, notes, compute = sys.argv[1:]

    def score(mini_batch):
        first = int(mini_batch["id"].iloc[0])
        with open(f"{notes}/calls", "a") as calls:
            calls.write(f"{first}\\n")
        if first >= 30 and not Path(notes, "go").exists():
            Path(notes, f"waits-{first}").touch()
            time.sleep(3600)
        return mini_batch.assign(square=mini_batch["id"] ** 2)

    rows = pd.DataFrame({"id": range(60)})
    if compute == "serial":  # which takes no Dask dataframe
        inputs = f"{notes}/rows.csv"
        rows.to_csv(inputs, index=False)
    else:
        inputs = daskbatch.TabularDataset.from_dask(dd.from_pandas(rows, npartitions=6))
    daskbatch.run(
        score, inputs, output=output, mini_batch_size="5rows", compute=compute, process_count_per_node=2,
        progress=False,
    )
"""


class Program:
    """Starts the program; knows what there is of it."""

    def __init__(self, path: str, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.notes = folder / "notes"
        self.scratch = folder / "scratch"
        for made in (self.notes, self.scratch):
            made.mkdir()

    def start(self, output: str = "out", compute: str = "local") -> subprocess.Popen[bytes]:
        """Begin a life."""
        command = [sys.executable, self.path, str(self.folder / output), str(self.notes), compute]
        return subprocess.Popen(command, env={**os.environ, "TMPDIR": str(self.scratch)})

    def calls(self) -> Counter[str]:
        """How often ``run()`` was called, by the first item."""
        path = self.notes / "calls"
        return Counter(path.read_text().split() if path.exists() else [])

    def committed(self) -> int:
        """Mini-batches that count already."""
        ledgers = [path for path in self.folder.glob("out/.daskbatch/**/ledger-*.jsonl") if is_begun(path)]
        return sum(chunk.count for path in ledgers for chunk in replay(path).chunks)

    def credentials(self) -> list[Path]:
        """Folders with keys, and all that is in them."""
        return list(self.scratch.rglob("daskbatch-tls-*"))


@pytest.fixture
def program(tmp_path: Path, script: Callable[..., str]) -> Program:
    return Program(script(PROGRAM, "program.py"), tmp_path)


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def commands(processes: list[psutil.Process]) -> str:
    """Command lines of those that are still there."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return "\n".join(found)


def test_nothing_is_left_of_a_client_that_is_killed_and_the_next_goes_on(
    program: Program, descendants: Callable[[], list[psutil.Process]], eventually: Callable[..., None]
) -> None:
    # Given a run on a cluster of its own, with some results and with both runners in run()
    with killed_at_the_end(program.start()) as client:
        eventually(lambda: program.committed() and len(list(program.notes.glob("waits-*"))) == 2, "run()", PROMISE)
        begun = commands(descendants())
        assert all(part in begun for part in ("distributed.Scheduler", "Nanny", "spawn_main", "daskbatch.worker.child"))
        assert program.credentials()
        # When its client is killed
        client.kill()
        killed = time.monotonic()
        client.wait()
    # Then soon no process is left, nor a key, nor a working folder
    eventually(lambda: not descendants(), f"the end of all of\n{begun}", PROMISE)
    print(f"no process was left {time.monotonic() - killed:.1f} s after the client was killed")
    assert list(program.scratch.glob("daskbatch*")) == []
    # and the same again goes on from what was committed
    committed, before = program.committed(), program.calls()
    assert 0 < committed < MINI_BATCHES
    (program.notes / "go").touch()
    assert program.start().wait(PROMISE) == 0
    again = program.calls() - before
    assert again.total() == MINI_BATCHES - committed
    assert max(again.values()) == 1
    assert len(before | again) == MINI_BATCHES
    # to the oracle's bytes
    assert program.start("oracle", "serial").wait(PROMISE) == 0
    results = [(program.folder / output / "predictions.csv").read_bytes() for output in ("out", "oracle")]
    assert results[0] == results[1]
    assert list(program.scratch.glob("daskbatch*")) == []


@pytest.mark.parametrize("first", ["distributed.Scheduler", "Nanny"])
def test_nothing_is_left_of_a_client_that_is_killed_while_its_cluster_starts(
    first: str, program: Program, descendants: Callable[[], list[psutil.Process]], eventually: Callable[..., None]
) -> None:
    # Given a client that has just started that process
    with killed_at_the_end(program.start()) as client:
        eventually(lambda: first in commands(descendants()), f"a process of {first}", PROMISE)
        assert program.credentials()
        # When it is killed
        client.kill()
        client.wait()
    # Then soon nothing is left
    eventually(lambda: not descendants(), "the end of all processes", PROMISE)
    assert program.credentials() == []
