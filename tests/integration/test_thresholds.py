"""When failures stop a run: which rule, how soon, and what is left of the results."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch

LONGEST = 2.0
"""Seconds after the failure that crossed the line in which a run() may still start."""

# Fails for the items given by --fail; notes the time of each start and of each failure.
SCRIPT = """
    import argparse
    import os
    import time
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--fail", default="")
    parser.add_argument("--short", default="")
    parser.add_argument("--slow", default="")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--notes", type=Path)
    options, _ = parser.parse_known_args()
    fail = {int(item) for item in options.fail.split(",") if item}
    short = {int(item) for item in options.short.split(",") if item}
    slow = {int(item) for item in options.slow.split(",") if item}

    def note(kind, item):
        if options.notes:
            now = time.time()
            (options.notes / f"{kind}-{item}-{os.getpid()}-{now!r}").touch()

    def run(mini_batch):
        if isinstance(mini_batch, list):
            items = [int(Path(path).stem[1:]) for path in mini_batch]
        else:
            items = [int(item) for item in mini_batch["id"]]
        note("start", items[0])
        if not fail.intersection(items):
            time.sleep(options.seconds)
        if slow.intersection(items):
            time.sleep(3600)
        if fail.intersection(items):
            note("failed", items[0])
            raise ValueError(f"no luck with {items[0]}")
        if short.intersection(items):
            note("failed", items[0])
            return items[:-1]
        return [f"item {item}" for item in items]
