"""Entry scripts that import Azure's SDK find the same in a runner and where they run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import daskbatch

SCRIPT = """
import os

from azureml.core import Run
from azureml.core.model import Model
from azureml_user.parallel_run import EntryScript

def init():
    EntryScript().logger.info("begins")
    Run.get_context().log("threshold", 0.5)

def run(mini_batch):
    return [f"{os.path.basename(path)} {type(EntryScript()).__module__} {Model.__module__}" for path in mini_batch]
"""


def test_azures_imports_work_everywhere(
    script: Callable[..., str], files: Callable[[int], str], oracle: Callable[..., bytes], tmp_path: Path
) -> None:
    entry, inputs = script(SCRIPT), files(3)
    run = daskbatch.run(entry, inputs, output=tmp_path / "out", process_count_per_node=1, progress=False)
    assert run.output_file is not None
    lines = run.output_file.read_text().splitlines()[1:]
    assert lines == [f"f{number:02d}.bin daskbatch.worker.entry daskbatch.worker.shim_core" for number in range(3)]
    (log,) = (tmp_path / "out" / "logs" / "user" / "entry_script_log").rglob("*.txt")
    assert [line.rpartition("|")[2] for line in log.read_text().splitlines()] == ["begins", "threshold: 0.5"]
    # The same in this process, which is then as it was
    finders = sys.meta_path[:]
    assert oracle(entry, inputs) == run.output_file.read_bytes()
    assert daskbatch.try_(entry, inputs).result == lines
    assert sys.meta_path == finders
    assert not [name for name in sys.modules if name.startswith("azureml")]
