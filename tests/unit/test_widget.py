"""RunDetails: what it reads of a run's files, and the HTML and text that it makes of that."""

from __future__ import annotations

import html.parser
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daskbatch import PipelineRun, RunDetails, UsageError
from daskbatch.api.documents import write_document
from daskbatch.api.run import Run
from daskbatch.api.run_folder import PipelineFolder
from daskbatch.api.step_run import StepRun
from daskbatch.api.widget_files import MOST_LINES, LogFile
from daskbatch.api.widget_html import as_html, as_text, parts_of
from daskbatch.api.widget_picture import EngineReader, Picture, PipelineReader
from daskbatch.engine import heartbeat
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.owner import this_process
from daskbatch.store.ledger import Ledger

EVIL = "<script>alert('&')</script>"
PROGRESS = {
    "elapsed": 4.0,
    "mini_batches_total": 1000,
    "total_is_exact": False,
    "mini_batches_done": 20,
    "mini_batches_failed": 0,
    "items_done": 40,
    "items_failed": 4,
    "retries": 1,
    "slots": 2,
    "remaining": 125.0,
}
SUMMARY = {
    "status": "Completed",
    "error": None,
    "mini_batches": {"total": 60, "succeeded": 38, "failed": 22},
    "items": {"total": 120, "succeeded": 76, "failed": 44},
    "seconds": 4.0,
    "output": {"name": "predictions.csv"},
    "epoch": 1,
}


def entry(**more: Any) -> dict[str, Any]:
    told = {"mini_batch": "2-0", "paths": [f"/in/{EVIL}.bin", "/in/b.bin"], "error": "ValueError", "tries": 3}
    told |= {"message": f"bad & worse {EVIL}\nsecond line", "worker": f"{EVIL}/process000"}
    frames = 'File "/x/score.py", line 9, in run', f'File "/x/{EVIL}.py", line 3, in decode'
    told["traceback"] = "Traceback (most recent call last):\n" + "".join(f"  {frame}\n    code\n" for frame in frames)
    return told | more


def engine(output: Path, progress: dict[str, Any] | None = None, **more: Any) -> Ledger:
    """What an engine at work leaves in its folder."""
    folder = RunFolder(output)
    folder.create()
    content = {**this_process(), "run_id": "r", "since": "now", "beat": 1, "seconds": 4.0, "phase": "run"}
    ledger = Ledger.create(folder.ledger(1), "r")
    heartbeat.begin_heartbeat(folder.heartbeat(1), content | {"progress": progress} | more)
    return ledger


@pytest.fixture
def run(tmp_path: Path) -> PipelineRun:
    """A run with a step that has ended with failures, one that goes on, one that failed, one that waits."""
    folder = tmp_path / "run"
    status = {
        "one": ("Completed", None),
        "three-and-more": ("Running", None),
        "four": ("Failed", {"type": "InitFailed", "message": f"init() failed {EVIL}\nTraceback"}),
        "five": ("NotStarted", None),
    }
    steps = {
        name: {
            "status": state,
            "error": error,
            "reused": False,
            "started": None if state == "NotStarted" else "2026-01-01T10:00:00.000+00:00",
            "ended": None if state in ("NotStarted", "Running") else "2026-01-01T10:02:05.000+00:00",
            "folder": None,
            "run_id": name,
        }
        for name, (state, error) in status.items()
    }
    write_document(
        folder / "status-1.json",
        {"status": "Running", "error": None, "started": "2026-01-01T10:00:00.000+00:00", "ended": None, "steps": steps},
        overwrite=False,
    )
    (folder / "coordinator.log").write_text(f"[one] {EVIL}\n")
    one = folder / "steps" / "one"
    write_document(one / "run_summary.json", SUMMARY, overwrite=False)
    (one / "failed_items.jsonl").write_text((json.dumps(entry()) + "\n") * 22)
    for number, (kind, text) in enumerate({"error": "no", "stderr": f"{EVIL} said\n\x1b[31m10%\r90%\n"}.items()):
        log = one / "logs" / "user" / kind / "node" / f"process00{number}.txt"
        log.parent.mkdir(parents=True)
        log.write_text(text)
    engine(folder / "steps" / "three-and-more", PROGRESS).close()
    found = PipelineRun.__new__(PipelineRun)
    found.id = EVIL
    found.experiment = SimpleNamespace(name="exp", workspace=SimpleNamespace(folder=tmp_path))
    found._folder = PipelineFolder(folder)
    found._document = {"pipeline": {"steps": [{"name": name} for name in status]}}
    return found


