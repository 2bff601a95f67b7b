"""What users of ParallelRunStep have asked for in vain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from lives import wait_for

import daskbatch

SCRIPT = """
import os
import signal
import time


def run(mini_batch, context):
    names = [os.path.basename(path) for path in mini_batch]
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(names[0] + "\\n")
    kill = os.environ.get("KILL")
    if names[0] == kill and open(os.environ["CALLS"]).read().split().count(kill) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    gate = os.environ.get("GATE")
    while gate and names[0] == "f3" and not os.path.exists(gate):
        time.sleep(0.01)
    return names
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(6):
        (tmp_path / "in" / f"f{number}").write_text("x")
    (tmp_path / "score.py").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def score(folder: Path) -> Callable[..., daskbatch.Run]:
    def run(kill: str | None = None, gate: Path | None = None, **options: Any) -> daskbatch.Run:
        given = {"CALLS": folder / "calls", "KILL": kill, "GATE": gate}
        variables = {name: value for name, value in given.items() if value is not None}
        return daskbatch.run(
            folder / "score.py", folder / "in", output=folder / "out", mini_batch_size=1, progress=False,
            environment_variables=variables, append_row_file_name="r.txt", **options,
        )  # fmt: skip

    return run


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


def rows_of(mini_batch: pd.DataFrame) -> list[int]:
    return [len(mini_batch)] * len(mini_batch)


def sizes(run: daskbatch.Run) -> list[int]:
    """Rows of each mini-batch, as `rows_of` told."""
    values = run.to_pandas().iloc[:, 0].tolist()
    found = []
    while values:
        found.append(values[0])
        del values[: values[0]]
    return found


def test_debugging_on_this_machine(folder: Path) -> None:
    def mine(mini_batch: list[str]) -> list[int]:
        return [os.getpid() for _ in mini_batch]

    def wrong(mini_batch: list[str]) -> list[int]:
        raise KeyError("mine")

    assert daskbatch.try_(mine, folder / "in").result == [os.getpid()] * 6  # pdb works: it is this process
    with pytest.raises(KeyError, match="mine"):
        daskbatch.try_(wrong, folder / "in")


def test_errors_say_what_happened(folder: Path) -> None:
    (folder / "dies.py").write_text("import os\ndef run(mini_batch):\n    os._exit(42)\n")
    with pytest.raises(daskbatch.RunFailed) as error:
        daskbatch.run(folder / "dies.py", folder / "in", output=folder / "out", error_threshold=0, run_max_try=1)
    (failed,) = [json.loads(line) for line in (folder / "out" / "failed_items.jsonl").open()][:1]
    assert failed["message"] == "the process exited with code 42 while in run()"
    assert "error_threshold" in str(error.value)


def test_the_logs_are_there(folder: Path, score: Callable[..., daskbatch.Run]) -> None:
    out = score().output
    found = {str(path.relative_to(out / "logs")).split("/")[0] for path in (out / "logs").rglob("*") if path.is_file()}
    assert {"job_result.txt", "sys", "user"} <= found
    assert all(path.stat().st_size for path in (out / "logs").glob("job_*"))


def test_headers_and_parquet(folder: Path) -> None:
    def scored(mini_batch: list[str]) -> pd.DataFrame:
        return pd.DataFrame({"name": [Path(path).name for path in mini_batch], "score": 0.5})

    for name in ("r.csv", "r.parquet"):
        run = daskbatch.run(
            scored, folder / "in", output=folder / name, append_row_file_name=name, compute="serial", progress=False
        )
        assert list(run.to_pandas().columns) == ["name", "score"]


def test_rows_of_a_mini_batch(folder: Path) -> None:
    (folder / "in.csv").write_text("a\n" + "1\n" * 12)
    run = daskbatch.run(
        rows_of, folder / "in.csv", output=folder / "out", mini_batch_size="5rows", compute="serial", progress=False
    )
    assert sizes(run) == [5, 5, 2]


def test_one_big_parquet_file_is_split(folder: Path) -> None:
    table = pa.table({"a": list(range(40_000)), "b": ["some text"] * 40_000})
    pq.write_table(table, folder / "in.parquet", row_group_size=10_000)
    run = daskbatch.run(
        rows_of, folder / "in.parquet", output=folder / "out", mini_batch_size="200KB", compute="serial", progress=False
    )
    assert len(sizes(run)) >= 4
    assert sum(sizes(run)) == 40_000


def test_no_duplicates(folder: Path, score: Callable[..., daskbatch.Run]) -> None:
    run = score(kill="f2")
    assert run.output_file is not None
    assert run.output_file.read_text().split() == [f"f{number}" for number in range(6)]
    assert calls(folder).count("f2") == 2  # its process was killed, and it was tried again


def test_resume_after_preemption(folder: Path) -> None:
    command = [
        sys.executable, "-m", "daskbatch", "run", "score.py", "in", "--output", "out", "--mini-batch-size", "1",
        "--compute", "serial", "--append-row-file-name", "r.txt",
    ]  # fmt: skip
    variables = os.environ | {"CALLS": str(folder / "calls"), "KILL": "f3"}

    def life() -> int:
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=False).returncode

    assert life() == -signal.SIGKILL  # everything is gone in the middle of the fourth file
    assert life() == 0
    assert (folder / "out" / "r.txt").read_text().split() == [f"f{number}" for number in range(6)]
    assert calls(folder).count("f0") == calls(folder).count("f2") == 1


def test_a_dataframe_as_input(folder: Path) -> None:
    frame = pd.DataFrame({"a": range(10)})
    stored = daskbatch.Dataset.Tabular.from_pandas_dataframe(frame, folder / "stored")
    run = daskbatch.run(rows_of, stored, output=folder / "pandas", compute="serial", progress=False)
    assert sizes(run) == [10]
    lazy = dask.dataframe.from_pandas(frame, npartitions=2)
    with (
        LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        run = daskbatch.run(rows_of, lazy, output=folder / "dask", client=client, progress=False)
    assert sizes(run) == [5, 5]


def test_progress_that_moves(folder: Path, score: Callable[..., daskbatch.Run]) -> None:
    gate = folder / "gate"
    thread = threading.Thread(target=score, kwargs={"gate": gate, "process_count_per_node": 2})
    thread.start()
    try:
        wait_for(lambda: "f3" in calls(folder) if (folder / "calls").exists() else False, "the fourth file")
        wait_for(lambda: done(folder) >= 3, "progress while a mini-batch goes on")
        assert daskbatch.status(folder / "out").state == "Running"
    finally:
        gate.touch()
        thread.join()
    assert daskbatch.status(folder / "out").state == "Completed"


def done(folder: Path) -> int:
    progress = daskbatch.status(folder / "out").progress
    return 0 if progress is None else int(progress.get("mini_batches_done", 0))


def test_timeouts_that_mean_it(folder: Path) -> None:
    (folder / "hangs.py").write_text(
        "import re\ndef run(mini_batch):\n    re.match('(a+)+$', 'a' * 60 + 'b')\n"  # holds the GIL for ever
    )
    with pytest.raises(daskbatch.RunFailed):
        daskbatch.run(
            folder / "hangs.py", folder / "in", output=folder / "out", error_threshold=0, run_max_try=1,
            run_invocation_timeout=0.5, progress=False,
        )  # fmt: skip
    failed = daskbatch.Run.open(folder / "out").failed_items()
    assert {one["error"] for one in failed} == {"RunTimeout"}
