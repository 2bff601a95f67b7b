"""The objects of the next task come while the present one runs."""

from __future__ import annotations

import os
import textwrap
import threading
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from lives import wait_for
from s3_server import Bucket

import daskbatch

pytest_plugins = ["s3_services"]

COUNT, LATER = 30, 20
"""By then the engine has learnt that a task is one mini-batch."""

SCRIPT = """
    import os, sys, time
    from pathlib import Path
    notes = Path(sys.argv[1])
    def run(mini_batch):
        (path,) = mini_batch
        number = int(path[-2:])
        (notes / f"begun-{number}").touch()
        time.sleep(0.02)  # longer than task_seconds
        end = time.monotonic() + 60
        while not (notes / f"go-{number}").exists():
            if time.monotonic() > end:
                raise TimeoutError(f"nobody lets {number} go on")
            time.sleep(0.005)
        return [number]
"""


def test_the_objects_of_the_next_task_come_while_one_runs(
    s3: Bucket, proxied: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given tasks of one mini-batch each, since run() takes longer than task_seconds
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "score.py").write_text(textwrap.dedent(SCRIPT))
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(COUNT):
        s3.put(f"in/{number:02}", b"x")
        if number != LATER:
            (notes / f"go-{number}").touch()
    runs: list[daskbatch.Run] = []
    thread = threading.Thread(
        target=lambda: runs.append(
            daskbatch.run(
                str(tmp_path / "score.py"), f"{s3.url}/in/", output=tmp_path / "out", mini_batch_size=1,
                storage_options={"endpoint_url": proxied.endpoint}, process_count_per_node=1, progress=False,
                input_format="files", task_seconds=0.01, arguments=[notes], error_threshold=0,
            )
        )
    )  # fmt: skip
    thread.start()
    # When one of them runs, and does not end
    wait_for((notes / f"begun-{LATER}").exists, "a run() that waits")
    # Then the next one's object is fetched all the same
    wait_for(lambda: proxied.count("GET", f"/in/{LATER + 1:02}"), "the next object")
    assert not (notes / f"begun-{LATER + 1}").exists()
    (notes / f"go-{LATER}").touch()
    thread.join()
    assert runs[0].to_pandas()["result"].tolist() == list(range(COUNT))
    assert set(os.listdir(tmp_path / "tmp")) <= {"dask-scratch-space"}  # what was fetched in vain is gone too
