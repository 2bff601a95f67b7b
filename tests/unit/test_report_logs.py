from __future__ import annotations

import csv
import logging
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from daskbatch.events import AttemptFailed, Planned, Progress, RunFinished, RunnerStarted, RunStarted, TaskFinished
from daskbatch.report import logs
from daskbatch.report.logs import LogFiles
from daskbatch.report.resources import COLUMNS, ResourceLog

PROGRESS = Progress(1.0, 18134.0, 20000, True, 4117, 0, 1204, 0, 0, 2, 3600.0)
FAILURE = AttemptFailed(
    1.0, "0-7", 1, "ValueError", "caf\xe9", "Traceback ...\nValueError: caf\xe9", "host", "0", False
)


def told(output: Path, *events: Any) -> LogFiles:
    listener = LogFiles(str(output))
    for event in (RunStarted(0.0, "id", str(output), {}), *events):
        listener(event)
    return listener


def overview(output: Path) -> list[str]:
    (path,) = (output / "logs").glob("job_progress_overview.*.txt")
    return [line[20:] for line in path.read_text().splitlines()]


def test_the_overview_in_the_words_users_know(tmp_path: Path) -> None:
    told(tmp_path, PROGRESS)
    assert overview(tmp_path) == [
        f"Run id started. Output folder: {tmp_path}",
        "Processed 4117 of 20000 mini batches in 5:02:14. Estimated remaining time 1:00:00.",
    ]


def test_the_overview_gets_a_line_every_five_seconds_and_the_end(tmp_path: Path) -> None:
    events = [replace(PROGRESS, time=t / 2, mini_batches_done=t, remaining=None) for t in range(25)]
    told(tmp_path, *events, RunFinished(13.0, {"status": "Completed"}, None, None))
    lines = overview(tmp_path)
    assert [line.split(" ")[1] for line in lines if line.startswith("Processed")] == ["0", "10", "20", "24"]
    assert lines[-1] == "Completed"
    assert "unknown" in lines[1]


def test_the_input_is_in_the_overview(tmp_path: Path) -> None:
    told(tmp_path, Planned(0.0, 1, 2, 2, 10, "csv", (("a", "int64"),), ()))
    assert "Input: csv" in overview(tmp_path)


def test_result_and_error(tmp_path: Path) -> None:
    told(tmp_path, RunFinished(9.0, {"status": "Failed"}, "init() failed", "Traceback ...\nOSError: no model\n"))
    assert (tmp_path / "logs" / "job_result.txt").read_text().startswith("Failed after 0.0 s: init() failed.")
    assert (tmp_path / "logs" / "job_error.txt").read_text() == "init() failed\n\nTraceback ...\nOSError: no model\n"


def test_a_completed_run_has_no_error_file(tmp_path: Path) -> None:
    told(tmp_path, RunFinished(9.0, {"status": "Completed"}, None, None))
    assert not (tmp_path / "logs" / "job_error.txt").exists()


def test_tracebacks_are_kept_by_node_and_process(tmp_path: Path) -> None:
    told(tmp_path, FAILURE, replace(FAILURE, attempt=2, final=True), replace(FAILURE, node="../tls://10.0.0.1:5"))
    text = (tmp_path / "logs" / "user" / "error" / "host" / "0.error.txt").read_text(encoding="utf-8")
    assert "Mini-batch 0-7, try 1 (node host, process 0):\n  Traceback ...\n  ValueError: caf\xe9\n" in text
    assert "failed for good at try 2" in text
    names = sorted(path.name for path in (tmp_path / "logs" / "user" / "error").iterdir())
    assert names == ["__tls___10.0.0.1_5", "host"]


def test_tracebacks_without_end_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_ERROR_BYTES", 1000)
    told(tmp_path, *[FAILURE] * 100)
    text = (tmp_path / "logs" / "user" / "error" / "host" / "0.error.txt").read_text(encoding="utf-8")
    assert len(text) < 1300
    assert text.count("More errors follow") == 1


