"""Inputs, what an undisturbed run makes of them, and the check that a run that was disturbed made the same."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lives import Command

__all__ = ["KINDS", "Undisturbed", "calls_in", "check", "window"]

SCRIPT = Path(__file__).with_name("counting_script.py")
KINDS = ("files", "table", "stream")
"""Of inputs, besides ``wide``: files with a result of 4 kB an item, and ``good``: files of which none fails."""
_SLOTS = 2
_SIZES = {"files": "2", "table": "50", "stream": "10rows", "wide": "2", "good": "2"}
_VISIBLE = {".daskbatch", "failed_items.jsonl", "logs", "predictions.csv", "run_summary.json"}
"""All that a completed run has in its output folder."""


@dataclass(frozen=True)
class Undisturbed:
    """An input, and what the serial way of running makes of it."""

    kind: str
    path: Path
    result: bytes
    failed: Counter[str]
    """Names of the mini-batches in failed_items.jsonl."""
    summary: dict[str, Any]
    calls: int
    """Of ``run()``: a failing mini-batch gets all of its tries."""
    max_try: int

    @classmethod
    def of(cls, kind: str, folder: Path, mini_batches: int = 24, max_try: int = 2) -> Undisturbed:
        """Make an input of that many mini-batches in `folder`, and run it."""
        path = _make_input(kind, folder, 18 if kind == "good" else mini_batches)
        out = folder / "out"
        given = ["--compute", "serial", "--run-max-try", str(max_try)]
        command = Command(_arguments(kind, path, out, folder, given, ["--seconds", "0"]), folder / "log.txt")
        assert command.again_and_again() == [0], command.said()
        summary = json.loads((out / "run_summary.json").read_text())
        result = (out / "predictions.csv").read_bytes()
        return cls(kind, path, result, failed_in(out), summary, calls_in(folder), max_try)

    def command(self, folder: Path, *given: str, out: Path | None = None, **fields: Any) -> Command:
        """The command that runs this input into ``folder/out``, with its calls in ``folder/calls``."""
        own = ["--process-count-per-node", str(_SLOTS), "--run-max-try", str(self.max_try), *given]
        arguments = _arguments(self.kind, self.path, out or folder / "out", folder, ["--task-seconds", "0.2", *own], [])
        return Command(arguments, folder / "log.txt", **fields)


def _make_input(kind: str, folder: Path, mini_batches: int) -> Path:
    if kind in ("files", "wide", "good"):
        path = folder / "files"
        path.mkdir()
        for number in range(2 * mini_batches):
            (path / f"f{number:04d}.bin").write_bytes(b"x")
        return path
    text = "id\n" + "".join(f"{number + 1000}\n" for number in range(10 * mini_batches))
    if kind == "table":
        path = folder / "table.csv"
        path.write_text(text)
    else:
        path = folder / "table.csv.gz"
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def _arguments(kind: str, path: Path, out: Path, folder: Path, given: list[str], script: list[str]) -> list[str]:
    fixed = ["--mini-batch-size", _SIZES[kind], "--error-threshold=-1", "--quiet"]
    calls = folder / "calls"
    if kind == "wide":
        script = ["--width", "4000", *script]
    return [str(SCRIPT), str(path), "--output", str(out), *fixed, *given, "--", "--calls", str(calls), *script]


def window(undisturbed: Undisturbed, slots: int = _SLOTS) -> int:
    """How many mini-batches, at most, are under way on that many of its two slots, and so not yet in the ledger.

    The engine keeps two tasks a slot under way, and they hold at most two thirds of a slot's share of an input this
    small (`daskbatch.policy.row_length`, whose test shows it); a stream is one task, whatever its length.
    """
    if undisturbed.kind == "stream":
        return undisturbed.calls
    return 2 * slots * math.ceil(undisturbed.summary["mini_batches"]["total"] / (3 * _SLOTS))


def failed_in(out: Path) -> Counter[str]:
    """How often each mini-batch is in failed_items.jsonl."""
    path = out / "failed_items.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(json.loads(line)["mini_batch"] for line in lines)


def calls_in(folder: Path) -> int:
    """Calls of ``run()`` so far."""
    path = folder / "calls"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _check_items(items: dict[str, Any], expected: dict[str, Any]) -> None:
    if items.pop("at_least", False):  # a last try died before it had read its items: it counts as one
        assert items["succeeded"] == expected["succeeded"]
        assert items["failed"] <= expected["failed"]
    else:
        assert items == expected


def check(
    folder: Path, undisturbed: Undisturbed, again: int, out: Path | None = None, beside: Collection[str] = ()
) -> None:
    """Assert that a run has come to what an undisturbed one comes to.

    Parameters
    ----------
    folder : Path
        Where its calls are counted.
    again : int
        Calls of ``run()`` that its deaths may have cost.
    out : Path
        Its output folder; ``folder/out`` if none is given.
    beside : collection of str
        What else is in there.
    """
    out = out or folder / "out"
    summary = json.loads((out / "run_summary.json").read_text())
    assert summary["status"] == "Completed"
    assert (out / "predictions.csv").read_bytes() == undisturbed.result
    assert failed_in(out) == undisturbed.failed
    assert summary["mini_batches"] == undisturbed.summary["mini_batches"]
    _check_items(summary["items"], undisturbed.summary["items"])
    assert summary["output"] == undisturbed.summary["output"]
    assert {path.name for path in out.iterdir()} <= _VISIBLE.union(beside)
    assert [path for path in out.rglob("*") if path.suffix in (".tmp", ".writing")] == []
    assert calls_in(folder) <= undisturbed.calls + again
