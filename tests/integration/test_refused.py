"""What can be known before anything runs: exit code 2, what is wrong and what to do, and no trace left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

GOOD = "def run(mini_batch):\n    return mini_batch\n"


@dataclass(frozen=True)
class Case:
    """A command line that is refused. Paths are relative to a folder with a table and a good script."""

    says: tuple[str, ...]
    """Parts of the message."""
    inputs: tuple[str, ...] = ("in.csv",)
    entry: str = "score.py"
    output: str = "out"
    options: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    """Further files that are there."""


CASES = {
    "no such input": Case(("nowhere.csv", "does not exist", "Next"), inputs=("nowhere.csv",)),
    "one of two is missing": Case(("nowhere.csv", "does not exist"), inputs=("in.csv", "nowhere.csv")),
    "glob without a match": Case(("*.parquet", "matches nothing"), inputs=("*.parquet",)),
    "empty folder": Case(("is empty",), inputs=("hollow",), files={"hollow/.hidden": ""}),
    "zero bytes": Case(("zero bytes", "a.csv"), inputs=("a.csv", "b.csv"), files={"a.csv": "", "b.csv": ""}),
    "header without rows": Case(("a.csv", "has no rows"), inputs=("a.csv",), files={"a.csv": "id,x\n"}),
    "mixed formats": Case(("in.csv", "b.jsonl", "input_format"), inputs=("in.csv", "b.jsonl"), files={"b.jsonl": "{}"}),
    "no parquet": Case(("a.parquet", "Parquet"), inputs=("a.parquet",), files={"a.parquet": "id,x\n"}),
    "missing column": Case(("in.csv", "b.csv", "x"), inputs=("in.csv", "b.csv"), files={"b.csv": "id\n1\n"}),
    "no script": Case(("scare.py", "does not exist", "score.py"), entry="scare.py"),
    "syntax error": Case(("broken.py", "line 2"), entry="broken.py", files={"broken.py": "x = 1\ndef run(:\n"}),
    "no run": Case(("no_run.py", "has no run"), entry="no_run.py", files={"no_run.py": "def init():\n    pass\n"}),
    "run without arguments": Case(("none.py", "run"), entry="none.py", files={"none.py": "def run():\n    pass\n"}),
    "mini_batch_size": Case(("mini_batch_size", "'3 apples'"), options=("--mini-batch-size", "3 apples")),
    "bytes of files": Case(
        ("mini_batch_size", "count of files"), inputs=("score.py",), options=("--mini-batch-size", "1MB")
    ),
    "run_max_try": Case(("run_max_try", "0"), options=("--run-max-try", "0")),
    "timeout": Case(("run_invocation_timeout", "'soon'"), options=("--run-invocation-timeout", "soon")),
    "error_threshold": Case(("error_threshold", "'-2'"), options=("--error-threshold", "-2")),
    "percent": Case(("allowed_failed_percent", "'101'"), options=("--allowed-failed-percent", "101")),
    "output_action": Case(("output_action", "append_row", "summary_only"), options=("--output-action", "append")),
    "dtype": Case(("dtype", "int46"), options=("--dtype", "id=int46")),
    "dtype of no column": Case(("dtype", "identity"), options=("--dtype", "identity=int64")),
    "unknown option": Case(("--mini-batch-sise", "--mini-batch-size"), options=("--mini-batch-sise", "1")),
    "memory": Case(("runner_memory_limit", "'1'"), options=("--runner-memory-limit", "1")),
    "scheduler": Case(("scheduler", "'nowhere.json'"), options=("--scheduler", "nowhere.json")),
    "result in a folder": Case(
        ("append_row_file_name", "'sub/out.csv'"), options=("--append-row-file-name", "sub/out.csv")
    ),
    "output is a file": Case(("output", "score.py", "is a file"), output="score.py"),
    "output below a file": Case(("output", "score.py/out", "cannot be written"), output="score.py/out"),
    "output cannot be written": Case(("output", "/proc/daskbatch", "cannot be written"), output="/proc/daskbatch"),
    "output in the input": Case(
        ("output", "inside the input"), inputs=("data",), output="data/out", files={"data/a.csv": "id\n1\n"}
    ),
    "another run's result": Case(
        ("already holds", "predictions.csv"), output="old", files={"old/predictions.csv": "x"}
    ),
    "another run's summary": Case(
        ("already holds", "run_summary.json"), output="old", files={"old/run_summary.json": ""}
    ),
    "source_directory": Case(("source_directory", "elsewhere"), options=("--source-directory", "elsewhere")),
}


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the content of files."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if case.output.startswith("/proc") and sys.platform != "linux":
        pytest.skip("a folder that root cannot write to either")
    # Given a table, a good script, and what the case adds
    for path, text in {"in.csv": "id,x\n1,2\n3,4\n", "score.py": GOOD, **case.files}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    before = everything(tmp_path)
    # When the command is run
    command = [sys.executable, "-m", "daskbatch", "run", case.entry, *case.inputs, "--output", case.output]
    ended = subprocess.run(
        [*command, *case.options], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    # Then it ends with 2 and says what is wrong, without a traceback
    assert ended.returncode == 2, ended.stderr
    for part in case.says:
        assert part in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    # and there is no trace of it
    assert everything(tmp_path) == before


def test_files_in_an_output_folder_that_are_no_runs_stay(tmp_path: Path, script: Callable[..., str]) -> None:
    # Given an output folder with something in it, and an input that turns out to be wrong
    (tmp_path / "out" / "logs").mkdir(parents=True)
    (tmp_path / "out" / "logs" / "mine.txt").write_text("mine")
    (tmp_path / "in.csv").write_text("")
    before = everything(tmp_path / "out")
    command = [sys.executable, "-m", "daskbatch", "run", script(GOOD), str(tmp_path / "in.csv")]
    ended = subprocess.run(
        [*command, "--output", str(tmp_path / "out")], capture_output=True, text=True, timeout=60, check=False
    )
    # Then it is refused, and that folder is as it was
    assert ended.returncode == 2
    assert everything(tmp_path / "out") == before


def test_some_zero_byte_tables_are_skipped_and_named(tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("id\n1\n")
    (tmp_path / "in" / "b.csv").write_text("")
    command = [sys.executable, "-m", "daskbatch", "run", script(GOOD), str(tmp_path / "in")]
    ended = subprocess.run(
        [*command, "--output", str(tmp_path / "out")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert "b.csv" in ended.stdout + ended.stderr
    assert (tmp_path / "out" / "predictions.csv").read_text() == "id\n1\n"
