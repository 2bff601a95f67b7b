"""What is written of the results, what becomes of failures, and the logs that users look for."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import daskbatch

TROUBLE = """
import os
import subprocess
import sys
import time

from azureml_user.parallel_run import EntryScript


def run(mini_batch):
    EntryScript().logger.info("about to run")
    print("printed", flush=True)
    print("printed to stderr", file=sys.stderr, flush=True)
    out = []
    for path in mini_batch:
        name = os.path.basename(path)
        with open(os.path.join(EntryScript().output_dir, f"tried-{name}"), "a") as file:
            file.write(f"{os.getpid()}\\n")
        if name == "f1":
            raise ValueError("bad weather")
        if name == "f2":
            os._exit(42)
        if name == "f3":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            with open(os.path.join(EntryScript().output_dir, "child"), "a") as file:
                file.write(f"{child.pid}\\n")
            time.sleep(600)
        out.append(name)
    return out
"""

NO_INIT = """
import os


def init():
    with open(os.environ["TRIED"], "a") as file:
        file.write("x")
    raise RuntimeError("no model here")


def run(mini_batch):
    return mini_batch
"""


def rows_of(mini_batch: list[str]) -> pd.DataFrame:
    names = [Path(path).name for path in mini_batch]
    return pd.DataFrame({"name": names, "score": [0.5] * len(names)})


def texts_of(mini_batch: list[str]) -> list[str]:
    return [f"{Path(path).name}: 1" for path in mini_batch]


def nothing_of(mini_batch: list[str]) -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    (folder / "in").mkdir()
    for number in range(6):
        (folder / "in" / f"f{number}").write_text("x")
    (folder / "trouble.py").write_text(TROUBLE)
    (folder / "no_init.py").write_text(NO_INIT)
    return folder


@pytest.fixture(scope="module")
def written(folder: Path) -> Callable[[Any, str], daskbatch.Run]:
    """Run a function, with its results in a file of that name."""

    def run(function: Any, name: str) -> daskbatch.Run:
        return daskbatch.run(
            function, folder / "in", output=folder / f"out-{function.__name__}-{name}", append_row_file_name=name,
            mini_batch_size=2, compute="serial", progress=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def trouble(folder: Path) -> daskbatch.Run:
    """A run in which one file raises, one kills its process and one never ends."""
    return daskbatch.run(
        folder / "trouble.py", folder / "in", output=folder / "out", mini_batch_size=1, error_threshold=-1,
        run_max_try=2, run_invocation_timeout=1, process_count_per_node=2, append_row_file_name="result.txt",
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def failed(folder: Path) -> daskbatch.InitFailed:
    """The error of a run whose `init()` fails."""
    with pytest.raises(daskbatch.InitFailed) as error:
        daskbatch.run(
            folder / "no_init.py", folder / "in", output=folder / "out-init", mini_batch_size=1, progress=False,
            process_count_per_node=2, environment_variables={"TRIED": folder / "tried-init"},
        )  # fmt: skip
    return error.value


def logs(folder: Path, *names: str) -> str:
    """The content of the log files that match, which must be there."""
    found = [path for name in names for path in sorted((folder / "logs").glob(name))]
    assert found, f"no {names} in {sorted((folder / 'logs').rglob('*'))}"
    return "".join(path.read_text() for path in found)


# append_row


def test_a_list_is_a_line_each(written: Callable[[Any, str], daskbatch.Run]) -> None:
    run = written(texts_of, "parallel_run_step.txt")
    assert run.output_file is not None
    assert run.output_file.read_text() == "".join(f"f{number}: 1\n" for number in range(6))


def test_a_dataframe_in_text(written: Callable[[Any, str], daskbatch.Run]) -> None:
    run = written(rows_of, "parallel_run_step.txt")
    assert run.output_file is not None
    assert run.output_file.read_text().splitlines()[:2] == ["f0 0.5", "f1 0.5"]
    frame = pd.read_csv(run.output_file, delimiter=" ", header=None)
    assert frame.shape == (6, 2)


def test_the_suffix_chooses(written: Callable[[Any, str], daskbatch.Run]) -> None:
    text = written(rows_of, "r.csv").output_file
    assert text is not None
    assert text.read_text().splitlines()[:2] == ["name,score", "f0,0.5"]
    lines = written(rows_of, "r.jsonl").output_file
    assert lines is not None
    assert json.loads(lines.read_text().splitlines()[5]) == {"name": "f5", "score": 0.5}
    table = written(rows_of, "r.parquet").output_file
    assert table is not None
    assert pd.read_parquet(table).to_dict("list") == {"name": [f"f{n}" for n in range(6)], "score": [0.5] * 6}


def test_no_item_at_all(written: Callable[[Any, str], daskbatch.Run]) -> None:
    with pytest.raises(daskbatch.NoResult, match=r"run\(\) returned no item"):
        written(nothing_of, "r.txt")


# Retry, timeout, abort


def test_tries_in_total(trouble: daskbatch.Run) -> None:
    tried = {name: (trouble.output / f"tried-{name}").read_text().split() for name in ("f0", "f1", "f2", "f3")}
    assert {name: len(pids) for name, pids in tried.items()} == {"f0": 1, "f1": 2, "f2": 2, "f3": 2}


def test_every_failed_item_is_listed_with_why(trouble: daskbatch.Run) -> None:
    told = {Path(one["paths"][0]).name: (one["error"], one["tries"]) for one in trouble.failed_items()}
    assert told == {"f1": ("ValueError", 2), "f2": ("ExitedEarly", 2), "f3": ("RunTimeout", 2)}
    items = trouble.summary["items"]
    assert (items["succeeded"], items["failed"]) == (3, 3)


def test_a_timeout_ends_all_processes(trouble: daskbatch.Run) -> None:
    children = [int(pid) for pid in (trouble.output / "child").read_text().split()]
    assert len(children) == 2
    assert not any(psutil.pid_exists(pid) and "sleep(600)" in _command(pid) for pid in children)
    (timeout,) = [one for one in trouble.failed_items() if one["error"] == "RunTimeout"]
    assert "run_invocation_timeout" in timeout["message"]


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def test_init_that_fails_stops_the_run(folder: Path, failed: daskbatch.InitFailed) -> None:
    assert "no model here" in str(failed)
    assert "no_init.py" in str(failed)  # its traceback
    assert len((folder / "tried-init").read_text()) <= 4  # of two processes, and not for each mini-batch


# Logs


def test_log_of_progress(trouble: daskbatch.Run) -> None:
    text = logs(trouble.output, "job_progress_overview.*.txt")
    assert re.search(
        r"Processed 6 of 6 mini batches in \d+:\d\d:\d\d\. Estimated remaining time \d+:\d\d:\d\d", text
    ), text


def test_logs_of_the_end(trouble: daskbatch.Run, folder: Path, failed: daskbatch.InitFailed) -> None:
    assert "3 of 6" in logs(trouble.output, "job_result.txt")
    assert "no model here" in logs(folder / "out-init", "job_error.txt")


def test_logs_of_the_script(trouble: daskbatch.Run) -> None:
    assert "about to run" in logs(trouble.output, "user/entry_script_log/*/*.log.txt")
    assert "printed\n" in logs(trouble.output, "user/stdout/*/*.stdout.txt")
    assert "printed to stderr" in logs(trouble.output, "user/stderr/*/*.stderr.txt")
    errors = logs(trouble.output, "user/error/*/*.error.txt")
    assert "bad weather" in errors
    assert "trouble.py" in errors


def test_logs_of_the_system(trouble: daskbatch.Run) -> None:
    report = trouble.output / "logs" / "sys" / "job_report"
    with (report / "processed_mini-batches.csv").open() as file:
        assert [row["mini_batch"] for row in csv.DictReader(file)] == ["0-0", "4-0", "5-0"]  # failed ones: elsewhere
    with (report / "node_summary.csv").open() as file:
        assert sum(int(row["failed_tries"]) for row in csv.DictReader(file)) == 6
    assert "runner " in logs(trouble.output, "sys/node/*/*.txt")
    assert logs(trouble.output, "perf/node_resource_usage.csv").count("\n") >= 2
    assert logs(trouble.output, "perf/processes_resource_usage.csv").count("\n") >= 2
