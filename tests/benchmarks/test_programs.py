"""Each benchmark of daskbatch alone works at tiny size, and the report takes what it writes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def ran(program: str, *arguments: str) -> str:
    """What a benchmark printed."""
    command = [sys.executable, str(BENCHMARKS / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def measured(program: str, folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark wrote, each contender with some work done in some time."""
    ran(program, "--small", "--repeats", "1", "--json", str(folder), *arguments)
    told = json.loads((folder / f"{name}.json").read_text())
    assert told["small"]
    for rows in told["repeats"].values():
        assert [(row["work"] > 0, row["run"] > 0) for row in rows] == [(True, True)]
    return told


def test_skewed(tmp_path: Path) -> None:
    told = measured("skewed.py", tmp_path, "skewed", "--only", "daskbatch", "ideal")
    ours, ideal = (told["repeats"][name][0] for name in ("daskbatch", "ideal"))
    assert ours["work"] == ideal["work"] == 100
    assert ours["run"] > ideal["run"] - 0.4, "two slots take half of all sleeps; the ideal has the longest on top"


def test_startup(tmp_path: Path) -> None:
    told = measured("startup.py", tmp_path, "startup", "--only", "daskbatch run")
    (row,) = told["repeats"]["daskbatch run"]
    assert 0 < row["first_run"] < row["run"] <= row["whole"]


def test_failures(tmp_path: Path) -> None:
    told = measured("failures.py", tmp_path, "failures", "--only", "segfault", "hang, ideal")
    assert set(told["repeats"]) == {"segfault", "hang, ideal"}


def test_combine(tmp_path: Path) -> None:
    told = measured("combine.py", tmp_path, "combine")
    assert {name: rows[0]["work"] for name, rows in told["repeats"].items()} == {"daskbatch": 8, "cat": 8}


def test_resume(tmp_path: Path) -> None:
    told = measured("resume.py", tmp_path, "resume")
    left, settled = (told["repeats"][name][0]["work"] for name in ("resumed", "ledger read"))
    assert left + settled == 1000
    assert left >= 10, "what is left at the end stands still until the run is killed"


def test_memory_throughput_and_the_report(tmp_path: Path) -> None:
    told = measured("memory.py", tmp_path, "memory", "--kinds", "tables")
    for rows in told["repeats"].values():
        assert rows[0]["peak_rss"] > rows[0]["client_rss"] > 2**20
    measured("mini_batch_size.py", tmp_path, "mini-batch-bytes", "--only", "1MB")

    printed = ran("report.py", str(tmp_path), "--output", str(tmp_path / "report"))

    assert "| memory | peak, 100 windows / 10 |" in printed
    text = (tmp_path / "report" / "RESULTS.md").read_text()
    assert "Tiny data" in text
    assert "| 1MB |" in text
    assert "| tables, 24 MB |" in text


def test_simulation(tmp_path: Path) -> None:
    ran("simulation.py", "--small", "--nodes", "200", "--json", str(tmp_path), "--constant", "sync=0.05")

    told = json.loads((tmp_path / "simulation.json").read_text())
    as_it_is, *_, lifted = told["scenarios"]
    assert told["constants"]["sync"] == "50000.00 us"
    assert "The first limit is the engine" in told["conclusions"][0], "3,200 slots, and at most 20 tasks a second"
    assert float(as_it_is["run h"]) > float(as_it_is["ideal h"])
    assert float(lifted["slots busy"].rstrip("%")) > float(as_it_is["slots busy"].rstrip("%"))


def test_the_report_of_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "report.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no JSON file" in done.stderr


def test_a_figure_reaches_its_target_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from comparison import Comparison, Repeat, Timing  # type: ignore[import-not-found]
    from targets import TARGETS, Target  # type: ignore[import-not-found]

    repeats = {
        "daskbatch": [Repeat(9.0, 3 << 20, Timing(seconds, 10, 0.5)) for seconds in (1.0, 5.0, 2.0)],
        "other": [Repeat(3.0, 1 << 20, Timing(8.0, 20))],
    }
    found = Comparison("b", "", "", False, repeats, {})
    least = Target("", "", "b", "daskbatch", "other", at_most=0.5)
    assert least.figure(found) == 0.5
    assert least.is_reached(0.5)
    assert not least.is_reached(0.51)
    assert Target("", "", "b", "daskbatch", what="rate", at_least=6).figure(found) == 5
    assert Target("", "", "b", "daskbatch", "other", "peak_rss", difference=True, at_most=1).figure(found) == 2
    assert Target("", "", "b", "daskbatch", "nobody", at_most=1).figure(found) is None
    assert all((target.at_most is None) != (target.at_least is None) for target in TARGETS)


def test_targets_name_contenders_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import memory  # type: ignore[import-not-found]
    from targets import TARGETS

    programs = ("combine", "dispatch", "failures", "images", "skewed", "startup", "tables", "tables_parquet")
    for program in programs:
        monkeypatch.delitem(sys.modules, program, raising=False)  # other tests have modules of such names
    modules = [importlib.import_module(program) for program in programs]
    benchmarks = [vars(module)[name] for module in modules for name in ("BENCHMARK", "LARGE") if name in vars(module)]
    there = {(one.name, name) for one in benchmarks for name in one.contenders}
    there |= {
        ("memory", memory.name_of(kind, count))
        for kind in memory.KINDS
        for count in memory.counts(kind, small=False, million=True)
    }
    named = {(target.benchmark, name) for target in TARGETS for name in (target.of, target.against) if name}
    assert named <= there
