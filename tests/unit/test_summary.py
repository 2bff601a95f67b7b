from __future__ import annotations

import json
from pathlib import Path

import pytest

from daskbatch.events import MiniBatchFailed, RunFinished
from daskbatch.layout import FAILED_ITEMS, RUN_SUMMARY
from daskbatch.report.summary import SummaryFiles


def test_a_failure_is_on_disk_at_once(tmp_path: Path) -> None:
    files = SummaryFiles(tmp_path)
    for number in range(2):
        files(MiniBatchFailed(0.0, {"mini_batch": f"0-{number}"}))
        lines = (tmp_path / FAILED_ITEMS).read_text().splitlines()
        assert [json.loads(line)["mini_batch"] for line in lines] == ["0-0", "0-1"][: number + 1]
    files.close()


def test_there_is_no_list_when_nothing_failed(tmp_path: Path) -> None:
    SummaryFiles(tmp_path)(RunFinished(1.0, {"status": "Completed"}, None, None))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".daskbatch", RUN_SUMMARY]


def test_what_is_there_is_added_to(tmp_path: Path) -> None:
    for number in range(2):  # as a run that is taken up again
        files = SummaryFiles(tmp_path)
        files(MiniBatchFailed(0.0, {"n": number}))
        files.close()
    assert (tmp_path / FAILED_ITEMS).read_text() == '{"n": 0}\n{"n": 1}\n'


@pytest.mark.parametrize("path", ["/in/caf\xe9.png", "/in/not-utf-8-\udc80.png", "/in/new\nline.png"])
def test_any_file_name_comes_back(tmp_path: Path, path: str) -> None:
    files = SummaryFiles(tmp_path)
    files(MiniBatchFailed(0.0, {"items": [path]}))
    files(RunFinished(1.0, {"output": path}, None, None))
    (line,) = (tmp_path / FAILED_ITEMS).read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["items"] == [path]
    assert json.loads((tmp_path / RUN_SUMMARY).read_text(encoding="utf-8"))["output"] == path


def test_the_summary_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("daskbatch.report.summary.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        SummaryFiles(tmp_path)(RunFinished(1.0, {"status": "Completed"}, None, None))
    assert not (tmp_path / RUN_SUMMARY).exists()


def test_the_last_summary_replaces_an_earlier_one(tmp_path: Path) -> None:
    for status in ("Canceled", "Completed"):
        SummaryFiles(tmp_path)(RunFinished(1.0, {"status": status, "path": tmp_path}, None, None))
    summary = json.loads((tmp_path / RUN_SUMMARY).read_text())
    assert summary == {"status": "Completed", "path": str(tmp_path)}
