"""What a run's result object reads back."""

from __future__ import annotations

from pathlib import Path

import pytest

from daskbatch.api.run import Run

SUMMARY = {"status": "Completed", "items": {"total": 3, "succeeded": 2, "failed": 1}, "mini_batches": {}}


def result(folder: Path, name: str, text: str) -> Run:
    (folder / name).write_text(text)
    return Run(folder, {**SUMMARY, "output": {"name": name}})


def test_texts_stay_as_they_are_and_numbers_become_numbers(tmp_path: Path) -> None:
    text = "zip,name,score,count,good,note\n01234,NA,0.5,3,True,\n99999,null,,-4,False,\n"
    frame = result(tmp_path, "p.csv", text).to_pandas()
    assert frame["zip"].tolist() == ["01234", "99999"]
    assert frame["name"].tolist() == ["NA", "null"]
    assert frame["score"].fillna(-1).tolist() == [0.5, -1]
    assert frame["count"].tolist() == [3, -4]
    assert frame["good"].tolist() == [True, False]
    assert frame["note"].isna().all()


def test_json_texts_are_no_numbers_and_no_dates(tmp_path: Path) -> None:
    frame = result(tmp_path, "p.jsonl", '{"id": "0012", "date": "2026-01-01", "n": 1}\n').to_pandas()
    assert frame.iloc[0].tolist() == ["0012", "2026-01-01", 1]


def test_a_text_file_is_read_as_on_azure(tmp_path: Path) -> None:
    assert result(tmp_path, "p.txt", "a 1\nb 2\n").to_pandas().to_numpy().tolist() == [["a", 1], ["b", 2]]


def test_a_run_shows_itself_in_a_line(tmp_path: Path) -> None:
    assert repr(result(tmp_path, "p.csv", "a\n")).startswith("<Run Completed: 2 of 3 items, in '")


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_every_value_of_a_run_comes_back(name: str, tmp_path: Path) -> None:
    import daskbatch

    (tmp_path / "in").mkdir()
    for letter in "abc":
        (tmp_path / "in" / letter).touch()
    run = daskbatch.run(
        lambda paths: [{"key": "007", "path": path[-1], "half": 0.5} for path in paths],
        tmp_path / "in",
        output=tmp_path / "out",
        append_row_file_name=name,
        compute="serial",
        progress=False,
    )
    assert run.to_pandas().to_numpy().tolist() == [["007", letter, 0.5] for letter in "abc"]
