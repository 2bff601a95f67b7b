"""Runs on a real Slurm: each job is a Dask worker, and whatever becomes of jobs, the result is the serial one's."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import nbformat
import pandas as pd
import pytest
from lives import kill, wait_for
from nbclient import NotebookClient
from other_user import Unavailable, attack, listening, readable
from slurm_queue import SlurmServer

import daskbatch

pytest_plugins = ["slurm_services"]

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
TARGET = {"type": "slurm", "name": "tests", "cores": 1, "memory": "600MB", "interface": "lo", "walltime": "00:10:00"}
SCRIPT = """
    import os, sys, time
    from pathlib import Path
    notes = Path(sys.argv[1])
    def run(mini_batch):
        name = Path(mini_batch[0]).name
        with open(notes / "runs", "a") as file:
            file.write(f"begin {name} {os.environ.get('SLURM_JOB_ID')} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
        time.sleep(float(sys.argv[2]))
        with open(notes / "runs", "a") as file:
            file.write(f"end {name} {os.environ.get('SLURM_JOB_ID')}\\n")
        return [f"{name},{len(name) * 3}"]
"""


class Work:
    """A script that notes what it runs, and files for it."""

    def __init__(self, folder: Path, count: int, seconds: float) -> None:
        self.folder = folder
        self.script = folder / "score.py"
        self.script.write_text(textwrap.dedent(SCRIPT))
        self.inputs, self.notes, self.output = folder / "in", folder / "notes", folder / "out"
        self.inputs.mkdir()
        self.notes.mkdir()
        for number in range(count):
            (self.inputs / f"f{number:03d}.txt").write_text(str(number))
        self.arguments = [str(self.notes), str(seconds)]

    def run(self, **options: Any) -> daskbatch.Run:
        given: dict[str, Any] = {
            "output": self.output, "mini_batch_size": 1, "progress": False, "task_seconds": 0.5, "error_threshold": 0,
            "arguments": self.arguments, "compute": TARGET, "node_count": 2,
        }  # fmt: skip
        return daskbatch.run(str(self.script), str(self.inputs), **{**given, **options})

    def oracle(self) -> bytes:
        quick = [self.arguments[0], "0"]
        made = self.run(output=self.folder / "oracle", arguments=quick, compute="serial", node_count=None)
        assert made.output_file is not None
        return made.output_file.read_bytes()

    def command(self, command: str, target: dict[str, Any], *options: str) -> list[str]:
        file = self.folder / "slurm.json"
        file.write_text(json.dumps(target))
        where = ["--output", str(self.output), "--compute", str(file)]
        size = ["--mini-batch-size", "1", "--task-seconds", "0.5"]
        own = [str(self.script), str(self.inputs), *where, *size, *options, "--", *self.arguments]
        return [sys.executable, "-m", "daskbatch", command, *own]

    def lines(self, word: str) -> list[list[str]]:
        try:
            found = [line.split() for line in (self.notes / "runs").read_text().splitlines()]
        except FileNotFoundError:
            return []
        return [line[1:] for line in found if line[0] == word]

    def ended(self) -> int:
        return len(self.lines("end"))

    def files(self) -> int:
        """How many the run has in its output folder."""
        return sum(len(names) for _, _, names in os.walk(self.output))

    def result(self) -> bytes:
        return (self.output / "predictions.csv").read_bytes()

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.output / "run_summary.json").read_text())
        return content


def nothing_left(slurm: SlurmServer, work: Work) -> None:
    """No job, and no credentials."""
    slurm.wait_until_empty()
    assert not list((work.output / ".daskbatch").glob("cluster-*"))


@pytest.mark.slow
def test_the_digits_on_two_jobs(slurm: SlurmServer, tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    for package in ("tensorflow", "PIL", "sklearn"):
        if importlib.util.find_spec(package) is None:
            missing(f"{package} is not installed: pip install -e '.[demo]'")
    for program in ("make_data.py", "train.py"):
        subprocess.run([sys.executable, DIGITS / program, tmp_path], check=True, capture_output=True)
    (tmp_path / "slurm.json").write_text(json.dumps({**TARGET, "memory": "2GB"}))
    run = [sys.executable, "-m", "daskbatch", "run", str(DIGITS / "score.py"), str(tmp_path / "images"), "--quiet"]
    for name, where in (
        ("serial", ["--compute", "serial"]),
        ("jobs", ["--compute", str(tmp_path / "slurm.json"), "--node-count", "2", "--min-nodes", "2"]),
    ):
        options = ["--output", str(tmp_path / name), "--error-threshold", "0", *where]
        subprocess.run([*run, *options, "--", "--model", str(tmp_path / "model.keras")], check=True)
    slurm.wait_until_empty()
    result = (tmp_path / "jobs" / "predictions.csv").read_bytes()
    assert result == (tmp_path / "serial" / "predictions.csv").read_bytes()
    assert result.count(b"\n") == 1798
    assert json.loads((tmp_path / "jobs" / "run_summary.json").read_text())["jobs"]["submitted"] == 2


@pytest.mark.parametrize("how", ["scancel", "kill -9 of all processes", "preempted"])
def test_jobs_that_are_ended_again_and_again(slurm: SlurmServer, tmp_path: Path, how: str) -> None:
    work = Work(tmp_path, 40, 0.3)
    target = dict(TARGET)
    if how == "preempted":
        target["queue"] = "preemptible"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(work.run, compute=target)
        killed = 0
        for round_ in range(1, 5):
            # When a job that does something is ended, after each sixth mini-batch
            busy = wait_for(
                lambda done=round_ * 6: run.done() or (work.ended() >= done and at_work(slurm, work)), "a job at work"
            )
            if busy is not True:
                end_one(slurm, how, busy)
                killed += 1
        finished = run.result()
    # Then the result is that of the serial run, and no mini-batch has spent a try
    assert work.result() == work.oracle()
    assert finished.summary["tries"] == 40
    assert killed >= 2
    assert finished.summary["jobs"]["replaced"] >= killed - 1  # the last one may be of no use any more
    nothing_left(slurm, work)


def at_work(slurm: SlurmServer, work: Work) -> list[int]:
    """Jobs in which a run() is going on."""
    begun, ended = work.lines("begin"), {tuple(line[:2]) for line in work.lines("end")}
    busy = [int(line[1]) for line in begun if tuple(line[:2]) not in ended]
    return [number for number in busy if slurm.job(number).state == "RUNNING"]


def end_one(slurm: SlurmServer, how: str, busy: list[int]) -> None:
    """End a job that is at work; or all, by one that is more urgent."""
    if how == "scancel":
        slurm.cancel(busy[-1])
    elif how == "preempted":
        urgent = slurm.submit("true", "--partition=urgent", "--cpus-per-task=7", "--mem=1")
        slurm.wait_for(urgent)
    else:
        slurm.kill(busy[-1])


def test_no_run_is_cut_by_a_walltime(slurm: SlurmServer, tmp_path: Path) -> None:
    # Given jobs of 20 seconds, and work for longer
    work = Work(tmp_path, 40, 1)
    files: list[int] = []
    run = work.run(compute={**TARGET, "walltime": "00:00:20"}, listeners=[lambda _: files.append(work.files())])
    # Then each run() that has begun has ended, and jobs have left before their time
    assert len(work.lines("begin")) == work.ended() == run.summary["tries"] == 40
    assert run.summary["jobs"]["left_at_walltime"] >= 1
    assert run.summary["jobs"]["replaced"] == 0
    # and the run never had more files than are promised: for each job two, and two of its slot; four for each log of a
    # process; and those of the run itself
    assert max(files) <= 20 + 4 * run.summary["jobs"]["submitted"] + 2 * 4
    assert work.result() == work.oracle()
    nothing_left(slurm, work)


def test_a_mini_batch_that_fits_into_no_job(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 1, 3600)
    with pytest.raises(daskbatch.RunFailed) as caught:
        work.run(compute={**TARGET, "walltime": "00:00:15"}, node_count=1)
    assert "1 items failed" in str(caught.value)
    (entry,) = map(json.loads, (work.output / "failed_items.jsonl").read_text().splitlines())
    assert entry["error"] == "WalltimeTooShort"
    assert "Next: a longer walltime" in entry["message"]
    nothing_left(slurm, work)


def test_a_queue_that_starts_nothing_says_why(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)
    with pytest.raises(daskbatch.RunFailed, match=r"0 of min_nodes=1 jobs.*min_nodes_timeout=8 s.*PartitionDown"):
        work.run(compute={**TARGET, "queue": "down"}, min_nodes_timeout=8)
    nothing_left(slurm, work)


def test_a_job_that_is_refused_is_known_at_once(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)
    with pytest.raises(daskbatch.UsageError, match="invalid partition"):
        work.run(compute={**TARGET, "queue": "nosuch"})
    assert not work.output.exists()
    slurm.wait_until_empty()


def test_jobs_that_end_at_once_are_not_submitted_for_ever(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)
    with pytest.raises(daskbatch.RunFailed, match=r"(?s)3 jobs in a row have ended before.*no such module") as caught:
        work.run(compute={**TARGET, "job_script_prologue": ["echo no such module >&2", "exit 3"]}, node_count=1)
    assert caught.value.summary is not None
    assert caught.value.summary["jobs"]["submitted"] == 3
    nothing_left(slurm, work)


def test_credentials_are_private_and_stand_in_no_script(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 6, 0.5)
    with ThreadPoolExecutor(1) as pool:
        run: Future[daskbatch.Run] = pool.submit(work.run)
        wait_for(lambda: work.ended() > 0 or run.done(), "a mini-batch")
        (folder,) = (work.output / ".daskbatch").glob("cluster-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        keys = [path.read_text() for path in folder.iterdir() if "PRIVATE KEY" in path.read_text()]
        assert keys
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.name.startswith("tls")} == {
            0o600
        }
        for job in slurm.queue():
            told = slurm.do("scontrol", "write", "batch_script", str(job.number), "-")
            assert "daskbatch" in told
            assert "PRIVATE KEY" not in told
        for process in slurm.processes_of():
            assert not any("PRIVATE KEY" in value for value in process.environ().values())
        run.result()
    nothing_left(slurm, work)


def test_another_user_of_the_host(slurm: SlurmServer, missing: Callable[[str], NoReturn]) -> None:
    # Given a run in a folder that anybody may enter, with a dashboard
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        work = Work(Path(folder), 200, 0.3)
        with subprocess.Popen(work.command("run", TARGET, "--node-count", "2", "--dashboard", "--quiet")) as client:
            try:
                wait_for(lambda: work.ended() > 3, "mini-batches", client)
                addresses = listening([client.pid, *(process.pid for process in slurm.processes_of())])
                assert len(addresses) >= 4  # scheduler, dashboard, and two workers
                # When another user tries all that listens, and all files of the cluster
                answers = attack(addresses, paths=("/status", "/json/identity.json"))
                found = readable([*(work.output / ".daskbatch").iterdir()])
            except Unavailable as error:
                missing(str(error))
            finally:
                client.terminate()
        # Then nothing is executed, and nothing is read
        assert [answer for answer in answers if answer.open and answer.way != "connect"] == []
        assert {answer.way.split()[0] for answer in answers} >= {"connect", "http", "tcp", "tls"}
        assert found == []
        slurm.wait_until_empty()


def test_gpus_are_those_of_the_job(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 12, 0.4)
    target = {**TARGET, "cores": 2, "job_extra_directives": ["--gres=gpu:2"]}
    work.run(compute=target, min_nodes=2, process_count_per_node=2)
    gpus = {tuple(line[1:]) for line in work.lines("begin")}
    # Two jobs on one host, with two slots each: four slots, each with its own
    assert len({job for job, _ in gpus}) == 2
    assert sorted(gpu for _, gpu in gpus) == ["0", "1", "2", "3"]


def test_a_client_that_is_killed_and_resumed(slurm: SlurmServer, tmp_path: Path) -> None:
    # Given more jobs than there is room for
    work = Work(tmp_path, 30, 0.3)
    command = work.command("run", TARGET, "--node-count", "12", "--quiet")
    with subprocess.Popen(command) as client:
        wait_for(lambda: work.ended() > 5, "mini-batches", client)
        kill(client.pid)
    assert any(job.state == "PENDING" for job in slurm.queue())
    # When it is begun again
    done = subprocess.run(work.command("run", TARGET, "--node-count", "2", "--quiet"), check=False)
    # Then the jobs of the first are gone, and nothing was lost
    assert done.returncode == 0
    assert work.result() == work.oracle()
    nothing_left(slurm, work)


def daskbatch_says(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "daskbatch", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", ["coordinator killed", "job requeued"])
def test_a_submitted_run(slurm: SlurmServer, tmp_path: Path, how: str) -> None:
    work = Work(tmp_path, 30, 0.3)
    submitted = subprocess.run(work.command("submit", TARGET, "--node-count", "2"), capture_output=True, check=True)
    run_id = submitted.stdout.decode().strip()
    status = json.loads(daskbatch_says("status", str(work.output), "--json"))
    assert status["run_id"] == run_id
    assert status["state"] in ("Submitted", "Running")
    with subprocess.Popen(
        [sys.executable, "-m", "daskbatch", "logs", "-f", str(work.output)], stdout=subprocess.PIPE
    ) as follower:
        wait_for(lambda: work.ended() > 5, "mini-batches")
        (job,) = [job for job in slurm.queue() if job.name == "daskbatch-coordinator"]
        if how == "job requeued":
            slurm.kill(job.number)  # all of its processes, as when a node fails
            slurm.wait_for(job.number)
            slurm.requeue(job.number)
        else:
            (coordinator,) = [
                process.pid for process in slurm.processes_of(job.number) if "resume" in process.cmdline()
            ]
            kill(coordinator)
        assert run_id in daskbatch_says("status", str(work.output))
        told, _ = follower.communicate(timeout=120)
    slurm.wait_until_empty(60)
    # Then it is completed by itself
    assert json.loads(daskbatch_says("status", str(work.output), "--json"))["state"] == "Completed"
    assert b"Completed" in told
    assert work.summary()["run_id"] == run_id
    assert work.summary()["mini_batches"]["failed"] == 0
    assert work.result() == work.oracle()
    nothing_left(slurm, work)


def test_a_submitted_run_that_waits_can_be_canceled(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)
    subprocess.run(work.command("submit", {**TARGET, "queue": "down"}), capture_output=True, check=True)
    assert "pending (PartitionDown)" in daskbatch_says("status", str(work.output))
    again = subprocess.run(work.command("submit", TARGET), capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "is being done already: job" in again.stderr
    daskbatch_says("cancel", str(work.output))
    slurm.wait_until_empty()
    assert "Canceled" in daskbatch_says("status", str(work.output))
    # and it can be begun after all
    assert daskbatch_says("resume", str(work.output), "--compute", "local", "--quiet") == ""
    assert work.result() == work.oracle()


def test_a_command_that_waits_ends_as_the_run_does(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)

    def waited() -> subprocess.CompletedProcess[str]:
        command = work.command("submit", TARGET, "--wait", "--error-threshold", "0", "--run-max-try", "1")
        return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)

    good = work.script.read_text()
    work.script.write_text("def init(): raise ValueError('no model')\ndef run(mini_batch): return mini_batch\n")
    failed = waited()
    assert failed.returncode == 1
    assert "ValueError: no model" in failed.stdout
    assert "daskbatch: error: Failed: run " in failed.stderr
    slurm.wait_until_empty()
    # Then with another script: nothing is begun
    work.script.write_text(good)
    other = waited()
    assert other.returncode == 1
    assert "has changed" in other.stdout
    slurm.wait_until_empty()
    # In another folder it completes
    work.output = tmp_path / "out2"
    completed = waited()
    assert completed.returncode == 0, completed.stderr
    assert work.result() == work.oracle()
    # and where another result is, that is not taken for this one's
    slurm.wait_until_empty()
    work.script.write_text(f"{good}\n# changed\n")
    refused = waited()
    assert refused.returncode == 1
    assert "has begun nothing" in refused.stderr
    slurm.wait_until_empty()


def test_a_command_that_waits_for_a_run_that_is_canceled_in_the_queue(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)
    command = work.command("submit", {**TARGET, "queue": "down"}, "--wait")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waits:
        assert waits.stdout is not None
        assert waits.stdout.readline()
        daskbatch_says("cancel", str(work.output))
        _, told = waits.communicate(timeout=60)
    assert waits.returncode == 130
    assert "daskbatch: error: Canceled: run " in told
    slurm.wait_until_empty()


def test_variables_of_a_submitted_run_stand_in_no_file(slurm: SlurmServer, tmp_path: Path) -> None:
    work = Work(tmp_path, 2, 0)
    work.script.write_text("import os\ndef run(mini_batch): return [os.environ['SECRET'][::-1]]\n")
    command = work.command("submit", TARGET, "--environment-variables", "SECRET=xyzzy-1234")
    subprocess.run(command, capture_output=True, check=True)
    wait_for((work.output / "run_summary.json").exists, "the end")
    slurm.wait_until_empty()
    assert work.result().count(b"4321-yzzyx") == 2
    for path in work.output.rglob("*"):
        assert path.is_dir() or b"xyzzy" not in path.read_bytes(), path


def test_the_notebook(slurm: SlurmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given what a site has in its jobqueue.yaml
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    notebook = nbformat.read(ROOT / "notebooks" / "6-slurm.ipynb", as_version=4)
    # When the notebook runs as it stands
    NotebookClient(notebook, timeout=150, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = {
        cell.source: "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }

    def shown(code: str) -> str:
        (text,) = [text for source, text in told.items() if code in source]
        return text

    # Then what it shows is true
    assert "#SBATCH -t 0:10:00" in shown("--job-script")
    work = tmp_path / "work" / "slurm"
    scores = pd.read_csv(work / "scores" / "scores.csv")
    right = (scores["label"] == scores["digit"])[800:].mean()
    assert right > 0.9
    assert f"{right:.1%} of 997 right" in shown("run.to_pandas()")
    assert all(str(job) in shown("run.to_pandas()") for job in scores["job"].unique())
    assert "'submitted': 2" in shown('run.summary["jobs"]')
    assert "{'total': 18, 'succeeded': 18, 'failed': 0}" in shown('run.summary["jobs"]')
    assert "of slurm" in shown("daskbatch.submit(")
    assert "Completed" in shown("logs -f")
    assert shown("again = pd.read_csv").endswith("True")
    slurm.wait_until_empty()
