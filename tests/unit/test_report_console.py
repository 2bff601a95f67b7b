from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daskbatch.events import AttemptFailed, Notice, Planned, Progress, RunFinished, RunnerStarted, RunStarted
from daskbatch.report import Ending, default_listeners
from daskbatch.report.console import Console
from daskbatch.report.jsonl import JsonLines

STARTED = RunStarted(0.0, "id", "/out", {"entry": "score.py"})
PLANNED = Planned(
    0.0, 3, 40, 40, 3 * 1024**2, "csv (by suffix), 1MB a mini-batch", (("a", "int64"), ("b", "string")), ("/in/e.csv",)
)
PROGRESS = Progress(1.0, 1.0, 40, True, 12, 0, 1204, 0, 0, 2, 10.4)
FAILURE = AttemptFailed(1.0, "0-7", 3, "ValueError", "bad", "Traceback ...\nValueError: bad\n", "host", "0", True)
SUMMARY = {
    "status": "Completed",
    "seconds": 12.34,
    "mini_batches": {"total": 40, "succeeded": 39, "failed": 1},
    "items": {"total": 1204, "succeeded": 1200, "failed": 4},
    "tries": 42,
    "output": {"name": "predictions.csv", "rows": 1200, "bytes": 20480, "sha256": "00"},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*events: Any, **options: Any) -> str:
    stream = io.StringIO()
    console = Console(stream, **options)
    for event in events:
        console(event)
    return stream.getvalue()


def test_the_input_is_described_at_the_start() -> None:
    text = shown(STARTED, PLANNED)
    assert text.splitlines() == [
        "Input: csv (by suffix), 1MB a mini-batch",
        "  40 mini-batches",
        "  2 columns: a int64, b string",
        "  Left out, as there is nothing in them: 1 file (/in/e.csv)",
    ]


def test_a_count_that_is_hidden_is_a_guess() -> None:
    assert "about 40 mini-batches" in shown(replace(PLANNED, mini_batches=None))


def test_wide_tables_do_not_fill_the_screen() -> None:
    schema = tuple((f"column_{n}", "float64") for n in range(1000))
    assert "and 960 more" in shown(replace(PLANNED, schema=schema))


def test_plain_lines_come_every_five_seconds() -> None:
    events = [replace(PROGRESS, time=t / 10, elapsed=t / 10, mini_batches_done=t) for t in range(101)]
    lines = shown(*events).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["0", "50", "100"]


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    times = (1000.0, 1002.0, 10.0, 12.0, 15.0)
    lines = shown(*[replace(PROGRESS, time=time, mini_batches_done=n) for n, time in enumerate(times)]).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["0", "2", "4"]


def test_a_line_tells_what_matters() -> None:
    text = shown(replace(PROGRESS, mini_batches_failed=1, items_failed=10, retries=2, total_is_exact=False))
    expected = "12 of about 40 mini-batches, 0:00:10 left, 1,204 items/s, 1 failed (10 items), 2 retries, 2 slots\n"
    assert text == expected
    assert "left" not in shown(replace(PROGRESS, remaining=None))


def test_the_rate_is_of_the_last_seconds() -> None:
    stream = io.StringIO()
    console = Console(stream)
    for second in range(101):
        items = 100 * min(second, 50)  # nothing moves in the second half
        console(replace(PROGRESS, time=float(second), elapsed=float(second), items_done=items))
    assert "0.0 items/s" in stream.getvalue().splitlines()[-1]


def test_the_first_failures_are_shown_and_the_others_counted() -> None:
    failures = [replace(FAILURE, mini_batch=f"0-{n}", traceback=f"ValueError: bad {n}") for n in range(10)]
    text = shown(*failures)
    assert "Mini-batch 0-0 failed for good at try 3 (node host, process 0):\n  ValueError: bad 0\n" in text
    assert "bad 2" in text
    assert "bad 3" not in text
    assert text.count("More mini-batches failed") == 1


def test_a_try_that_is_not_the_last_is_only_counted() -> None:
    assert shown(replace(FAILURE, final=False)) == ""


def test_an_error_without_traceback_is_named() -> None:
    assert "RunTimeout: after 60 s" in shown(replace(FAILURE, traceback="", error="RunTimeout", message="after 60 s"))


def test_a_completed_run_ends_with_where_things_are(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "failed_items.jsonl").write_text("{}\n")
    text = shown(replace(STARTED, output=str(tmp_path)), RunFinished(9.0, SUMMARY, None, None))
    counts = (
        "Completed in 12.3 s: 39 of 40 mini-batches succeeded (1 failed), 1,200 of 1,204 items succeeded (4 failed),"
        " 42 tries."
    )
    assert text.splitlines() == [
        counts,
        f"Result: {tmp_path}/predictions.csv (1,200 rows, 20.0 KB)",
        f"Failed items: {tmp_path}/failed_items.jsonl",
        f"Logs: {tmp_path}/logs",
        f"To try again what failed: daskbatch retry-failed {tmp_path}",
    ]


