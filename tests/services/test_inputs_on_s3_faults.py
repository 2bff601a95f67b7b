"""Runs whose input lies on S3 when something goes wrong: an exact result, or a message to act on; nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_proxy import Fault, FaultProxy
from s3_server import BOTH, Bucket

pytest_plugins = ["s3_services"]

SCRIPT = """
    import os, sys, time
    from pathlib import Path
    from daskbatch import EntryScript
    notes = Path(sys.argv[1])
    def run(mini_batch):
        lines = []
        for path in mini_batch:
            name = os.path.basename(path)
            with open(notes / "calls", "a") as file:
                file.write(name + "\\n")
            if (notes / f"hang-{name}").exists():
                (notes / "hangs").touch()
                time.sleep(3600)
            if (notes / f"wait-{name}").exists():
                (notes / "waits").write_text(str(os.getpid()))
                while not (notes / "go").exists():
                    time.sleep(0.01)
            lines.append(name + " " + open(path).read())
        return lines
"""
COUNT = 60
EXPECTED = "result\n" + "".join(f"f{n:02} {n}\n" for n in range(COUNT))


class Job:
    """``daskbatch run`` on a bucket of small objects, as a user types it."""

    def __init__(self, s3: Bucket, folder: Path) -> None:
        self.s3, self.folder, self.out, self.notes = s3, folder, folder / "out", folder / "notes"
        self.endpoint, self.url, self.environment = s3.endpoint, f"{s3.url}/in/", {}
        self.notes.mkdir()
        (folder / "tmp").mkdir()
        (folder / "score.py").write_text(textwrap.dedent(SCRIPT))
        for number in range(COUNT):
            s3.put(f"in/f{number:02}", str(number).encode())

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = ["run", str(self.folder / "score.py"), self.url, "--output", str(self.out), "--mini-batch-size", "2"]
        command += ["--storage-options", f"endpoint_url={self.endpoint}", "--process-count-per-node", "1"]
        return subprocess.Popen(
            [sys.executable, "-m", "daskbatch", *command, *options, "--", str(self.notes)],
            env={**os.environ, "TMPDIR": str(self.folder / "tmp"), **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options: str) -> tuple[int, str]:
        process = self.start("--error-threshold", "0", *options)
        return process.wait(90), process.stdout.read() if process.stdout else ""

    def result(self) -> str:
        return (self.out / "predictions.csv").read_text()

    def calls(self) -> list[str]:
        return (self.notes / "calls").read_text().split()

    def left(self) -> list[str]:
        """What lies in the temporary folder; Dask's own scratch space aside."""
        return [name for name in os.listdir(self.folder / "tmp") if name != "dask-scratch-space"]


@pytest.fixture
def job(s3: Bucket, tmp_path: Path) -> Job:
    return Job(s3, tmp_path)


def eventually(condition: Callable[[], object], what: str, process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f"ended before {what}: {process.stdout.read() if process.stdout else ''}")
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)


both = pytest.mark.parametrize("s3", BOTH, indirect=True)


@both
def test_faults_in_the_middle_change_nothing(job: Job, proxied: FaultProxy) -> None:
    job.endpoint = proxied.endpoint
    kinds = ("slow_down", "error", "reset_before", "reset_after", "cut")
    proxied.faults = [Fault(kind, "GET", "/in/f", times=5, skip=4 * place) for place, kind in enumerate(kinds)]
    code, said = job.run()
    assert (code, job.left()) == (0, []), said
    assert job.result() == EXPECTED
    assert [fault.times for fault in proxied.faults] == [0] * len(kinds)


@pytest.mark.parametrize("kind", ["expired", "denied", "slow_down"])
def test_a_store_that_refuses_in_the_middle_stops_the_run_and_it_goes_on(
    job: Job, proxied: FaultProxy, kind: str
) -> None:
    job.endpoint = proxied.endpoint
    (job.notes / "wait-f08").touch()
    process = job.start("--error-threshold", "0", "--read-timeout", "2")
    eventually((job.notes / "waits").exists, "mini-batches", process)
    proxied.faults = [Fault(kind, "GET", "/in/f", times=10**6)]
    (job.notes / "go").touch()
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 1, said
    told = {"expired": "have expired", "denied": "may not do this", "slow_down": "SlowDown"}[kind]
    assert told in said
    assert "Next: " in said
    assert "Traceback" not in said
    before = job.calls()
    assert len(before) >= 8
    assert job.left() == []
    proxied.faults = []
    assert job.run()[0] == 0
    assert job.result() == EXPECTED
    assert sorted(job.calls()) == [f"f{n:02}" for n in range(COUNT)]  # what was done is not done again


