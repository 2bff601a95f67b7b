"""What a run leaves in its output folder, file by file."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import daskbatch

NODE = socket.gethostname()

# Item 3 fails, and mini-batch 4-0 returns one result too few.
SCRIPT = """
    from pathlib import Path

    def run(mini_batch):
        print("at work")
        names = [Path(path).stem for path in mini_batch]
        if "f03" in names:
            raise ValueError("no luck with f03")
        return names[:-1] if "f04" in names else names
"""


@pytest.fixture
def run(tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]) -> daskbatch.Run:
    """Eight files, two a mini-batch, on two slots, with failures."""
    return daskbatch.run(
        script(SCRIPT), files(8), output=tmp_path / "out", mini_batch_size=2, process_count_per_node=2, run_max_try=2,
        progress=False, environment_variables={"TOKEN": "xyzzy-1234"}, arguments=["--model", "m"],
    )  # fmt: skip


@pytest.fixture
def failed(tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]) -> Path:
    """The output folder of a run that failed."""
    with pytest.raises(daskbatch.ThresholdExceeded):
        daskbatch.run(
            script(SCRIPT), files(8), output=tmp_path / "out", mini_batch_size=2, process_count_per_node=1,
            run_max_try=1, error_threshold=0, progress=False,
        )  # fmt: skip
    return tmp_path / "out"


def test_the_summary(run: daskbatch.Run, tmp_path: Path) -> None:
    summary = json.loads((tmp_path / "out" / "run_summary.json").read_text())
    assert summary == run.summary
    assert summary["status"] == "Completed"
    assert summary["error"] is None
    assert summary["mini_batches"] == {"total": 4, "succeeded": 3, "failed": 1}
    assert summary["items"] == {"total": 8, "succeeded": 5, "failed": 3}
    assert summary["tries"] == 5
    assert 0 < summary["seconds"] < 60
    assert summary["daskbatch_version"] == daskbatch.__version__
    content = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert summary["output"] == {
        "name": "predictions.csv",
        "rows": 5,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    options = summary["options"]
    assert options["inputs"] == [str(tmp_path / "in")]
    assert options["entry"] == str(tmp_path / "score.py")
    assert options["run_max_try"] == 2
    assert options["process_count_per_node"] == 2
    assert options["arguments"] == ["--model", "m"]
    # Values of environment variables are often secrets.
    assert "xyzzy" not in json.dumps(summary)


def test_the_secrets_of_the_environment_are_nowhere(run: daskbatch.Run, tmp_path: Path) -> None:
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"xyzzy" not in path.read_bytes(), path


def test_the_result(run: daskbatch.Run, tmp_path: Path) -> None:
    assert (tmp_path / "out" / "predictions.csv").read_text().split() == ["result", "f00", "f01", "f04", "f06", "f07"]
    assert run.output_file == tmp_path / "out" / "predictions.csv"
    assert list(run.to_pandas()["result"]) == ["f00", "f01", "f04", "f06", "f07"]


def test_the_failed_items(run: daskbatch.Run, tmp_path: Path) -> None:
    lines = (tmp_path / "out" / "failed_items.jsonl").read_text().splitlines()
    entries = {entry["mini_batch"]: entry for entry in map(json.loads, lines)}
    assert set(entries) == {"2-0", "4-0"}
    raised, short = entries["2-0"], entries["4-0"]
    assert raised["paths"] == [str(tmp_path / "in" / name) for name in ("f02.bin", "f03.bin")]
    assert (raised["item_count"], raised["error"], raised["tries"]) == (2, "ValueError", 2)
    assert raised["message"] == "no luck with f03"
    assert raised["traceback"].startswith("Traceback (most recent call last):")
    assert "score.py" in raised["traceback"]
    assert re.fullmatch(rf"{re.escape(NODE)}/process00[01]", raised["worker"])
    assert short["paths"] == [str(tmp_path / "in" / name) for name in ("f04.bin", "f05.bin")]
    assert (short["item_count"], short["missing"], short["error"], short["tries"]) == (2, 1, "MissingItems", 1)
    assert sorted(entry["mini_batch"] for entry in run.failed_items()) == ["2-0", "4-0"]


def test_without_failures_there_is_no_list_of_them(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    run = daskbatch.run(script(SCRIPT), files(2), output=tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "failed_items.jsonl").exists()
    assert not (tmp_path / "out" / "logs" / "job_error.txt").exists()
    assert run.failed_items() == []


def test_the_logs_have_the_names_that_users_look_for(run: daskbatch.Run, tmp_path: Path) -> None:
    logs = tmp_path / "out" / "logs"
    (overview,) = logs.glob("job_progress_overview.*.txt")
    assert re.search(r"Processed 4 of 4 mini batches in \S+\. Estimated remaining time", overview.read_text())
    assert "Completed" in (logs / "job_result.txt").read_text()
    assert (logs / "perf" / "node_resource_usage.csv").exists()
    for process in ("process000", "process001"):
        assert set((logs / "user" / "stdout" / NODE / f"{process}.stdout.txt").read_text().split("\n")) <= {
            "at work",
            "",
        }
        assert (logs / "user" / "stderr" / NODE / f"{process}.stderr.txt").read_text() == ""
    errors = [path.read_text() for path in (logs / "user" / "error" / NODE).glob("process00*.error.txt")]
    assert sum(text.count("ValueError: no luck with f03") for text in errors) == 2
    with (logs / "sys" / "job_report" / "processed_mini-batches.csv").open() as file:
        processed = list(csv.DictReader(file))
    assert [(line["mini_batch"], line["items"], line["returned"]) for line in processed] == [
        ("0-0", "2", "2"),
        ("4-0", "2", "1"),
        ("6-0", "2", "2"),
    ]
    with (logs / "sys" / "job_report" / "node_summary.csv").open() as file:
        nodes = list(csv.DictReader(file))
    assert {line["node"] for line in nodes} == {NODE}
    assert sum(int(line["mini_batches"]) for line in nodes) == 3
    assert sum(int(line["failed_tries"]) for line in nodes) == 2


def test_a_failed_run_says_why(failed: Path) -> None:
    error = (failed / "logs" / "job_error.txt").read_text()
    assert "error_threshold=0 allows 0" in error
    assert "ValueError: no luck with f03" in error
    assert "Failed" in (failed / "logs" / "job_result.txt").read_text()
    summary = json.loads((failed / "run_summary.json").read_text())
    assert summary["status"] == "Failed"
    assert summary["error"]["type"] == "ThresholdExceeded"
    assert summary["output"]["name"] == "predictions.partial.csv"


def modes(folder: Path) -> Iterator[tuple[Path, int]]:
    yield folder, stat.S_IMODE(folder.stat().st_mode)
    for path in folder.rglob("*"):
        yield path, stat.S_IMODE(path.stat().st_mode)


def test_state_is_private(failed: Path) -> None:
    # Given a failed run, whose segments are still there
    state = failed / ".daskbatch"
    assert list((state / "segments").iterdir())
    # Then nobody else may look at what it keeps
    open_to_others = {str(path.relative_to(failed)): oct(mode) for path, mode in modes(state) if mode & 0o077}
    assert open_to_others == {}
    # and what is for people is as their umask says
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((failed / "run_summary.json").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((failed / "predictions.partial.csv").stat().st_mode) == 0o666 & ~mask


def test_segments_go_when_the_result_is_whole(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    daskbatch.run(script("def run(mini_batch): return mini_batch"), files(3), output=tmp_path / "out", progress=False)
    state = tmp_path / "out" / ".daskbatch"
    assert sorted(path.name for path in state.iterdir()) == ["ledger-1.jsonl", "plan.jsonl", "run.json"]


def test_segments_stay_while_something_can_be_tried_again(run: daskbatch.Run, tmp_path: Path) -> None:
    state = tmp_path / "out" / ".daskbatch"
    assert sorted(path.name for path in state.iterdir()) == ["ledger-1.jsonl", "plan.jsonl", "run.json", "segments"]
    assert {path.suffix for path in (state / "segments").iterdir()} == {".seg"}
    # and no temporary file is left
    top = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert top == [".daskbatch", "failed_items.jsonl", "logs", "predictions.csv", "run_summary.json"]


def test_a_run_can_be_opened_later(run: daskbatch.Run, tmp_path: Path) -> None:
    again = daskbatch.Run.open(tmp_path / "out")
    assert again == run
    with pytest.raises(daskbatch.UsageError, match=r"holds no run_summary\.json"):
        daskbatch.Run.open(tmp_path)


def test_events_are_lines_of_json_and_nothing_else_is_on_stdout(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that prints
    command = [sys.executable, "-m", "daskbatch", "run", script(SCRIPT), files(8), "--output", str(tmp_path / "out")]
    # When the command is asked for JSON
    ended = subprocess.run(
        [*command, "--json", "--mini-batch-size", "2"], capture_output=True, text=True, timeout=60, check=True
    )
    # Then each line is an event, from the first to the last, which is the summary
    events: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names[:2] == ["RunStarted", "Planned"]
    assert names[-1] == "RunFinished"
    assert {"RunnerStarted", "TaskFinished", "AttemptFailed", "MiniBatchFailed", "Progress"} <= set(names)
    assert events[-1]["summary"] == json.loads((tmp_path / "out" / "run_summary.json").read_text())
