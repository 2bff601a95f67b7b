"""What the benchmarks' harness says, writes and refuses, over contenders of a few lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

PROGRAM = """
import os, subprocess, sys
from functools import partial
import agreement, harness

def ours(out, small):
    harness.write_rows(out / "predictions.csv", ["id", "score"], iter([[1, 0.5], [2, 0.25]]))
    return harness.Timing(0.5, 2, 0.125)

def parts(out, small):
    (out / "parts").mkdir()
    harness.write_rows(out / "parts" / "b.csv", ["id", "score"], iter([[1, 0.5]]))
    harness.write_rows(out / "parts" / "a.csv", ["id", "score"], iter([[2, float(os.environ.get("WRITTEN", 0.25))]]))
    if "FAIL" in os.environ:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, flush=True)
        sys.exit("no more")
    return harness.Timing(1.5, 2)

harness.main(__file__, harness.Benchmark(
    "toy", "a toy", "rows", lambda small: None,
    {
        "ours": ours,
        "parts": parts,
        "stranger": harness.Peer("no-such-package-anywhere", ours),
        "rider": harness.Peer("numpy", ours, "no-such-program"),
    },
    partial(agreement.same_rows, key="id"),
))
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    path = tmp_path / "toy.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path), "--repeats", "2", "--small", "--json", str(tmp_path / "json")]


def run(program: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(program, capture_output=True, text=True, check=False, env={**environment, **variables})


def test_table_and_json(program: list[str], tmp_path: Path) -> None:
    done = run(program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stranger is left out: no-such-package-anywhere is not installed; `make bench` installs it" in done.stdout
    assert "rider is left out: no-such-program is not on PATH" in done.stdout
    rows = {line[:24].strip(): line[24:].split() for line in done.stdout.splitlines()}
    assert rows["parts"][:2] == ["1.500", "1.50..1.50"]
    assert rows["parts"][5] == "0.333"
    told = json.loads((tmp_path / "json" / "toy.json").read_text())
    assert {key: told[key] for key in ("benchmark", "title", "unit", "small")} == {
        "benchmark": "toy",
        "title": "a toy",
        "unit": "rows",
        "small": True,
    }
    assert set(told["repeats"]) == {"ours", "parts"}
    for first in told["repeats"]["ours"]:
        assert (first["run"], first["work"], first["first_run"]) == (0.5, 2, 0.125)
        assert first["whole"] > 0
        assert first["peak_rss"] > 1 << 20
    assert len(told["repeats"]["ours"]) == 2
    assert told["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_other_rows_are_an_error(program: list[str], tmp_path: Path) -> None:
    done = run(program, WRITTEN="0.2500001")
    assert done.returncode != 0
    assert "parts has other rows than ours" in done.stderr
    assert not (tmp_path / "json").exists()


def test_a_contender_that_fails_is_left_out_and_leaves_no_process(program: list[str], tmp_path: Path) -> None:
    done = run(program, FAIL="1")
    assert done.returncode != 0
    assert "parts failed:" in done.stderr
    assert "no more" in done.stderr
    pid = next(int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("child"))
    assert not psutil.pid_exists(pid)
    told = json.loads((tmp_path / "json" / "toy.json").read_text())
    assert {name: len(rows) for name, rows in told["repeats"].items()} == {"ours": 2}


def test_what_took_enough_is_not_repeated(program: list[str], tmp_path: Path) -> None:
    done = run([*program, "--enough", "0"])
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "json" / "toy.json").read_text())
    assert {name: len(rows) for name, rows in told["repeats"].items()} == {"ours": 1, "parts": 1}