@pytest.mark.parametrize("victim", ["client", "runner", "supervisor"])
def test_kill_9_leaves_nothing_and_the_run_goes_on(job: Job, victim: str) -> None:
    (job.notes / "wait-f30").touch()
    process = job.start("--task-seconds", "0.01")  # else a fast machine has all of them in one task, and none committed
    eventually((job.notes / "waits").exists, "the mini-batch of f30")
    eventually((job.notes / "waits").read_text, "its process")
    runner = psutil.Process(int((job.notes / "waits").read_text()))
    pid = {"client": process.pid, "runner": runner.pid, "supervisor": runner.ppid()}[victim]
    os.kill(pid, signal.SIGKILL)
    (job.notes / "wait-f30").unlink()
    (job.notes / "go").touch()
    code = process.wait(60)
    if victim == "client":
        eventually(lambda: job.left() == [], "the end of the copies")
        code = job.run()[0]
    assert (code, job.left(), job.result()) == (0, [], EXPECTED)
    repeated = len(job.calls()) - COUNT
    assert repeated <= 30 if victim == "client" else repeated <= 2


@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_an_object_that_is_not_the_one_planned_fails_alone(job: Job, how: str) -> None:
    (job.notes / "wait-f00").touch()
    process = job.start("--allowed-failed-count", "2", "--error-threshold", "-1")
    eventually((job.notes / "waits").exists, "the first mini-batch", process)
    key = f"in/f{COUNT - 1}"
    if how == "changed":
        job.s3.put(key, b"another")
    else:
        job.s3.client.delete_object(Bucket=job.s3.name, Key=key)
    (job.notes / "go").touch()
    process.wait(60)
    said = process.stdout.read() if process.stdout else ""
    failed = [line for path in job.out.rglob("failed_items*") for line in path.read_text().splitlines()]
    assert any(f"{job.s3.url}/{key}" in line for line in failed), said
    assert ("has changed" if how == "changed" else "no such object") in "\n".join(failed) + said
    assert "copies/" not in "\n".join(failed) + said
    assert job.result() == "result\n" + "".join(f"f{n:02} {n}\n" for n in range(COUNT - 2))
    assert job.left() == []


def test_a_run_goes_on_with_the_objects_it_was_planned_with_alone(job: Job, proxied: FaultProxy) -> None:
    job.endpoint = proxied.endpoint
    proxied.faults = [Fault("expired", "GET", "/in/f", times=10**6, skip=10)]
    assert job.run()[0] == 1
    proxied.faults = []
    job.s3.put("in/f50", b"another")
    code, said = job.run()
    assert code == 2
    assert f"{job.s3.url}/in/f50" in said


def test_a_hang_is_ended_while_objects_are_fetched(job: Job) -> None:
    (job.notes / "hang-f20").touch()
    process = job.start("--run-invocation-timeout", "1", "--run-max-try", "1", "--error-threshold", "-1")
    said = process.communicate(timeout=60)[0]
    assert "RunTimeout" in said or "run_invocation_timeout" in said
    expected = [line for line in EXPECTED.splitlines() if line.split()[0] not in ("f20", "f21")]
    assert (job.result().splitlines(), job.left()) == (expected, [])


def test_a_crash_names_the_object(job: Job) -> None:
    (job.folder / "score.py").write_text("def run(mini_batch):\n    open(mini_batch[0] + '/none')\n")
    code, said = job.run("--run-max-try", "1")
    logs = "".join(path.read_text() for path in job.out.rglob("*fail*") if path.is_file())
    assert code == 1
    assert f"{job.s3.url}/in/f" in said + logs
    assert "copies/process" not in said + logs


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no credentials": ({"environment": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}}, "no credentials"),
    "a wrong key": ({"environment": {"AWS_SECRET_ACCESS_KEY": "wrong"}}, "SignatureDoesNotMatch"),
    "a wrong endpoint": ({"endpoint": "http://127.0.0.1:9"}, "nobody answers"),
    "no such bucket": ({"url": "s3://not-there-at-all/in/"}, "no bucket 'not-there-at-all'"),
    "nothing there": ({"url": "{bucket}/none/"}, "there is no object"),
    "a secret in the URL": ({"url": "s3://me:hush@bucket/in/"}, "s3://***@bucket"),
    "a signed URL": ({"url": "{bucket}/in/f00?X-Amz-Signature=hush"}, "signed"),
}


@pytest.mark.parametrize("s3", ["ceph"], indirect=True)
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_before_anything_is_begun(job: Job, case: str) -> None:
    changes, told = WRONG[case]
    for name, value in changes.items():
        setattr(job, name, value.format(bucket=job.s3.url) if isinstance(value, str) else value)
    begun = time.monotonic()
    code, said = job.run()
    assert time.monotonic() - begun < 30
    assert code == 2, said
    assert told in said
    assert "hush" not in said
    assert "Traceback" not in said
    assert job.left() == []
    assert not job.out.exists() or os.listdir(job.out) == []


def test_no_secret_is_written(job: Job) -> None:
    assert job.run()[0] == 0
    kept = b"".join(path.read_bytes() for path in job.out.rglob("*") if path.is_file())
    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in kept
    assert json.loads((job.out / "run_summary.json").read_text())["status"] == "Completed"