@pytest.fixture
def picture(run: PipelineRun) -> Picture:
    return PipelineReader(run).read()


class Tags(html.parser.HTMLParser):
    """The tags of a page, and whether each is closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.names.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_terminal_shows_lines(run: PipelineRun, capsys: pytest.CaptureFixture[str]) -> None:
    RunDetails(run).show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Run exp / {EVIL}: ● Running"
    assert lines[1] == (
        "  one             ✓ Completed    60 of 60 mini-batches (100 %), 76 items done, 22 mini-batches failed,"
        " 44 items failed, 30 items/s"
    )
    assert lines[2] == f"    script>.bin and 1 other: ValueError: bad & worse {EVIL}"
    assert lines[12].startswith("    All failures: ")
    assert lines[13] == (
        "  three-and-more  ● Running      20 of about 1,000 mini-batches (2 %), 36 items done, 4 items failed, 1 retry,"
        " 10 items/s"
    )
    assert lines[14:] == [
        "  four            ✕ Failed",
        f"    init() failed {EVIL}",
        "  five            ○ Not started",
    ]


def test_a_terminal_that_knows_few_letters(tmp_path: Path) -> None:
    output = tmp_path / "out"
    engine(output, PROGRESS).close()
    program = f"from daskbatch import RunDetails; RunDetails({str(output)!r}).show()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "20 of about 1,000 mini-batches" in done.stdout


def test_a_view_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    output = tmp_path / "out"
    engine(output, PROGRESS).close()
    program = (
        "from pathlib import Path\n"
        "from daskbatch.api.widget_live import LiveView\n"
        "from daskbatch.api.widget_picture import EngineReader\n"
        f"reader = EngineReader(Path({str(output)!r}))\n"
        "view = LiveView(reader, reader.read())\n"
        "view.thread.start()\n"
        "print(view.thread.is_alive())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_whatever_users_have_said_is_text(picture: Picture) -> None:
    page = as_html(picture)
    tags = Tags(page)
    assert tags.open == []
    assert tags.names <= {"div", "span", "strong", "code", "pre", "i", "a", "details", "summary", "style"}
    assert "<script" not in page
    assert tags.text.count(EVIL) >= 5
    assert "10%" not in tags.text  # a bar that was drawn again
    assert "90%" in tags.text
    assert "http" not in page  # nothing is fetched


def test_what_failed_is_told_with_the_users_own_line(picture: Picture) -> None:
    assert len(picture.steps[0].failures) == 10
    text = Tags(as_html(picture)).text
    assert "These are the first 10 of 22. All failures: steps/one/failed_items.jsonl" in text
    assert "Mini-batch 2-0, after 3 tries, last on" in text
    assert picture.steps[0].failures[0].where == "script>.py:3 in decode"


def test_times_are_those_of_the_run(picture: Picture) -> None:
    text = Tags(as_html(picture)).text
    assert "1 of 4 steps completed" in text
    assert "2 min 5 s" in text
    assert "about 2 min 5 s left" in text


def test_a_step_alone(run: PipelineRun) -> None:
    step = StepRun.__new__(StepRun)
    step.parent, step.name = run, "one"
    found = RunDetails(step)._reader().read()
    assert (found.over, [one.name for one in found.steps]) == (True, ["one"])
    assert found.title == f"exp / {EVIL} / one"
    assert "60 of 60" in RunDetails(step).text


def test_a_log_that_grows_leaves_the_other_parts_alone(run: PipelineRun) -> None:
    reader = PipelineReader(run)
    before = dict(parts_of(reader.read()))
    with (run.folder / "coordinator.log").open("a") as log:
        log.write("[one] more\n")
    after = dict(parts_of(reader.read()))
    assert before.keys() == after.keys()
    changed = {key for key in before if before[key] != after[key]}
    assert changed - {"head", "step-1"} == {"log-coordinator"}  # the times of what runs go on


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log, path = LogFile(), tmp_path / "log.txt"
    assert log.read("log", None) is None
    assert log.read("log", path) is None
    path.touch()
    assert log.read("log", path) is None
    path.write_bytes(b"".join(b"line %d \xff\n" % number for number in range(100_000)))
    end = log.read("log", path)
    assert end is not None
    assert (len(end.lines), end.lines[-1]) == (MOST_LINES, "line 99999 �")
    assert log.read("log", path) is end
    path.write_bytes(b"x" * 100_000)
    end = log.read("log", path)
    assert end is not None
    assert len(end.lines[0]) < 20_000
    os.mkfifo(tmp_path / "pipe")
    assert log.read("log", tmp_path / "pipe") is None


def test_failures_that_come_and_go(run: PipelineRun) -> None:
    path = run.folder / "steps" / "one" / "failed_items.jsonl"
    reader = PipelineReader(run)
    whole = json.dumps(entry(paths=["/in/a.csv"], range=[0, 5])) + "\n"
    other = json.dumps(entry(paths=["/more/a.csv"])) + "\n"
    rows = json.dumps(entry(paths=["/in/b.parquet"], range=[0, 9], row_group=2)) + "\n"
    for text, expected in (
        (whole + whole[:20], ["a.csv, bytes 0 to 5"]),
        (whole + "no json\n[1]\n{}\n" + whole, ["a.csv, bytes 0 to 5"] * 2),
        (whole + other, ["in/a.csv, bytes 0 to 5", "more/a.csv"]),
        (rows, ["b.parquet, rows 0 to 9 from row group 2 on"]),
        ("", []),
    ):
        path.write_text(text)
        assert [one.name for one in reader.read().steps[0].failures] == expected
    path.unlink()
    assert reader.read().steps[0].failures == ()


def test_a_run_by_its_folder(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(UsageError, match="There is no run in"):
        RunDetails(output)
    ledger = engine(output)
    details = RunDetails(str(output))
    assert "out  ● Running      planning" in details.text
    heartbeat.write_heartbeat(
        RunFolder(output).heartbeat(1),
        {**this_process(), "beat": 2, "seconds": 5.0, "phase": "combine", "progress": PROGRESS},
    )
    assert "combining results, 20 of about 1,000 mini-batches" in details.text
    (output / "run_summary.json").write_text(json.dumps(SUMMARY))
    ledger.end("Completed")
    ledger.close()
    assert "out  ✓ Completed    60 of 60" in details.text
    assert RunDetails(Run(output, SUMMARY)).text == details.text
    assert details.get_widget_data()["state"] == "Completed"
    assert "Log: " not in details._repr_html_()
    (output / "run_summary.json").unlink()  # the disk was full
    assert "out  ✓ Completed" in details.text


def test_a_run_whose_process_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        gone = this_process(child.pid)
    engine(tmp_path, PROGRESS, **gone).close()
    found = EngineReader(tmp_path).read()
    assert found.over
    assert "? Lost" in as_text(found)
    assert "daskbatch resume" in as_html(found)


def test_a_run_elsewhere_is_lost_when_it_has_stood_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(tmp_path, PROGRESS, place="another host").close()
    reader = EngineReader(tmp_path)
    assert not reader.read().over
    monkeypatch.setattr("daskbatch.api.widget_picture.LOST_AFTER", 0.0)
    assert reader.read().state == "Lost"


def test_the_size_of_a_run_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ledgers grow with the run: of one that goes on, the last line is all that is read
    engine(tmp_path, {**PROGRESS, "mini_batches_total": 1_000_000}).close()
    monkeypatch.setattr("daskbatch.api.widget_picture.read_status", None)
    assert "20 of about 1,000,000" in as_text(EngineReader(tmp_path).read())


def test_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="got int"):
        RunDetails(1)  # type: ignore[arg-type]
