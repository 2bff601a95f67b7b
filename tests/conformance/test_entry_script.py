"""What an entry script may do, and what it finds; two scripts that tell what they see."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import daskbatch

FILES = """
import argparse
import json
import os
import sys

from azureml_user.parallel_run import EntryScript
import sibling

parser = argparse.ArgumentParser()
parser.add_argument("--word")
parser.add_argument("--started")
args, _ = parser.parse_known_args()
seen = []


def note(text):
    with open(args.started, "a") as file:
        file.write(f"{text} {os.getpid()}\\n")


def init():
    note("init")
    seen.append("init")


def run(mini_batch, context):
    entry = EntryScript()
    entry.logger.info("seen by the logger")
    assert entry is EntryScript()
    with open(os.path.join(entry.working_dir, "scratch"), "w") as file:
        file.write("x")
    with open(os.path.join(entry.log_dir, "own.log"), "a") as file:
        file.write("x")
    note("run")
    return [
        json.dumps(
            {
                "path": path,
                "content": open(path).read(),
                "type": type(mini_batch).__name__,
                "before": list(seen),
                "index": context.minibatch_index,
                "tries": context.retry_count,
                "key": context.partition_key_value,
                "argv": sys.argv[1:],
                "beside": sibling.__file__ == os.path.join(os.path.dirname(os.path.abspath(__file__)), "sibling.py"),
                "folder on path": os.path.dirname(os.path.abspath(__file__)) in sys.path,
                "agent": entry.agent_name,
                "output": [entry.output_dir, os.environ["AZUREML_BI_OUTPUT_PATH"]],
                "model dir": os.environ.get("AZUREML_MODEL_DIR"),
                "word": os.environ.get("WORD"),
            }
        )
        for path in mini_batch
    ]


def shutdown():
    note("shutdown")
"""

TABLES = """
import json


def run(mini_batch, context):
    return [
        json.dumps(
            {
                "type": type(mini_batch).__name__,
                "index": type(mini_batch.index).__name__,
                "start": int(mini_batch.index[0]),
                "columns": list(mini_batch.columns),
                "row": row,
                "lower bound": context.global_row_index_lower_bound,
            }
        )
        for row in mini_batch.values.tolist()
    ]
"""

RETURNS = """
import numpy as np
import pandas as pd

MADE = [
    lambda n: pd.DataFrame({"a": range(n), "b": "x"}),
    lambda n: list(range(n)),
    lambda n: tuple(range(n)),
    lambda n: np.arange(n),
    lambda n: pd.Series(range(n)),
    lambda n: (number for number in range(n)),
    lambda n: [None] * (n - 1),
    lambda n: ["more"] * (n + 5),
    lambda n: None,
]


