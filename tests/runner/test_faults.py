"""Everything a user's script was seen to do wrong, with files and with tables: its documented outcome, the exact
number of calls, and no process left.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import daskbatch

SCRIPT = Path(__file__).parents[1] / "faults" / "fault_script.py"
VICTIM = 3
ITEMS = 8


@dataclass(frozen=True)
class Case:
    """What a fault must come to."""

    fault: str
    calls: int
    """Calls of run() with the victim's mini-batch, with run_max_try=2."""
    error: str | None = None
    """Error type in failed_items.jsonl; None: the mini-batch succeeds."""
    message: str = ""
    """Part of the message."""
    options: tuple[tuple[str, Any], ...] = ()


CASES = (
    Case("raises", 2, "ValueError", "bad item"),
    Case("hang", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("hang_with_gil", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("ignore_sigterm", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("generator_hangs", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("grandchildren", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("fork_raises", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("generator_forks", 2, "RunTimeout", "run_invocation_timeout=1"),
    Case("exit_zero", 2, "ExitedEarly", "code 0"),
    Case("sys_exit", 2, "ExitedEarly", "code 1"),
    Case("segfault", 2, "Crashed", "SIGSEGV"),
    Case("allocate", 2, "MemoryLimit", "runner_memory_limit", (("runner_memory_limit", "300MB"),)),
    Case("returns_none", 1, "ResultError", "it returned NoneType"),
    Case("too_few", 1, "MissingItems", "returned"),
    Case("unserialisable", 1, "ResultError", "Odd", (("append_row_file_name", "out.jsonl"),)),
    Case("unserialisable", 1),
    Case("too_many", 1),
    Case("generator", 1),
    Case("leave_daemon", 1),
    Case("close_descriptors", 1),
    Case("fork_returns", 1),
    Case("print_much", 1, None, "", (("run_invocation_timeout", 60),)),
)


def make_files(folder: Path) -> tuple[str, dict[str, Any], int]:
    """One item a file, one file a mini-batch."""
    (folder / "in").mkdir()
    for number in range(ITEMS):
        (folder / "in" / f"f{number}.bin").touch()
    return str(folder / "in"), {"mini_batch_size": 1}, 1


def make_table(folder: Path) -> tuple[str, dict[str, Any], int]:
    """Two rows a mini-batch."""
    (folder / "in.csv").write_text("id,x\n" + "".join(f"{number},{number}.5\n" for number in range(ITEMS)))
    return str(folder / "in.csv"), {"mini_batch_size": "2rows"}, 2


def calls_of(folder: Path) -> Counter[int]:
    """First item of a mini-batch to its calls."""
    return Counter(int(path.name.split("-")[0]) for path in folder.iterdir())


def grandchildren() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "daskbatch-fault-grandchild" in (process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("make", [make_files, make_table], ids=["files", "table"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.fault}-{case.error}")
def test_fault(case: Case, make: Any, tmp_path: Path) -> None:
    # Given eight items, one of which the script cannot stand
    inputs, options, size = make(tmp_path)
    (tmp_path / "calls").mkdir()
    options |= {"run_invocation_timeout": 1, "run_max_try": 2, "process_count_per_node": 2} | dict(case.options)
    # When it runs
    run = daskbatch.run(
        str(SCRIPT),
        inputs,
        output=tmp_path / "out",
        arguments=["--fault", case.fault, "--victim", str(VICTIM), "--calls", str(tmp_path / "calls")],
        progress=False,
        **options,
    )
    # Then only the victim's mini-batch is called again, as often as documented
    first = VICTIM - VICTIM % size
    expected = Counter(dict.fromkeys(range(0, ITEMS, size), 1)) | Counter({first: case.calls})
    assert calls_of(tmp_path / "calls") == expected
    # and it is listed as failed for the documented reason, or not at all
    failed = run.failed_items()
    assert [entry["error"] for entry in failed] == ([] if case.error is None else [case.error])
    assert all(case.message in entry["message"] for entry in failed)
    mini_batches = ITEMS // size
    lost = case.error is not None and case.error != "MissingItems"
    assert run.summary["mini_batches"] == {
        "total": mini_batches,
        "succeeded": mini_batches - lost,
        "failed": int(lost),
    }
    assert run.summary["items"]["failed"] == (0 if case.error is None else 1 if case.error == "MissingItems" else size)
    assert run.summary["tries"] == mini_batches - 1 + case.calls
    # and everything else is there, in order, once
    kept = [item for item in range(ITEMS) if not (lost and first <= item < first + size)]
    if case.fault == "unserialisable" and case.error is None:
        kept = [item for item in kept if not first <= item < first + size]
    if case.error == "MissingItems":
        kept.remove(first + size - 1)
    text = run.output_file.read_text()
    found = [int(word.split()[1].strip('"}')) for word in text.splitlines() if "item " in word]
    assert found == kept
    # and nothing is left behind
    assert grandchildren() == []


def test_a_hang_is_listed_with_the_line_it_hung_in(tmp_path: Path) -> None:
    # Given a run() that holds the GIL for ever
    inputs, options, _ = make_files(tmp_path)
    (tmp_path / "calls").mkdir()
    # When its time is over
    run = daskbatch.run(
        str(SCRIPT),
        inputs,
        output=tmp_path / "out",
        arguments=["--fault", "hang_with_gil", "--calls", str(tmp_path / "calls")],
        run_invocation_timeout=0.5,
        run_max_try=1,
        progress=False,
        **options,
    )
    # Then the failure holds the user's stack, and none of our frames
    (failed,) = run.failed_items()
    assert "in hang_with_gil" in failed["traceback"]
    assert "daskbatch/worker" not in failed["traceback"]


def test_a_fault_that_goes_away_costs_one_try(tmp_path: Path) -> None:
    # Given a script that crashes at its first call with one item
    inputs, options, _ = make_files(tmp_path)
    (tmp_path / "calls").mkdir()
    # When it is tried again
    arguments = ["--fault", "segfault", "--times", "1", "--calls", str(tmp_path / "calls")]
    run = daskbatch.run(str(SCRIPT), inputs, output=tmp_path / "out", arguments=arguments, progress=False, **options)
    # Then the result is whole
    assert run.summary["items"] == {"total": ITEMS, "succeeded": ITEMS, "failed": 0}
    assert run.summary["tries"] == ITEMS + 1
    assert not (tmp_path / "out" / "failed_items.jsonl").exists()


@pytest.mark.parametrize(
    ("fault", "error"), [("init_raises", "the model file is damaged"), ("init_hangs", "init_timeout=0.5")]
)
def test_a_failing_init_stops_the_run_with_its_traceback(fault: str, error: str, tmp_path: Path) -> None:
    # Given a script whose init() fails
    inputs, options, _ = make_files(tmp_path)
    (tmp_path / "calls").mkdir()
    # When it runs on two slots
    with pytest.raises(daskbatch.InitFailed, match=error) as caught:
        daskbatch.run(
            str(SCRIPT),
            inputs,
            output=tmp_path / "out",
            arguments=["--fault", fault, "--calls", str(tmp_path / "calls")],
            init_timeout=0.5 if fault == "init_hangs" else 60,
            process_count_per_node=2,
            progress=False,
            **options,
        )
    # Then run() was never called, and the message has the user's own traceback
    assert calls_of(tmp_path / "calls") == Counter()
    assert "in init" in str(caught.value)
    assert caught.value.summary["status"] == "Failed"
    assert json.loads((tmp_path / "out" / "run_summary.json").read_text())["error"]["type"] == "InitFailed"
    assert not (tmp_path / "out" / "predictions.csv").exists()
