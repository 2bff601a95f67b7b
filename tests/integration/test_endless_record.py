"""A file that cannot be scanned when much of the work is done: the run fails, and keeps what it has."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch
from daskbatch import plan_cuts, plan_opening
from daskbatch.store import scan

SCRIPT = """
    def run(mini_batch):
        return mini_batch["a"].tolist()
"""
FILES, BAD = 12, 8  # of so many, that one is not sampled


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tables of one row each, one of which has a quote that is never closed."""
    monkeypatch.setattr(scan, "LONGEST_RECORD", 1024**2)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02d}.csv").write_text(f"a,b\n{number},x\n")
    (folder / f"{BAD:02d}.csv").write_text(f'a,b\n{BAD},"' + "x\n" * 3_000_000)
    return folder


def test_the_run_fails_and_keeps_what_it_has(tables: Path, tmp_path: Path, script: Callable[..., str]) -> None:
    def attempt() -> dict[str, Any]:
        with pytest.raises(daskbatch.RunFailed, match=r"^inputs: .*08\.csv: the record at byte 4 has no end") as told:
            daskbatch.run(
                script(SCRIPT), tables, output=tmp_path / "out", support_multi_line=True, compute="serial",
                progress=False,
            )  # fmt: skip
        assert told.value.summary is not None
        return told.value.summary

    # When the run comes to the file
    summary = attempt()
    # Then it has failed, with all that was done before
    assert summary["status"] == "Failed"
    assert summary["error"]["type"] == "RunFailed"
    assert summary["items"]["succeeded"] == BAD
    assert json.loads((tmp_path / "out" / "run_summary.json").read_text())["status"] == "Failed"
    partial = (tmp_path / "out" / "predictions.partial.csv").read_text().split()
    assert partial == ["result", *map(str, range(BAD))]
    # And so it does when it is gone on with, and nothing new was tried
    again = attempt()
    assert (again["items"]["succeeded"], again["epoch"]) == (BAD, 2)


def test_the_command_ends_with_1(tables: Path, tmp_path: Path, script: Callable[..., str]) -> None:
    from daskbatch.cli import main

    command = ["run", script(SCRIPT), str(tables), "--output", str(tmp_path / "out"), "--compute", "serial"]
    with pytest.raises(SystemExit) as left:
        main([*command, "--support-multi-line", "--quiet"])
    assert left.value.code == 1


def test_before_anything_was_tried_nothing_was_started(
    tables: Path, tmp_path: Path, script: Callable[..., str]
) -> None:
    # Given that no file before it has rows
    for number in range(BAD):
        (tables / f"{number:02d}.csv").write_text("a,b\n")
    # Then it is the input's error, and the output folder is as it was
    with pytest.raises(daskbatch.InputError, match=r"08\.csv"):
        daskbatch.run(
            script(SCRIPT), tables, output=tmp_path / "out", support_multi_line=True, compute="serial", progress=False
        )
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fails_while_a_file_is_scanned_costs_no_rows(
    tables: Path, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that a file in the middle cannot be opened for a moment
    (tables / f"{BAD:02d}.csv").write_text(f"a,b\n{BAD},x\n")

    def open_entry(entry: Any, storage: Any = ()) -> Any:
        if entry[0].endswith(f"{BAD:02d}.csv"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return plan_opening.open_entry(entry, storage)

    def run() -> daskbatch.RunResult:
        return daskbatch.run(
            script(SCRIPT), tables, output=tmp_path / "out", support_multi_line=True, compute="serial", progress=False
        )

    monkeypatch.setattr(plan_cuts, "open_entry", open_entry)
    with pytest.raises(daskbatch.RunFailed, match=r"08\.csv cannot be read .*Too many open files.*repeat the command"):
        run()
    # When it can, and the command is repeated
    monkeypatch.setattr(plan_cuts, "open_entry", plan_opening.open_entry)
    # Then every row is there once, and no header
    assert run().to_pandas()["result"].tolist() == list(range(FILES))


def test_a_wrong_option_when_it_is_gone_on_with_starts_nothing(
    tables: Path, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from daskbatch.engine import over_dask

    def run(compute: str) -> None:
        daskbatch.run(
            script(SCRIPT), tables, output=tmp_path / "out", support_multi_line=True, compute=compute, progress=False
        )

    def connect(*_: object) -> None:
        raise daskbatch.UsageError("no such scheduler")

    # Given a run that has done a part of its work
    with pytest.raises(daskbatch.RunFailed):
        run("serial")
    # When it is gone on with by an option that is wrong, then that is no failure of the run
    monkeypatch.setattr(over_dask, "connect", connect)
    with pytest.raises(daskbatch.UsageError, match="no such scheduler"):
        run("local")