"""


def times(folder: Path, kind: str) -> list[float]:
    """Wall-clock times of these notes, in order."""
    return sorted(float(path.name.rsplit("-", 1)[1]) for path in folder.iterdir() if path.name.startswith(kind))


def joined(items: object) -> str:
    return ",".join(str(item) for item in items)  # type: ignore[attr-defined]


@pytest.fixture
def start(tmp_path: Path, script: Callable[..., str]) -> Callable[..., daskbatch.Run]:
    """Run the script, one file a mini-batch unless told otherwise, each tried once."""
    (tmp_path / "notes").mkdir()

    def run(inputs: object, *, fail: object = (), short: object = (), seconds: float = 0.0, **options: Any) -> Any:
        arguments = ["--notes", tmp_path / "notes", "--fail", joined(fail), "--short", joined(short)]
        arguments += ["--seconds", seconds]
        return daskbatch.run(
            script(SCRIPT), inputs, output=tmp_path / "out", arguments=arguments, progress=False,
            **{"mini_batch_size": 1, "run_max_try": 1, "process_count_per_node": 2, **options},
        )  # fmt: skip

    return run


STOPPED = {
    "error_threshold": ({"error_threshold": 2}, "3 items failed, error_threshold=2 allows 2"),
    "error_threshold_0": ({"error_threshold": 0}, "error_threshold=0 allows 0"),
    "allowed_failed_count": ({"allowed_failed_count": 2}, "3 mini-batches failed, allowed_failed_count=2 allows 2"),
    "allowed_failed_percent": ({"allowed_failed_percent": 7}, "allowed_failed_percent=7 allows 7 %"),
    "any_of_them": ({"error_threshold": -1, "allowed_failed_count": 2}, "allowed_failed_count=2"),
}
GOES_ON: dict[str, dict[str, Any]] = {
    "error_threshold": {"error_threshold": 3},
    "allowed_failed_count": {"allowed_failed_count": 3},
    "allowed_failed_percent": {"allowed_failed_percent": 10},
    "all": {"error_threshold": -1},
    "not given": {},
}


@pytest.mark.parametrize("name", STOPPED)
def test_one_failure_too_many_fails_the_run(name: str, start: Callable[..., Any], files: Callable[[int], str]) -> None:
    # Given 30 files, of which three fail
    options, message = STOPPED[name]
    # When no more than two may
    with pytest.raises(daskbatch.ThresholdExceeded) as caught:
        start(files(30), fail=[3, 5, 20], **options)
    # Then the run has failed for that reason, with the user's traceback first
    assert message in str(caught.value)
    assert str(caught.value).startswith("Traceback (most recent call last):")
    assert "no luck with" in str(caught.value)
    assert caught.value.summary["status"] == "Failed"
    assert caught.value.summary["error"]["type"] == "ThresholdExceeded"


@pytest.mark.parametrize("name", GOES_ON)
def test_as_many_as_allowed_may_fail(name: str, start: Callable[..., Any], files: Callable[[int], str]) -> None:
    # Given 30 files, of which three fail, and a limit that allows three
    run = start(files(30), fail=[3, 5, 20], **GOES_ON[name])
    # Then the run is complete, and the three are listed
    assert run.status == "Completed"
    assert run.summary["mini_batches"] == {"total": 30, "succeeded": 27, "failed": 3}
    assert sorted(entry["mini_batch"] for entry in run.failed_items()) == ["20-0", "3-0", "5-0"]


@pytest.mark.parametrize("slots", [1, 2])
def test_items_missing_from_a_result_count(slots: int, start: Callable[..., Any], files: Callable[[int], str]) -> None:
    with pytest.raises(daskbatch.ThresholdExceeded, match="2 items failed, error_threshold=1 allows 1"):
        start(files(12), short=[0, 4], mini_batch_size=3, error_threshold=1, process_count_per_node=slots)


def test_a_retry_that_succeeds_does_not_count(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that fails at each mini-batch's first try
    entry = script("""
        def run(mini_batch, context):
            if context.retry_count == 0:
                raise ValueError("later")
            return mini_batch
        """)
    # When no item may fail
    run = daskbatch.run(
        entry, files(8), output=tmp_path / "out", mini_batch_size=1, run_max_try=2, error_threshold=0,
        process_count_per_node=2, progress=False,
    )  # fmt: skip
    # Then none has
    assert run.summary["items"] == {"total": 8, "succeeded": 8, "failed": 0}
    assert run.summary["tries"] == 16


# The default rule


@pytest.mark.parametrize(("count", "failing"), [(40, 20), (6, 6)], ids=["first 20 of 40", "all 6"])
def test_by_default_a_run_whose_first_mini_batches_all_fail_is_stopped(
    count: int, failing: int, start: Callable[..., Any], files: Callable[[int], str]
) -> None:
    with pytest.raises(daskbatch.ThresholdExceeded, match=f"first {failing} mini-batches have all failed") as caught:
        start(files(count), fail=range(failing))
    assert "no luck with" in str(caught.value)
    assert "error_threshold=-1" in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"error_threshold": -1}], ids=["one succeeds", "turned off"])
def test_the_default_rule_does_not_stop(
    options: dict[str, Any], start: Callable[..., Any], files: Callable[[int], str]
) -> None:
    # Given that 19 of the first 20 fail; or all of them, with the rule turned off
    failing = [number for number in range(20) if options or number != 19]
    run = start(files(30), fail=failing, **options)
    # Then the run goes on to its end
    assert run.summary["mini_batches"] == {"total": 30, "succeeded": 30 - len(failing), "failed": len(failing)}


# How soon


def assert_stopped_in_time(notes: Path, failures: int, all_starts: int) -> None:
    """No run() began later than `LONGEST` after failure number `failures`; and there was more to do."""
    crossed = times(notes, "failed")[failures - 1]
    starts = times(notes, "start")
    assert starts[-1] - crossed <= LONGEST
    assert len(starts) < all_starts


def test_stops_while_tasks_are_under_way(
    tmp_path: Path, start: Callable[..., Any], files: Callable[[int], str]
) -> None:
    # Given quick mini-batches in long tasks, and two failures near the start
    with pytest.raises(daskbatch.ThresholdExceeded):
        start(files(99), fail=[2, 3], seconds=0.1, allowed_failed_count=1, task_seconds=60)
    # Then the tasks are cut short
    assert_stopped_in_time(tmp_path / "notes", 2, 99)


def test_stops_when_one_mini_batch_takes_long(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a failure and, right behind it in the same task, a mini-batch that takes long; on the other slot quick ones
    (tmp_path / "notes").mkdir()
    arguments = ["--notes", tmp_path / "notes", "--fail", "0", "--slow", "1", "--seconds", "0.1"]
    with pytest.raises(daskbatch.ThresholdExceeded):
        daskbatch.run(
            script(SCRIPT), files(90), output=tmp_path / "out", arguments=arguments, progress=False, mini_batch_size=1,
            run_max_try=1, process_count_per_node=2, error_threshold=0, task_seconds=60,
            run_invocation_timeout=6,
        )  # fmt: skip
    # Then nobody waits for it
    assert_stopped_in_time(tmp_path / "notes", 1, 90)


@pytest.mark.parametrize("how", ["fail", "short"])
def test_stops_within_a_stream(how: str, tmp_path: Path, start: Callable[..., Any]) -> None:
    # Given a gzip file, which is one task however long it is, with a failure near its start
    text = "id\n" + "".join(f"{number}\n" for number in range(200))
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(text.encode()))
    # When none is allowed
    with pytest.raises(daskbatch.ThresholdExceeded):
        start(tmp_path / "in.csv.gz", seconds=0.05, mini_batch_size="2rows", error_threshold=0, **{how: [4]})
    # Then the stream is not read to its end
    assert_stopped_in_time(tmp_path / "notes", 1, 100)


# What is left


def test_results_so_far_stay_under_a_partial_name(
    tmp_path: Path, start: Callable[..., Any], files: Callable[[int], str], oracle: Callable[..., bytes],
    script: Callable[..., str],
) -> None:  # fmt: skip
    # Given a run that is stopped midway
    inputs = files(60)
    with pytest.raises(daskbatch.ThresholdExceeded) as caught:
        start(inputs, fail=[30], seconds=0.02, error_threshold=0)
    # Then there is no file of the final name
    run = daskbatch.Run.open(tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.csv").exists()
    assert run.output_file == tmp_path / "out" / "predictions.partial.csv"
    assert caught.value.summary["output"]["name"] == "predictions.partial.csv"
    # and the partial one holds the oracle's bytes of what was committed, in the input's order
    header, *lines = run.output_file.read_bytes().splitlines()
    oracle_header, *oracle_lines = oracle(script(SCRIPT), inputs, mini_batch_size=1).splitlines()
    committed = [
        int(line.split(",")[0].split("-")[0])
        for line in (tmp_path / "out/logs/sys/job_report/processed_mini-batches.csv").read_text().splitlines()[1:]
    ]
    assert header == oracle_header
    assert lines == [oracle_lines[number] for number in committed]
    assert committed == sorted(committed)
    assert 0 < len(lines) < 60
    assert run.summary["mini_batches"]["succeeded"] == len(lines)


def test_the_command_ends_with_1(tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]) -> None:
    command = [sys.executable, "-m", "daskbatch", "run", script(SCRIPT), files(8), "--output", str(tmp_path / "out")]
    options = ["--mini-batch-size", "1", "--run-max-try", "1", "--error-threshold", "0", "--", "--fail", "3"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "no luck with 3" in ended.stderr
    assert "error_threshold=0 allows 0" in ended.stderr
    assert json.loads((tmp_path / "out" / "run_summary.json").read_text())["status"] == "Failed"


@pytest.mark.parametrize("action", ["append_row", "summary_only"])
def test_no_result_at_all_fails_append_row_alone(
    action: str, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that returns nothing for any mini-batch
    entry = script("def run(mini_batch):\n    return []\n")
    options: dict[str, Any] = {"mini_batch_size": 2, "output_action": action, "process_count_per_node": 1}
    # When it runs, then only a run that should have a result has failed
    if action == "append_row":
        with pytest.raises(daskbatch.NoResult, match="run\\(\\) returned no item"):
            daskbatch.run(entry, files(4), output=tmp_path / "out", progress=False, **options)
    else:
        run = daskbatch.run(entry, files(4), output=tmp_path / "out", progress=False, **options)
        assert run.summary["items"] == {"total": 4, "succeeded": 0, "failed": 4}
    assert not list((tmp_path / "out").glob("predictions*"))
