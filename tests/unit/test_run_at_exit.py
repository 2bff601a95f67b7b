"""What the end of a program does about a run in it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from daskbatch.api.run_at_exit import _wait
from daskbatch.api.run_folder import PipelineFolder


def test_a_fork_does_not_wait_for_its_parents_run(tmp_path: Path) -> None:
    """It inherits what is to be done at the end, but no thread that could ever end the run."""
    folder = PipelineFolder(tmp_path)
    _wait(threading.Event(), folder, os.getpid() + 1)
    assert list(tmp_path.iterdir()) == []
