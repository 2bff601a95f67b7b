"""A run that halts in its middle until it is let go, so that something can be done to it there."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lives import PATIENCE, wait_for

import daskbatch
from daskbatch.engine.folder import RunFolder
from daskbatch.store.replay import replay
from daskbatch.store.segments import read_index

__all__ = ["BAD", "HOLD", "MINI_BATCHES", "SCRIPT", "Gated"]

SCRIPT = Path(__file__).with_name("gated_script.py")
MINI_BATCHES = 16
"""Of two items each; those of a table may be cut elsewhere."""
HOLD = 26
"""Mini-batches from this item on wait for the word to go on. None of them is in the first tasks that the engine sends
out, so nearly all before them are done when they hold both slots."""
BAD = "4,29"
"""Items whose mini-batches fail; one on each side of `HOLD`."""
_SIZES = {"files": "2", "table": "6", "stream": "2rows"}


@dataclass
class Gated:
    """An input of that kind in a folder, and the command that runs it into ``folder/out``."""

    folder: Path
    kind: str = "files"
    given: list[str] = field(default_factory=list)
    """Options of every command."""
    bad: str = BAD
    word: str = "item"

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.out = self.folder / "out"
        self.inputs = self._make_input()
        (self.folder / "word").write_text(self.word)
        self._started: list[subprocess.Popen[str]] = []

    def _make_input(self) -> Path:
        numbers = range(2 * MINI_BATCHES)
        if self.kind == "files":
            path = self.folder / "in"
            path.mkdir()
            for number in numbers:
                (path / f"f{number:02d}.bin").write_bytes(b"x")
            return path
        text = ("id\n" + "".join(f"{number:02d}\n" for number in numbers)).encode()
        path = self.folder / ("in.csv" if self.kind == "table" else "in.csv.gz")
        path.write_bytes(text if self.kind == "table" else gzip.compress(text, mtime=0))
        return path

    def options(self, hold: int = HOLD) -> list[str]:
        """Arguments of ``daskbatch run``."""
        script = ["--calls", "calls", "--hold", str(hold), "--bad", self.bad, "--name-in", "word"]
        return [
            *(str(SCRIPT), str(self.inputs), "--output", "out", "--mini-batch-size", _SIZES[self.kind]),
            *("--run-max-try", "2", "--error-threshold=-1", "--process-count-per-node", "2", "--task-seconds", "0.001"),
            *(*self.given, "--", *script),
        ]

    # Commands

    def start(self, *arguments: str, prelude: str = "", **environment: str) -> subprocess.Popen[str]:
        """Begin a command of daskbatch, in a session of its own; without arguments the run itself."""
        program = ["-c", f"{prelude}\nfrom daskbatch.cli import main\nmain()"] if prelude else ["-m", "daskbatch"]
        process = subprocess.Popen(
            [sys.executable, *program, *(arguments or ["run", *self.options()])],
            cwd=self.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def command(self, *arguments: str, cwd: Path | None = None, **given: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "daskbatch", *(arguments or ["run", *self.options()])],
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **given,
        )

    def run(self, **options: Any) -> daskbatch.Run:
        """Run it in this process, one mini-batch after the other; nothing is held."""
        script = ["--calls", "calls", "--bad", self.bad, "--name-in", "word"]
        own = {"compute": "serial", "run_max_try": 2, "error_threshold": -1, "progress": False, "arguments": script}
        with contextlib.chdir(self.folder):
            return daskbatch.run(
                str(SCRIPT), str(self.inputs), output=self.out, mini_batch_size=_SIZES[self.kind], **(own | options)
            )

    def close(self) -> None:
        """Kill what was started and is there still."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.communicate()

    # What they have done

    def halted(self, process: subprocess.Popen[str], slots: int = 2, engines: int = 1) -> None:
        """Wait until nothing happens any more before the word to go on.

        Each slot of each engine is in a call that waits, and what came of all other calls is in the last one's ledger
        and in the list of failures.
        """

        def is_so() -> bool:
            held = self.held()
            if len(held) < slots or held.total() < slots * engines:
                return False
            found = replay(RunFolder(self.out).ledger(engines))
            accounted = found.tried + sum(chunk.count for chunk in found.chunks)
            return accounted == self.calls().total() - held.total() and len(self.failures()) == len(found.failed)

        wait_for(is_so, "the calls that wait", process)

    def settled(self) -> set[str]:
        """The mini-batches that are done or have finally failed, by the ledger; by their first items."""
        folder = RunFolder(self.out)
        number = folder.latest_epoch()
        found = replay(folder.ledger(number)) if number else None
        if found is None:
            return set()
        keys = [
            (int(record["file"]), int(record["index"]))
            for chunk in found.chunks
            for record in read_index(folder.results, chunk)[0]
        ]
        firsts = sorted(self.oracle.calls, key=int)
        return {str(file) if self.kind == "files" else firsts[index] for file, index in (*keys, *found.failed)}

    def held(self) -> Counter[str]:
        """Calls of mini-batches from `HOLD` on."""
        return Counter({first: count for first, count in self.calls().items() if int(first) >= HOLD})

    def go(self) -> None:
        """Let all go on, from now on."""
        (self.folder / "go").touch()

    def mend(self) -> None:
        """Let nothing fail any more."""
        (self.folder / "mended").touch()

    def calls(self, name: str = "calls") -> Counter[str]:
        """Calls of ``run()`` for each mini-batch, known by its first item."""
        path = self.folder / name
        return Counter(path.read_text().split() if path.exists() else [])

    def summary(self) -> dict[str, Any]:
        """The run's."""
        content: dict[str, Any] = json.loads((self.out / "run_summary.json").read_text())
        return content

    def failures(self) -> list[str]:
        """The mini-batches listed in failed_items.jsonl, by their first item."""
        path = self.out / "failed_items.jsonl"
        entries = map(json.loads, path.read_text().splitlines()) if path.exists() else []
        return [entry["message"].split()[-1] for entry in entries]

    def result(self) -> bytes:
        """The combined file."""
        return (self.out / self.name).read_bytes()

    @property
    def name(self) -> str:
        """Of the combined file."""
        option = "--append-row-file-name"
        return self.given[self.given.index(option) + 1] if option in self.given else "predictions.csv"

    def content(self, *left_out: str) -> dict[str, str]:
        """All files in the output folder with their hashes, without some folders of it."""
        return {
            str(path.relative_to(self.out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.out.rglob("*")
            if path.is_file() and path.relative_to(self.out).parts[0] not in left_out
        }

    # What they should have done

    @property
    def oracle(self) -> Oracle:
        """The same run undisturbed, made at the first use."""
        if not hasattr(self, "_oracle"):
            self._oracle = Oracle.of(self)
        return self._oracle

    def check(self, epoch: int, settled: Collection[str] = ()) -> None:
        """Assert that it has come to what the undisturbed run comes to.

        Parameters
        ----------
        epoch
            How many engines have worked on it.
        settled
            What was settled when the last of them began, and so was not to be done again.
        """
        summary, expected = self.summary(), self.oracle
        assert self.result() == expected.result
        found = {name: summary[name] for name in expected.counts} | {"epoch": summary["epoch"]}
        assert found == expected.counts | {"epoch": epoch}, f"{found}, expected {expected.counts} in epoch {epoch}"
        assert sorted(self.failures()) == expected.failed, self.failures()
        more = {first: count - expected.calls[first] for first, count in self.calls().items()}
        assert more.keys() == expected.calls.keys(), more
        assert all(0 <= count <= (first not in settled) * (epoch - 1) for first, count in more.items()), (more, settled)


@dataclass
class Oracle:
    """What the serial way of running makes of it when nothing happens."""

    result: bytes
    counts: dict[str, Any]
    """Of the summary, without what depends on the clock."""
    failed: list[str]
    """First items of the mini-batches that failed, sorted."""
    calls: Counter[str]

    @classmethod
    def of(cls, gated: Gated) -> Oracle:
        """Run it."""
        own = Gated.__new__(Gated)
        own.__dict__.update(gated.__dict__, out=gated.folder / "oracle")
        script = ["--calls", "oracle-calls", "--bad", gated.bad, "--mended", "never", "--name-in", "word"]
        summary = own.run(arguments=script, append_row_file_name=gated.name).summary
        counts = {name: summary[name] for name in ("status", "mini_batches", "items", "tries", "output", "error")}
        return cls(own.result(), counts, sorted(own.failures()), gated.calls("oracle-calls"))