def run(mini_batch, context):
    return MADE[int(context.minibatch_index.split("-")[0]) // 2](len(mini_batch))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    scripts = {"files.py": FILES, "tables.py": TABLES, "returns.py": RETURNS, "sibling.py": ""}
    for name, text in scripts.items():
        (folder / name).write_text(text)
    (folder / "in").mkdir()
    for number in range(18):
        (folder / "in" / f"f{number:02}").write_text(str(number))
    (folder / "in.csv").write_text("a,b\n" + "".join(f"{number},x\n" for number in range(20)))
    return folder


@pytest.fixture(scope="module")
def files(folder: Path) -> list[dict[str, Any]]:
    """What the script saw, file by file."""
    run = daskbatch.run(
        folder / "files.py", folder / "in", output=folder / "out", mini_batch_size=3, process_count_per_node=2,
        append_row_file_name="told.txt", arguments=["--word", "a b", "--started", folder / "started"],
        environment_variables={"WORD": "hello"}, progress=False,
    )  # fmt: skip
    assert run.output_file is not None
    return [json.loads(line) for line in run.output_file.read_text().splitlines()]


@pytest.fixture(scope="module")
def tables(folder: Path) -> list[dict[str, Any]]:
    """What the script saw, row by row."""
    run = daskbatch.run(
        folder / "tables.py", folder / "in.csv", output=folder / "out-tables", mini_batch_size="5rows",
        append_row_file_name="told.txt", compute="serial", progress=False,
    )  # fmt: skip
    assert run.output_file is not None
    return [json.loads(line) for line in run.output_file.read_text().splitlines()]


@pytest.fixture(scope="module")
def returns(folder: Path) -> daskbatch.Run:
    return daskbatch.run(
        folder / "returns.py", folder / "in", output=folder / "out-returns", mini_batch_size=2, compute="serial",
        append_row_file_name="r.txt", error_threshold=-1, run_max_try=1, progress=False,
    )  # fmt: skip


def events(folder: Path) -> list[list[str]]:
    """What each process noted, in order."""
    noted: dict[str, list[str]] = {}
    for line in (folder / "started").read_text().splitlines():
        what, pid = line.split()
        noted.setdefault(pid, []).append(what)
    return list(noted.values())


def test_init_run_and_shutdown(folder: Path, files: list[dict[str, Any]]) -> None:
    for noted in events(folder):
        assert (noted[0], noted[-1]) == ("init", "shutdown")
        assert Counter(noted) == {"init": 1, "shutdown": 1, "run": len(noted) - 2}
    assert all(one["before"] == ["init"] for one in files)


def test_run_with_and_without_context(files: list[dict[str, Any]], folder: Path) -> None:
    assert [one["index"] for one in files] == [f"{number // 3 * 3}-0" for number in range(18)]
    plain = daskbatch.run(len_of, folder / "in", output=folder / "out-plain", compute="serial", progress=False)
    assert plain.summary["items"]["succeeded"] == 18


def len_of(mini_batch: list[str]) -> list[int]:
    return [len(path) for path in mini_batch]


def test_what_run_is_given(files: list[dict[str, Any]], tables: list[dict[str, Any]]) -> None:
    assert [one["content"] for one in files] == [str(number) for number in range(18)]
    assert {one["type"] for one in files} == {"list"}
    assert {(one["type"], one["index"], one["start"]) for one in tables} == {("DataFrame", "RangeIndex", 0)}
    assert tables[19]["columns"] == ["a", "b"]
    assert [one["row"] for one in tables] == [[number, "x"] for number in range(20)]


def test_what_run_may_return(returns: daskbatch.Run) -> None:
    assert returns.output_file is not None
    lines = returns.output_file.read_text().splitlines()
    assert lines == ["0 x", "1 x", *["0", "1"] * 5, "None", *["more"] * 7]


def test_counting(returns: daskbatch.Run) -> None:
    items = returns.summary["items"]
    assert (items["total"], items["succeeded"], items["failed"]) == (18, 15, 3)  # one short, and None for two
    short = [one for one in returns.failed_items() if one.get("missing")]
    assert [one["missing"] for one in short] == [1]


def test_none_is_told(returns: daskbatch.Run) -> None:
    told = {one.get("message") for one in returns.failed_items()}
    assert any("run() must return a list or a DataFrame, it returned NoneType" in str(message) for message in told)


def test_context(files: list[dict[str, Any]], tables: list[dict[str, Any]]) -> None:
    assert {one["tries"] for one in files} == {0}
    assert all(not one["key"] for one in files)
    assert [one["lower bound"] for one in tables[::5]] == [0, 5, 10, 15]


def test_entry_script_object(folder: Path, files: list[dict[str, Any]]) -> None:
    assert {one["output"][0] for one in files} == {str(folder / "out")}
    assert all(one["agent"] for one in files)
    logs = folder / "out" / "logs" / "user"
    assert any("seen by the logger" in path.read_text() for path in (logs / "entry_script_log").rglob("*.log.txt"))
    assert list((folder / "out" / "logs").rglob("own.log"))


def test_arguments_and_module_level_argparse(files: list[dict[str, Any]], folder: Path) -> None:
    assert all(one["argv"][:3] == ["--word", "a b", "--started"] for one in files)


def test_siblings_are_found(files: list[dict[str, Any]]) -> None:
    assert all(one["beside"] and one["folder on path"] for one in files)


def test_environment_of_the_script(folder: Path, files: list[dict[str, Any]]) -> None:
    assert {one["output"][1] for one in files} == {str(folder / "out")}
    assert {one["word"] for one in files} == {"hello"}
    assert "azureml_user" not in sys.modules  # the shim was on in the runner alone


SURROUNDINGS = """
import os
import time


def run(mini_batch):
    here = os.environ["MEET"]
    open(os.path.join(here, os.environ["CUDA_VISIBLE_DEVICES"]), "w").close()
    end = time.monotonic() + 60
    while len(os.listdir(here)) < 2:
        assert time.monotonic() < end, "the other process never came"
        time.sleep(0.01)
    return [os.environ["AZUREML_MODEL_DIR"]]
"""


def test_gpus_and_the_model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has a GPU of its own, and the registered model's files."""
    ws = daskbatch.Workspace.create("gpus", tmp_path)
    (tmp_path / "weights").write_text("w")
    model = daskbatch.Model.register(ws, tmp_path / "weights", "weights")
    (tmp_path / "meet").mkdir()
    (tmp_path / "script.py").write_text(SURROUNDINGS)
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "file").write_text("x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")  # what a node with two GPUs left to us looks like
    run = daskbatch.run(
        tmp_path / "script.py", tmp_path / "in", output=tmp_path / "out", mini_batch_size=1, process_count_per_node=2,
        environment_variables={"DASKBATCH_WORKSPACE": ws.root, "MEET": tmp_path / "meet"}, progress=False,
        append_row_file_name="r.txt",
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "meet").iterdir()) == ["4", "7"]
    assert run.output_file is not None
    assert set(run.output_file.read_text().split()) == {str(Path(model.path).parent)}