def test_a_failed_run_ends_with_the_traceback_then_what_happened(tmp_path: Path) -> None:
    output = SUMMARY["output"] | {"name": "predictions.partial.csv"}  # type: ignore[operator]
    finished = RunFinished(9.0, SUMMARY | {"status": "Failed", "output": output}, "too many failed", FAILURE.traceback)
    text = shown(STARTED, finished)
    assert text.index("ValueError: bad") < text.index("Failed after 12.3 s: too many failed.\n39 of 40")
    assert "Partial result: /out/predictions.partial.csv" in text
    assert "Logs" not in text


def test_a_traceback_is_shown_once() -> None:
    finished = RunFinished(9.0, SUMMARY | {"status": "Failed"}, "too many failed", FAILURE.traceback)
    assert shown(STARTED, FAILURE, finished).count("ValueError: bad") == 1


def test_a_summary_with_nothing_in_it_is_no_error() -> None:
    assert shown(STARTED, RunFinished(1.0, {}, "init() failed", None)) == (
        "Ended after 0.0 s: init() failed.\nTo go on: repeat the command, or: daskbatch resume /out\n"
    )


def test_notices_are_shown() -> None:
    text = shown(
        Notice(0.0, "2 files are empty", "WARNING"), Notice(0.0, "resumed"), RunnerStarted(0.0, "h", "0", 1, 2.0)
    )
    assert text == "Warning: 2 files are empty\nresumed\n"


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    console = Console(stream)
    for event in (STARTED, PLANNED, PROGRESS, FAILURE, RunFinished(9.0, SUMMARY, None, None)):
        console(event)
    text = stream.getvalue()
    assert "\r" in text
    assert "30%|" in text
    assert "12 of 40 mini-batches, 0:00:10 left, 1,204 items/s, 2 slots" in text
    assert text.index("ValueError: bad") > text.index("30%|")
    assert text.rstrip().endswith("To try again what failed: daskbatch retry-failed /out")


def test_the_bar_follows_a_total_that_grows() -> None:
    stream = Terminal()
    console = Console(stream)
    console(PROGRESS)
    console(replace(PROGRESS, mini_batches_total=40, mini_batches_done=60))
    assert "100%|" in stream.getvalue()
    assert "60 of 40" in stream.getvalue()


def test_the_bar_leaves_tqdm_as_it_was() -> None:
    program = (
        "import sys, threading\n"
        "from daskbatch.events import Progress\n"
        "from daskbatch.report.console import Console\n"
        "Console(live=True)(Progress(1.0, 1.0, 40, True, 12, 0, 1204, 0, 0, 2, 10.4))\n"
        "import tqdm\n"
        "assert tqdm.tqdm.monitor_interval == 10\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


def test_without_a_bar_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    stream = Terminal()
    Console(stream)(PROGRESS)
    assert stream.getvalue().startswith("12 of 40 mini-batches")


def test_a_reader_that_went_away_does_not_stop_the_run() -> None:
    stream = io.StringIO()
    console, lines = Console(stream), JsonLines(stream)
    stream.close()
    for event in (STARTED, PLANNED, PROGRESS):
        console(event)
        lines(event)


def test_a_console_that_knows_only_ascii() -> None:
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="ascii"))
    console(Notice(0.0, "caf\xe9 \udc80"))
    assert raw.getvalue() == b"caf\\xe9 \\udc80\n"


def test_json_lines() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines(STARTED)
    lines(PLANNED)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first == {"event": "RunStarted", "time": 0.0, "run_id": "id", "output": "/out", "options": STARTED.options}
    assert second["schema"] == [["a", "int64"], ["b", "string"]]


def test_ending_keeps_the_last_words() -> None:
    ending = Ending()
    ending(STARTED)
    assert ending.text is None
    ending(RunFinished(1.0, SUMMARY, None, None))
    assert ending.text is not None
    assert "Result: /out/predictions.csv" in ending.text


@pytest.mark.parametrize(
    ("quiet", "as_json", "last"), [(False, False, "Console"), (True, False, "ResourceLog"), (True, True, "JsonLines")]
)
def test_default_listeners(tmp_path: Path, quiet: bool, as_json: bool, last: str) -> None:
    listeners = default_listeners(str(tmp_path), quiet=quiet, json=as_json)
    names = [type(listener).__name__ for listener in listeners]
    assert names[:3] == ["SummaryFiles", "LogFiles", "ResourceLog"]
    assert names[-1] == last
    assert list(tmp_path.iterdir()) == []
