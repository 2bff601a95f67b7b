from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daskbatch import PipelineRun, RunDetails, UsageError


def step(folder: Path, name: str, status: str, **more: Any) -> SimpleNamespace:
    details = {"status": status, "error": more.get("error")}
    return SimpleNamespace(
        name=name,
        folder=folder,
        is_reused=more.get("reused", False),
        get_details=lambda: details,
        get_metrics=lambda: more.get("metrics", {}),
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PipelineRun:
    """A run with a step that has ended with a failure, one that goes on, and one that failed as a whole."""
    entry = {
        "mini_batch": "2-0",
        "paths": ["/in/<a>.bin", "/in/b.bin"],
        "error": "ValueError",
        "message": "bad & worse\nsecond line",
    }
    (tmp_path / "failed_items.jsonl").write_text((json.dumps(entry) + "\n") * 21)
    none = tmp_path / "none"
    ended = {"mini_batches_total": 3, "mini_batches_succeeded": 2, "mini_batches_failed": 1, "items_failed": 2}
    going = {"mini_batches_total": 1000, "mini_batches_done": 4, "total_is_exact": False, "items_failed": 0}
    steps = [
        step(tmp_path, "one", "Completed", metrics=ended, reused=True),
        step(none, "three-and-more", "Running", metrics=going),
        step(none, "four", "Failed", error={"message": "init() failed\nTraceback"}),
    ]
    found = PipelineRun.__new__(PipelineRun)
    found.id = "r1"
    found.experiment = SimpleNamespace(name="exp")
    monkeypatch.setattr(found, "get_status", lambda: "Running", raising=False)
    monkeypatch.setattr(found, "get_steps", lambda: steps, raising=False)
    return found


def test_a_terminal_shows_lines(run: PipelineRun, capsys: pytest.CaptureFixture[str]) -> None:
    RunDetails(run).show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Run r1 of 'exp': Running"
    assert lines[1] == "  one             Completed (reused)  3 of 3 mini-batches, 2 items failed"
    assert lines[2] == "    /in/<a>.bin and 1 other: ValueError: bad & worse"
    assert lines[22].startswith("    More: ")
    assert lines[23] == "  three-and-more  Running     4 of about 1,000 mini-batches"
    assert lines[24:] == ["  four            Failed", "    Error: init() failed"]


def test_a_notebook_shows_a_table(run: PipelineRun) -> None:
    text = RunDetails(run)._repr_html_()
    assert "/in/&lt;a&gt;.bin and 1 other: ValueError: bad &amp; worse" in text
    assert "<a>" not in text
    assert text.count("<tr>") == 4


def test_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="got str"):
        RunDetails("r1")  # type: ignore[arg-type]
