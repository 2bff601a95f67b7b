"""A folder for what the script writes itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch

OPTIONS: dict[str, Any] = {"process_count_per_node": 1, "progress": False}

SCRIPT = """
    import os
    from azureml_user.parallel_run import EntryScript

    def init():
        with open(os.path.join(EntryScript().output_dir, "from-init"), "w"):
            pass

    def run(mini_batch):
        assert os.environ["AZUREML_BI_OUTPUT_PATH"] == EntryScript().output_dir
        return [EntryScript().output_dir] * len(mini_batch)
"""


@pytest.mark.parametrize("compute", ["local", "serial"])
def test_the_script_is_told_it_and_finds_it(
    compute: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    own = tmp_path / "deep" / "own"
    run = daskbatch.run(
        script(SCRIPT), files(2), output=tmp_path / "out", script_output=own, compute=compute, **OPTIONS
    )
    assert set(run.to_pandas()["result"]) == {str(own)}
    assert os.listdir(own) == ["from-init"]
    assert not (tmp_path / "out" / "from-init").exists()
    assert run.summary["options"]["script_output"] == str(own)


def test_another_folder_is_another_run(script: Callable[..., str], files: Callable[[int], str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "daskbatch", "run", script(SCRIPT), files(1), "--output", str(tmp_path / "out")]
    for folder, code in (("one", 0), ("one", 0), ("two", 2)):
        done = subprocess.run(
            [*command, "--script-output", folder], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
    assert "script_output was" in done.stderr


def test_it_is_checked_before_anything_starts(
    script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    entry, inputs = script(SCRIPT), files(1)
    (tmp_path / "file").touch()
    for folder, told in (
        (tmp_path / "file", "script_output must be a folder"),
        (Path(inputs, "x"), "inside the input"),
    ):
        with pytest.raises(daskbatch.UsageError, match=told):
            daskbatch.run(entry, inputs, output=tmp_path / "out", script_output=folder, **OPTIONS)
    assert not list((tmp_path / "out").iterdir())
