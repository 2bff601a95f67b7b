"""Each benchmark runs at a tiny size and its contenders agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("dispatch", ["daskbatch, files", "daskbatch, rows", "pool", "dask.bag"]),
        ("tables", ["daskbatch", "pandas in a pool", "dask.dataframe"]),
        ("images", ["daskbatch", "pool", "dask.bag"]),
        ("threads", ["daskbatch", "1 by hand", "2 by hand", "4 by hand", "unset"]),
    ],
)
def test_comparison(name: str, lines: list[str]) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--small", "--repeats", "1", "--only", *lines]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    starts = {line[:24].strip() for line in done.stdout.splitlines()}
    assert set(lines) <= starts
    assert "from the call to the first run()" in done.stdout


def test_memory() -> None:
    command = [sys.executable, str(BENCHMARKS / "memory.py"), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [
        ["rows", "100"],
        ["rows", "1,000"],
        ["files", "100"],
        ["files", "1,000"],
    ]


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
