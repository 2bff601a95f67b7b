"""The digits and tables with input, output and state on S3: the bytes of a disk. And a worker that is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from distributed import Client, LocalCluster
from lives import wait_for
from s3_server import BOTH, Bucket

import daskbatch

pytest_plugins = ["s3_services"]

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a trained model."""
    folder = tmp_path_factory.mktemp("digits")
    for program in ("make_data.py", "train.py"):
        subprocess.run([sys.executable, DIGITS / program, folder], check=True, capture_output=True)
    return folder


def put_all(s3: Bucket, folder: Path, prefix: str) -> str:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: s3.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes()), paths))
    return f"{s3.url}/{prefix}/"


@pytest.mark.slow
@pytest.mark.parametrize("s3", ["ceph"], indirect=True)
def test_the_digits(s3: Bucket, demo: Path, tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    for package in ("tensorflow", "PIL", "sklearn"):
        if importlib.util.find_spec(package) is None:
            missing(f"{package} is not installed: pip install -e '.[demo]'")
    arguments = ["--process-count-per-node", "2", "--quiet", "--error-threshold", "0"]
    more = ["--", "--model", str(demo / "model.keras")]
    run = [sys.executable, "-m", "daskbatch", "run", str(DIGITS / "score.py")]
    local, url = tmp_path / "local", put_all(s3, demo / "images", "images")
    subprocess.run([*run, str(demo / "images"), "--output", str(local), *arguments, *more], check=True)
    there = ["--output", f"{s3.url}/out", "--storage-options", f"endpoint_url={s3.endpoint}"]
    subprocess.run([*run, url, *there, *arguments, *more], check=True)
    assert s3.get("out/predictions.csv") == (local / "predictions.csv").read_bytes()
    assert s3.get("out/predictions.csv").count(b"\n") == 1798
    assert s3.pending() == []


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_a_worker_that_is_killed_on_a_cluster(s3: Bucket, tmp_path: Path) -> None:
    # Given a cluster of processes, and tables and results on a store
    (tmp_path / "score.py").write_text(
        textwrap.dedent("""
            import os, sys, time
            from pathlib import Path
            notes = Path(sys.argv[1])
            def run(frame):
                (notes / f"{frame['id'].iloc[0]}-{os.getpid()}").touch()
                while not (notes / "go").exists() and len(list(notes.iterdir())) > 6:
                    time.sleep(0.01)
                frame["twice"] = frame["id"] * 2
                return frame
        """)
    )
    (tmp_path / "notes").mkdir()
    (tmp_path / "in").mkdir()
    for part in range(4):
        rows = "".join(f"{n},text {n}\n" for n in range(part * 400, part * 400 + 400))
        (tmp_path / "in" / f"{part}.csv").write_text("id,said\n" + rows)
    url = put_all(s3, tmp_path / "in", "in")
    (tmp_path / "notes" / "go").touch()
    same = {"arguments": [tmp_path / "notes"], "mini_batch_size": "1KB", "progress": False, "error_threshold": 0}
    script = str(tmp_path / "score.py")
    oracle = daskbatch.run(script, tmp_path / "in", output=tmp_path / "oracle", compute="serial", **same)  # type: ignore[arg-type]
    assert oracle.output_file is not None
    for path in (tmp_path / "notes").iterdir():
        path.unlink()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        # When one of its workers is killed in the middle
        future = pool.submit(
            daskbatch.run, script, url, output=f"{s3.url}/out", client=client, task_seconds=0.05,
            storage_options=s3.options, **same,  # type: ignore[arg-type]
        )  # fmt: skip
        wait_for(lambda: len(list((tmp_path / "notes").iterdir())) > 6 or future.done(), "work", None)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        (tmp_path / "notes" / "go").touch()
        run = future.result()
    # Then the result is that of the serial run, and nothing is left
    assert s3.get("out/predictions.csv") == oracle.output_file.read_bytes()
    assert run.summary["mini_batches"]["failed"] == 0
    assert not [key for key in [*s3.keys()] if "/segments/" in key or "/engine-" in key]
    assert s3.pending() == []
