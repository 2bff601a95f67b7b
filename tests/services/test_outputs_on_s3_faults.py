"""Runs whose output lies on S3 when something goes wrong: the exact result, in one step, and nothing pending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from deaths import environment
from fault_proxy import Fault, FaultProxy
from lives import wait_for
from s3_server import BOTH, Bucket

import daskbatch

pytest_plugins = ["s3_services"]

SCRIPT = """
    import os, sys
    from pathlib import Path
    notes = Path(sys.argv[1])
    def run(mini_batch):
        (number,) = (int(os.path.basename(path)) for path in mini_batch)
        with open(notes / "calls", "a") as file:
            file.write(f"{number}\\n")
        return [f"{number:06}" + "x" * (int(sys.argv[2]) if number % 4 else 100)]
"""
COUNT = 24
SMALL, MEDIUM, LARGE = 100, 3 * 2**20, 6 * 2**20
"""Bytes of most results: the client puts the whole by itself, or they are gathered, or the store copies each."""


def expected(size: int) -> bytes:
    return b"".join(b"%06d" % n + b"x" * (size if n % 4 else 100) + b"\n" for n in range(COUNT))


class Job:
    """``daskbatch run`` with its output in a bucket, as a user types it."""

    def __init__(self, s3: Any, folder: Path, size: int = SMALL, endpoint: str = "") -> None:
        self.s3, self.folder, self.size, self.notes = s3, folder, size, folder / "notes"
        self.endpoint = endpoint or getattr(s3, "endpoint", "")
        for new in (self.notes, folder / "tmp", folder / "in"):
            new.mkdir()
        (folder / "score.py").write_text(textwrap.dedent(SCRIPT))
        for number in range(COUNT):
            (folder / "in" / f"{number:02}").touch()

    @property
    def url(self) -> str:
        return f"{self.s3.url}/out"

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        command = ["run", str(self.folder / "score.py"), str(self.folder / "in"), "--output", self.url]
        command += ["--storage-options", f"endpoint_url={self.endpoint}"] if self.endpoint else []
        command += ["--append-row-file-name", "result.txt"]
        command += ["--mini-batch-size", "1", "--process-count-per-node", "2", "--task-seconds", "0.01"]
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "daskbatch", *command, "--", str(self.notes), str(self.size)],
                env={**os.environ, "TMPDIR": str(self.folder / "tmp"), **variables},
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def run(self, **variables: str) -> int:
        return self.start(**variables).wait(120)

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def result(self) -> bytes | None:
        return self.s3.get("out/result.txt") if self.s3.has("out/result.txt") else None

    def check(self) -> None:
        """The result is there, nothing is pending, and nothing temporary is left."""
        assert self.result() is not None, self.said()
        assert self.result() == expected(self.size), "another result"
        assert self.s3.pending() == []
        assert not [key for key in [*self.s3.keys()] if "/segments/" in key or "/engine-" in key]
        wait_for(lambda: set(os.listdir(self.folder / "tmp")) <= {"dask-scratch-space"}, "an empty TMPDIR")


STEPS = {
    "plan.after": 1, "run_json.write.after": 1, "epoch.begin.before": 1, "epoch.begin.after": 1,
    "segment.put.before": 3, "segment.put.after": 3, "report.before": 3, "ledger.append.after": 3,
    "ledger.put.before": 1, "ledger.put.after": 1, "scratch.remove.before": 1, "scratch.remove.after": 1,
    "summary.write.before": 1, "summary.write.after": 1, "segments.drop.before": 1, "segments.drop.after": 1,
}  # fmt: skip
"""Steps of a run whose result is small; of which there are many, at which time one is taken."""
OF_GATHERING = ("gather.after", "gather.commit.after")
OF_A_LARGE_ONE = ("combine.upload.before", "combine.upload.after", "combine.finish.before", "combine.finish.after")


@pytest.mark.parametrize(
    ("s3", "point", "size"),
    [
        *(("moto", point, SMALL) for point in STEPS),
        *(("moto", point, MEDIUM) for point in OF_GATHERING),
        *(("moto", point, LARGE) for point in OF_A_LARGE_ONE),
        ("ceph", "gather.commit.before", MEDIUM),
        ("ceph", "segment.put.after", SMALL),
        ("ceph", "combine.upload.before", LARGE),
        ("ceph", "combine.upload.after", LARGE),
        ("ceph", "combine.finish.after", LARGE),
    ],
    indirect=["s3"],
)
def test_every_way_to_die(s3: Bucket, tmp_path: Path, point: str, size: int) -> None:
    # Given a run that is killed at some step, engine and worker in one
    job = Job(s3, tmp_path, size)
    code = job.run(**environment(tmp_path / "points", f"{point}=kill@{STEPS.get(point, 1)}"))
    assert code == -signal.SIGKILL, job.said()
    # Then there is no result before its time
    assert job.result() in (None, expected(size))
    if not point.startswith(("scratch", "combine.finish.after", "summary", "segments")):  # by then it may be there
        assert job.result() is None
    if point == "combine.upload.before":  # begun, and nobody has noted it
        assert s3.pending() == ["out/result.txt"]
    # and the same command goes on with it
    assert job.run() == 0, job.said()
    job.check()


def test_what_is_committed_is_not_run_again(s3: Bucket, tmp_path: Path) -> None:
    job = Job(s3, tmp_path)
    assert job.run(**environment(tmp_path / "points", "summary.write.before=kill@1")) == -signal.SIGKILL
    calls = (job.notes / "calls").read_text().split()
    assert len(calls) == COUNT
    assert job.run() == 0, job.said()
    assert (job.notes / "calls").read_text().split() == calls
    job.check()


def test_a_store_that_lists_no_uploads_keeps_no_run_from_its_end(
    s3: Bucket, proxied: FaultProxy, tmp_path: Path
) -> None:
    job = Job(s3, tmp_path, LARGE)
    job.endpoint = proxied.endpoint
    points = environment(tmp_path / "points", "combine.upload.before=kill@1")
    assert job.run(**points) == -signal.SIGKILL, job.said()
    proxied.faults.append(Fault("denied", "GET", "?uploads", times=1000))
    assert job.run() == 0, job.said()
    assert any(seen.fault for seen in proxied.seen)
    assert job.result() == expected(LARGE)


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_empty_objects_among_its_own_keep_no_run_from_going_on(s3: Bucket, tmp_path: Path) -> None:
    # Given a run that was killed, and what browsers of a store leave where somebody has looked at it
    job = Job(s3, tmp_path)
    assert job.run(**environment(tmp_path / "points", "segment.put.after=kill@3")) == -signal.SIGKILL, job.said()
    (state,) = {key.partition("/run-")[0] for key in [*s3.keys()] if "/run-" in key}
    for folder in ("out/logs/sys/", "out/logs/sys/node/", "out/logs/user/error/", f"{state}/models/"):
        s3.put(folder)
    # and a log and a note that were put before anything was in them
    for key in ("out/logs/sys/empty.txt", "out/logs/user/error/empty.txt", f"{state}/models/{'0' * 32}"):
        s3.put(key)
    assert job.run() == 0, job.said()
    job.check()


FAULTS = {
    "SlowDown in bursts": [Fault("slow_down", times=8, skip=15), Fault("slow_down", times=8, skip=40)],
    "errors": [Fault("error", method="PUT", times=12, skip=5)],
    "put done, reply lost": [Fault("reset_after", method="PUT", contains="/segments/", times=5)],
    "ledger put, reply lost": [Fault("reset_after", method="PUT", contains="/ledger-", times=2)],
    "claim made, reply lost": [Fault("reset_after", method="PUT", contains="/epoch-1.json")],
    "put cut in the middle": [Fault("cut_request", method="PUT", contains="/segments/", times=4)],
}
IN_A_LARGE_ONE = {
    "part cut in the middle": [Fault("cut_request", method="PUT", contains="partNumber", times=3)],
    "part sent, reply lost": [Fault("reset_after", method="PUT", contains="partNumber", times=3)],
    "begun, reply lost": [Fault("reset_after", method="POST", contains="uploads")],
    "finished, reply lost": [Fault("reset_after", method="POST", contains="uploadId=")],
    "SlowDown while parts are sent": [Fault("slow_down", contains="partNumber", times=20)],
}


@pytest.mark.parametrize(
    ("s3", "name"),
    [("moto", name) for name in (*FAULTS, *IN_A_LARGE_ONE)] + [("ceph", "finished, reply lost")],
    indirect=["s3"],
)
def test_faults_of_the_network_change_nothing(s3: Bucket, proxied: FaultProxy, tmp_path: Path, name: str) -> None:
    job = Job(s3, tmp_path, LARGE if name in IN_A_LARGE_ONE else SMALL)
    job.endpoint = proxied.endpoint
    proxied.faults += [
        Fault(one.kind, one.method, one.contains, one.times, one.skip) for one in {**FAULTS, **IN_A_LARGE_ONE}[name]
    ]
    assert job.run() == 0, job.said()
    assert any(seen.fault for seen in proxied.seen)
    job.check()


def test_credentials_that_expire_in_the_middle_stop_the_run_and_it_goes_on(
    s3: Bucket, proxied: FaultProxy, tmp_path: Path
) -> None:
    job = Job(s3, tmp_path)
    job.endpoint = proxied.endpoint
    proxied.faults.append(Fault("expired", method="PUT", contains="/segments/", times=1000, skip=5))
    assert job.run() == 1
    assert "expired" in job.said()
    proxied.faults.clear()
    assert job.run() == 0, job.said()
    job.check()


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_an_object_that_is_not_what_was_committed_is_made_again(s3: Bucket, tmp_path: Path) -> None:
    job = Job(s3, tmp_path)
    assert job.run(**environment(tmp_path / "points", "summary.write.before=kill@1")) == -signal.SIGKILL
    s3.client.delete_object(Bucket=s3.name, Key="out/result.txt")
    first, second, *_ = [key for key in [*s3.keys()] if "/segments/" in key]
    s3.put(first, s3.get(first).replace(b"x", b"y", 1))
    s3.client.delete_object(Bucket=s3.name, Key=second)
    assert job.run() == 0, job.said()
    job.check()


def test_two_at_once_never_harm_each_other(s3: Bucket, tmp_path: Path) -> None:
    job = Job(s3, tmp_path)
    points = environment(tmp_path / "points", "run.before=pause@5")
    first = job.start(**points)
    wait_for((tmp_path / "points" / "run.before.reached").exists, "a run at work", first)
    options: Any = {"output_storage_options": s3.options, "progress": False}
    assert daskbatch.status(job.url, s3.options).state == "Running"
    with pytest.raises(daskbatch.OutputInUse, match="is in use by process"):
        daskbatch.run(str(tmp_path / "score.py"), tmp_path / "in", output=job.url, mini_batch_size=1, **options,
                      append_row_file_name="result.txt", arguments=[job.notes, SMALL])  # fmt: skip
    daskbatch.cancel(job.url, s3.options)
    assert first.wait(60) == 130, job.said()
    assert daskbatch.status(job.url, s3.options).state == "Canceled"
    assert job.run() == 0, job.said()
    job.check()
