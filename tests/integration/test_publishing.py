"""What goes wrong when the result is made: the run has failed, with a summary, and what is committed is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch
from daskbatch.engine import folder

OPTIONS: dict[str, Any] = {"mini_batch_size": 1, "compute": "serial", "progress": False}


def summary(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out" / "run_summary.json").read_text())
    return content


def number_or_half(mini_batch: list[str]) -> list[dict[str, Any]]:
    return [{"id": 0.5 if mini_batch[0].endswith("f02.bin") else 2**60 + 1}]


def test_values_that_no_common_type_holds(files: Callable[[int], str], tmp_path: Path) -> None:
    with pytest.raises(daskbatch.RunFailed, match="column 'id'"):
        daskbatch.run(number_or_half, files(4), output=tmp_path / "out", append_row_file_name="out.parquet", **OPTIONS)
    assert summary(tmp_path)["status"] == "Failed"
    assert summary(tmp_path)["items"]["succeeded"] == 4
    assert not (tmp_path / "out" / "out.parquet").exists()


def test_an_error_that_nobody_has_thought_of(
    files: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run whose result cannot be made
    inputs = files(4)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("not thought of")

    with monkeypatch.context() as patched:
        patched.setattr(folder, "combine", fail)
        with pytest.raises(daskbatch.RunFailed, match="ValueError: not thought of"):
            daskbatch.run(len_of, inputs, output=tmp_path / "out", **OPTIONS)
    assert summary(tmp_path)["status"] == "Failed"
    # When that is mended, then nothing is done again
    run = daskbatch.run(len_of, inputs, output=tmp_path / "out", **OPTIONS)
    assert run.summary["status"] == "Completed"
    assert run.summary["tries"] == 4


def len_of(mini_batch: list[str]) -> list[int]:
    return [len(mini_batch)]


def test_an_earlier_partial_result_that_cannot_be_removed(
    files: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a store that has its moment when the result is there
    def refuse(_: object, name: str) -> None:
        raise PermissionError(name)

    monkeypatch.setattr(folder.RunFolder, "remove", refuse)
    # When a run is complete, then that counts
    run = daskbatch.run(len_of, files(4), output=tmp_path / "out", **OPTIONS)
    assert run.summary["status"] == "Completed"
