"""The benchmarks of stores work at tiny size: each starts a server of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_combining_on_a_store() -> None:
    command = [sys.executable, str(BENCHMARKS / "combine_objects.py"), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    rows = [line[:2] for line in lines if line[0] in ("12", "6", "no", "yes")]
    assert rows == [["12", "4 MiB"], ["6", "8 MiB"], ["yes", "1"], ["no", "0"]]


def test_planning() -> None:
    command = [sys.executable, str(BENCHMARKS / "planning.py"), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["3,000", "20,000"]