def test_node_summary(tmp_path: Path) -> None:
    told(
        tmp_path,
        RunnerStarted(0.0, "b", "0", 11, 1.5),
        RunnerStarted(0.0, "a", "1", 12, 0.5),
        RunnerStarted(0.0, "b", "0", 13, 1.0),
        TaskFinished(0.0, "b", "0", 10, 100, 2.0, 1.25),
        TaskFinished(0.0, "b", "0", 5, 50, 1.0, 0.5),
        replace(FAILURE, node="a", process="1"),
        RunFinished(9.0, {}, None, None),
    )
    with (tmp_path / "logs" / "sys" / "job_report" / "node_summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["node"], row["process"]) for row in rows] == [("a", "1"), ("b", "0")]
    assert rows[0]["failed_tries"] == "1"
    assert rows[1] == {
        "node": "b",
        "process": "0",
        "runners_started": "2",
        "init_seconds": "2.500",
        "tasks": "2",
        "mini_batches": "15",
        "items": "150",
        "seconds": "3.000",
        "run_seconds": "1.750",
        "failed_tries": "0",
    }


def test_logs_that_cannot_be_written_are_given_up_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("in the way")
    with caplog.at_level(logging.WARNING, "daskbatch"):
        told(tmp_path, PROGRESS, FAILURE, RunFinished(9.0, {}, None, None))
    assert len(caplog.records) == 1


def test_resources_are_sampled_every_five_seconds(tmp_path: Path) -> None:
    listener = ResourceLog(str(tmp_path))
    listener(RunStarted(0.0, "id", str(tmp_path), {}))
    for tenth in range(101):
        listener(replace(PROGRESS, time=tenth / 10))
    with (tmp_path / "logs" / "perf" / "node_resource_usage.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert tuple(rows[0]) == COLUMNS
    assert int(rows[0]["memory_total_bytes"]) > int(rows[0]["memory_used_bytes"]) > 0


def test_what_a_process_did_is_told_in_its_own_log(tmp_path: Path) -> None:
    told(
        tmp_path,
        RunnerStarted(0.0, "n1", "process000", 4711, 1.5),
        TaskFinished(1.0, "n1", "process000", 10, 100, 2.0, 1.8),
        AttemptFailed(2.0, "3-0", 1, "ValueError", "bad", "", "n1", "process000", final=False),
    )
    text = (tmp_path / "logs" / "sys" / "node" / "n1" / "process000.txt").read_text()
    assert "runner 4711 started, init() took 1.500 s" in text
    assert "10 mini-batches, 100 items in 2.000 s" in text
    assert "mini-batch 3-0, try 1 failed to be tried again: ValueError" in text


def test_a_slots_whole_tree_is_sampled(tmp_path: Path) -> None:
    # Given a process of this node that is a slot's
    usage = ResourceLog(str(tmp_path))
    usage(RunnerStarted(0.0, platform.node(), "process000", os.getpid(), 0.1))
    usage(RunnerStarted(0.0, "elsewhere", "process001", os.getpid(), 0.1))
    # When the moment for a sample comes
    usage(Progress(10.0, 10.0, 8, True, 2, 0, 2, 0, 0, 2, None))
    # Then this node's is told
    with (tmp_path / "logs" / "perf" / "processes_resource_usage.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["process"], row["pid"]) == ("process000", str(os.getpid()))
    assert int(row["memory_bytes"]) > 2**20


@pytest.mark.parametrize("error", [NotImplementedError("no /proc/diskstats"), ValueError("too few fields")])
def test_a_sandbox_that_does_not_count_leaves_blanks(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    for name in ("cpu_percent", "disk_io_counters", "net_io_counters"):
        monkeypatch.setattr(psutil, name, refuse)
    usage = ResourceLog(str(tmp_path))
    usage(RunStarted(0.0, "id", str(tmp_path), {}))
    usage(replace(PROGRESS, time=10.0))
    with (tmp_path / "logs" / "perf" / "node_resource_usage.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["cpu_percent"], row["disk_read_bytes"], row["network_sent_bytes"]) == ("", "", "")
    assert int(row["memory_total_bytes"]) > 0
    # and one that hides its memory too is left in peace, whatever the clock does
    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    for time in (20.0, 30.0, 5.0):
        usage(replace(PROGRESS, time=time))


def test_a_clock_that_is_set_back_silences_nothing(tmp_path: Path) -> None:
    usage = ResourceLog(str(tmp_path))
    times = (1000.0, 1002.0, 10.0, 12.0, 15.0)
    events = [replace(PROGRESS, time=time, mini_batches_done=number) for number, time in enumerate(times)]
    told(tmp_path, *events)
    for event in events:
        usage(event)
    assert [line.split(" ")[1] for line in overview(tmp_path) if line.startswith("Processed")] == ["0", "2", "4"]
    with (tmp_path / "logs" / "perf" / "node_resource_usage.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
