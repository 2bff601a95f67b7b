"""Runs whose output and state lie on Azure Blob storage: the bytes of a run on a disk, through deaths and faults."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from azurite_server import Container
from deaths import environment
from fault_proxy import Fault, FaultProxy
from lives import wait_for
from test_outputs_on_s3 import FILES, TABLE, UNEVEN, script, tables
from test_outputs_on_s3_faults import COUNT, LARGE, SMALL, Job

import daskbatch
from daskbatch.remote import azure as requests

pytest_plugins = ["azure_services"]


@pytest.fixture(autouse=True)
def nothing_temporary_left(azure: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    wait_for(lambda: set(os.listdir(tmp_path / "tmp")) <= {"dask-scratch-space"}, "an empty TMPDIR")
    assert azure.pending() == []


def job_in(azure: Container, tmp_path: Path, size: int = SMALL) -> Job:
    """The fixture has made the folder for what is temporary."""
    (tmp_path / "tmp").rmdir()
    return Job(azure, tmp_path, size)


@pytest.mark.parametrize(
    ("name", "text"), [("p.csv", TABLE), ("p.csv", UNEVEN), ("p.jsonl", TABLE), ("p.parquet", UNEVEN), ("p.txt", TABLE)]
)
def test_the_result_is_that_of_a_disk(
    azure: Container, tmp_path: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_BLOCK", 10_000)  # the result goes in blocks
    entry, data = script(tmp_path, text), tables(tmp_path)
    same: dict[str, Any] = {"append_row_file_name": name, "mini_batch_size": "3KB", "progress": False}
    oracle = daskbatch.run(entry, data, output=tmp_path / "oracle", compute="serial", **same)
    for path in Path(data).iterdir():
        azure.put(f"in/{path.name}", path.read_bytes())
    run = daskbatch.run(entry, f"{azure.url}/in/", output=f"{azure.url}/out", process_count_per_node=2, **same)
    assert oracle.output_file is not None
    assert run.output_file is not None
    assert str(run.output_file) == f"{azure.url}/out/{name}"
    assert run.output_file.read_bytes() == azure.get(f"out/{name}") == oracle.output_file.read_bytes()
    assert run.to_pandas().equals(oracle.to_pandas())
    assert [key for key in [*azure.keys()] if "/segments/" in key or "/engine-" in key] == []
    secret = azure.server.key.encode()
    assert [key for key in [*azure.keys()] if secret in azure.get(key)] == []
    assert daskbatch.run(entry, f"{azure.url}/in/", output=f"{azure.url}/out", **same).reused


def test_what_is_for_people_is_there(azure: Container, tmp_path: Path) -> None:
    text = FILES.replace(
        "return [",
        "print('seen'); from daskbatch import EntryScript;"
        " open(EntryScript().output_dir + '/made-' + mini_batch[0][-6:-4], 'w').close(); return [",
    )
    for number in range(12):
        azure.put(f"in/{number:02}.bin", b"x" * number)
    run = daskbatch.run(
        script(tmp_path, text), f"{azure.url}/in/", output=f"{azure.url}/out/", mini_batch_size=3, progress=False
    )
    assert run.to_pandas()["size"].tolist() == list(range(12))
    names = {
        key.removeprefix("out/") for key in [*azure.keys()] if key.startswith("out/") and "/.daskbatch/" not in key
    }
    assert {"predictions.csv", "run_summary.json", "logs/job_result.txt", "made-00", "made-09"} <= names
    printed = [name for name in names if name.startswith("logs/user/stdout/")]
    assert b"seen" in b"".join(azure.get(f"out/{name}") for name in printed)
    assert json.loads(azure.get("out/run_summary.json")) == dict(run.summary)
    opened = daskbatch.Run.open(f"{azure.url}/out")
    assert (opened.status, opened.failed_items()) == ("Completed", [])


def test_failures_are_tried_again_and_another_script_begins_anew(azure: Container, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.touch()
    text = f"""
        import os
        def run(frame):
            if frame["id"].iloc[0] == 0 and os.path.exists({str(bad)!r}):
                raise ValueError("no")
            return frame
    """
    entry, data, url = script(tmp_path, text), tables(tmp_path), f"{azure.url}/out"
    first = daskbatch.run(entry, data, output=url, progress=False, error_threshold=-1)
    assert [one["error"] for one in first.failed_items()] == ["ValueError"]
    bad.unlink()
    assert len(daskbatch.retry_failed(url, progress=False).to_pandas()) == 1500
    assert not azure.has("out/failed_items.jsonl")
    script(tmp_path, TABLE)
    with pytest.raises(daskbatch.RunChanged, match="--fresh"):
        daskbatch.run(entry, data, output=url, progress=False, error_threshold=-1)
    anew = daskbatch.run(entry, data, output=url, fresh=True, progress=False, error_threshold=-1)
    assert "twice" in anew.to_pandas().columns
    state = {key.split("/")[2] for key in [*azure.keys()] if key.startswith("out/.daskbatch/")}
    assert (anew.summary["run_id"] in state, first.summary["run_id"] in state) == (True, False)


@pytest.mark.parametrize(
    ("point", "size"),
    [
        ("epoch.begin.after=kill@1", SMALL),
        ("segment.put.after=kill@3", SMALL),
        ("ledger.put.before=kill@1", SMALL),
        ("ledger.put.after=kill@1", SMALL),
        ("summary.write.before=kill@1", LARGE),
        ("segments.drop.before=kill@1", SMALL),
    ],
)
def test_a_run_goes_on_after_kill_9(azure: Container, tmp_path: Path, point: str, size: int) -> None:
    # Given a run that is killed at some step, engine and worker in one
    job = job_in(azure, tmp_path, size)
    assert job.run(**environment(tmp_path / "points", point)) == -signal.SIGKILL, job.said()
    done = [*(job.notes / "calls").read_text().split()] if (job.notes / "calls").exists() else []
    # Then there is no result before its time
    assert (job.result() is None) == (not point.startswith(("summary", "segments")))
    # and the same command goes on with it
    assert job.run() == 0, job.said()
    job.check()
    calls = (job.notes / "calls").read_text().split()
    assert set(map(int, calls)) == set(range(COUNT))
    if len(done) == COUNT:
        assert calls == done, "what was committed was run again"


def test_a_kill_between_the_blocks_of_the_result(azure: Container, through: FaultProxy, tmp_path: Path) -> None:
    job = job_in(azure, tmp_path, LARGE)
    through.faults.append(Fault("slow_down", "PUT", "comp=blocklist", times=1000))
    run = job.start()
    wait_for(lambda: through.count("PUT", "comp=blocklist"), "all blocks on the store", run)
    run.kill()
    run.wait()
    assert (azure.pending(), job.result()) == (["out/result.txt"], None)
    through.faults.clear()
    assert job.run() == 0, job.said()
    job.check()


def test_status_and_cancel_by_url_and_two_at_once(azure: Container, tmp_path: Path) -> None:
    job = job_in(azure, tmp_path)
    points = environment(tmp_path / "points", "run.before=pause@5")
    first = job.start(**points)
    wait_for((tmp_path / "points" / "run.before.reached").exists, "a run at work", first)
    status = daskbatch.status(job.url)
    assert (status.state, status.output, status.total) == ("Running", job.url, COUNT)
    with pytest.raises(daskbatch.OutputInUse, match="is in use by process"):
        daskbatch.run(str(tmp_path / "score.py"), tmp_path / "in", output=job.url, mini_batch_size=1, progress=False,
                      append_row_file_name="result.txt", arguments=[job.notes, SMALL])  # fmt: skip
    daskbatch.cancel(job.url)
    assert first.wait(60) == 130, job.said()
    assert daskbatch.status(job.url).state == "Canceled"
    assert daskbatch.resume(job.url, progress=False).status == "Completed"
    assert daskbatch.status(job.url).state == "Completed"
    job.check()


FAULTS = {
    "busy in bursts": [Fault("slow_down", times=8, skip=15), Fault("slow_down", times=8, skip=40)],
    "put done, reply lost": [Fault("reset_after", method="PUT", contains="/segments/", times=5)],
    "ledger put, reply lost": [Fault("reset_after", method="PUT", contains="/ledger-", times=2)],
    "claim made, reply lost": [Fault("reset_after", method="PUT", contains="/epoch-1.json")],
    "put cut in the middle": [Fault("cut_request", method="PUT", contains="/segments/", times=4)],
    "result put, reply lost": [Fault("reset_after", method="PUT", contains="/result.txt")],
}
OF_A_LARGE_ONE = {
    "block cut in the middle": [Fault("cut_request", method="PUT", contains="comp=block&", times=3)],
    "finished, reply lost": [Fault("reset_after", method="PUT", contains="comp=blocklist")],
}


@pytest.mark.parametrize("name", [*FAULTS, *OF_A_LARGE_ONE])
def test_faults_of_the_network_change_nothing(azure: Container, through: FaultProxy, tmp_path: Path, name: str) -> None:
    job = job_in(azure, tmp_path, LARGE if name in OF_A_LARGE_ONE else SMALL)
    through.faults += [
        Fault(one.kind, one.method, one.contains, one.times, one.skip) for one in {**FAULTS, **OF_A_LARGE_ONE}[name]
    ]
    assert job.run() == 0, job.said()
    assert any(seen.fault for seen in through.seen)
    job.check()


def test_what_is_wrong_with_the_place_is_said_before_anything_is_begun(azure: Container, tmp_path: Path) -> None:
    entry, data = script(tmp_path, TABLE), tables(tmp_path)
    with pytest.raises(daskbatch.UsageError, match="no-such-container"):
        daskbatch.run(entry, data, output="abfs://no-such-container/out", progress=False)
    azure.put("taken/predictions.csv", b"mine")
    with pytest.raises(daskbatch.UsageError, match="would be overwritten"):
        daskbatch.run(entry, data, output=f"{azure.url}/taken", progress=False)
    assert azure.keys() == ["taken/predictions.csv"]
