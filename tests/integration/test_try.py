"""``daskbatch.try_``: one mini-batch in this process, and nothing left of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import daskbatch

SCRIPT = """
    import sys

    def run(mini_batch):
        if len(sys.argv) > 1:
            raise ValueError(sys.argv[1])
        return mini_batch["id"] * 2
"""


def test_shows_what_one_mini_batch_gives(tmp_path: Path, script: Callable[..., str]) -> None:
    # Given a table of three mini-batches
    (tmp_path / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(6)))
    before, arguments = {path.name for path in tmp_path.iterdir()}, sys.argv[:]
    # When the second is tried
    result = daskbatch.try_(script(SCRIPT), tmp_path / "in.csv", mini_batch=1, mini_batch_size="2rows")
    # Then its data, its result and its bytes are there
    assert list(result.mini_batch["id"]) == [2, 3]
    assert list(result.result) == [4, 6]
    assert result.output == b"4\n6\n"
    assert "2 rows" in result.text
    # and this process and the folder are as they were (that no file stays open is seen by the leak check)
    assert sys.argv == arguments
    assert {path.name for path in tmp_path.iterdir()} == before | {"score.py"}


def test_the_scripts_own_error_comes_as_it_is(tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    with pytest.raises(ValueError, match="of my own"):
        daskbatch.try_(script(SCRIPT), tmp_path / "in.csv", arguments=["of my own"])


def test_a_number_past_the_end_says_how_many_there_are(tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n2\n")
    with pytest.raises(daskbatch.UsageError, match="from 0 to 1, got 2"):
        daskbatch.try_(script(SCRIPT), tmp_path / "in.csv", mini_batch=2, mini_batch_size="1rows")


def test_a_file_that_has_gone_since_planning_is_named(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that takes the second of three files away while it is imported
    folder = files(3)
    entry = script(f"""
        import os

        os.unlink({folder + "/f01.bin"!r})

        def run(mini_batch):
            return mini_batch
    """)
    # When that file is tried, then it is named
    with pytest.raises(FileNotFoundError, match=r"f01\.bin is gone: it was there when the run was planned"):
        daskbatch.try_(entry, folder, mini_batch=1, mini_batch_size=1)
    # When the one behind it is tried, then it does not matter
    Path(folder, "f01.bin").touch()
    result = daskbatch.try_(entry, folder, mini_batch=2, mini_batch_size=1)
    assert result.mini_batch == [folder + "/f02.bin"]
