"""The notebooks run as they stand, headless; and a kernel is left as it was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FAULTS = Path(__file__).parents[1] / "faults" / "fault_script.py"


def test_quickstart(tmp_path: Path, execute: Any) -> None:
    texts = execute(nbformat.read(NOTEBOOKS / "1-quickstart.ipynb", as_version=4), tmp_path).texts
    assert "400 images" in texts[0]
    assert "Completed" in texts[2]
    assert "% right" in texts[3]
    assert "'succeeded': 400, 'failed': 0" in texts[4]
    assert "5-0 UnidentifiedImageError" in texts[5]
    assert "after 3 tries" in texts[5]


CELLS = (
    """
import subprocess, sys, psutil
mine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def listening(): return {c.laddr for c in psutil.Process().net_connections() if c.status == "LISTEN"}
kernels_own = listening()
""",
    """
import daskbatch
from pathlib import Path
Path("in").mkdir(); Path("calls").mkdir()
for number in range(8): Path(f"in/f{number}.bin").touch()
run = daskbatch.run({script!r}, "in", output="out", mini_batch_size=1, run_invocation_timeout=1, run_max_try=2,
                    process_count_per_node=2, arguments=["--fault", {fault!r}, "--calls", "calls"])
print(run.summary["mini_batches"])
""",
    """
import asyncio
print("loop runs:", asyncio.get_event_loop().is_running())
print("mine lives:", mine.poll() is None)
left = [p.pid for p in psutil.Process().children(recursive=True) if p.pid != mine.pid]
print("left:", left)
print("listening:", sorted(listening() - kernels_own))
mine.kill()
""",
)


@pytest.mark.parametrize("fault", ["grandchildren", "segfault"])
def test_the_users_own_processes_survive_timeouts_and_kills(fault: str, tmp_path: Path, execute: Any) -> None:
    # Given a kernel with a background process of its user's
    notebook = nbformat.v4.new_notebook()
    cells = [cell.replace("{script!r}", repr(str(FAULTS))).replace("{fault!r}", repr(fault)) for cell in CELLS]
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    # When a run there meets hangs, kills and crashes
    _, ran, after = execute(notebook, tmp_path).texts
    # Then that process lives, and nothing else is below the kernel
    assert "'succeeded': 7, 'failed': 1" in ran
    assert "loop runs: True" in after
    assert "mine lives: True" in after
    assert "left: []" in after
    assert "listening: []" in after


def test_a_failed_run_shows_the_users_error_and_not_our_frames(tmp_path: Path) -> None:
    # Given a cell whose script always fails
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return 1 / 0\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bin").touch()
    notebook = nbformat.v4.new_notebook()
    call = "import daskbatch\ndaskbatch.run('score.py', 'in', output='out', progress=False)"
    notebook.cells = [nbformat.v4.new_code_cell(call, metadata={"tags": ["raises-exception"]})]
    # When it runs
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    # Then the reader sees the script's own line first
    (error,) = [output for output in notebook.cells[0].outputs if output.output_type == "error"]
    text = "\n".join(error.traceback)
    assert "return 1 / 0" in text
    assert "engine" not in text
