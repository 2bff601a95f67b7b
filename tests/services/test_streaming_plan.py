"""Runs that are at work while their input is still being listed: the result of any other, however the listing ends."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from key_server import KeyServer, key_server
from s3_server import Bucket

import daskbatch
from daskbatch.events import AttemptFailed, Event, Planned, Progress, TaskFinished
from daskbatch.plan_stream import PlanStream
from daskbatch.remote import listing
from daskbatch.report import SummaryFiles
from daskbatch.spec import InputSpec

pytest_plugins = ["s3_services"]

COUNT = 350
SCRIPT = """
    import os, sys
    def run(mini_batch):
        with open(os.path.join(sys.argv[1], "calls"), "a") as file:
            file.writelines(os.path.basename(path) + "\\n" for path in mini_batch)
        if any(path.endswith(sys.argv[2]) for path in mini_batch):
            raise ValueError("bad")
        return [os.path.basename(path) + " " + open(path).read() for path in mini_batch]
"""
PATIENCE = 60.0


def lines(count: int, without: range = range(0)) -> str:
    return "result\n" + "".join(f"f{n:07}.bin {n}\n" for n in range(count) if n not in without)


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with key_server(COUNT, page=100) as server:
        yield server


class Job:
    """A run over the server's keys, ten a mini-batch, in this process or as a command."""

    def __init__(self, keys: KeyServer, folder: Path) -> None:
        self.keys, self.folder, self.out = keys, folder, folder / "out"
        self.events: list[Event] = []
        self.script = folder / "score.py"
        self.script.write_text(textwrap.dedent(SCRIPT))

    def run(self, when: Callable[[Event], object] = lambda _: None, bad: str = "none", **options: Any) -> daskbatch.Run:
        def listen(event: Event) -> None:
            self.events.append(event)
            when(event)

        given = {"mini_batch_size": 10, "process_count_per_node": 1, "task_seconds": 0.05, **options}
        return daskbatch.run(
            str(self.script), self.keys.url, output=self.out, storage_options=self.keys.options, progress=False,
            arguments=[str(self.folder), bad], listeners=[SummaryFiles(self.out), listen], **given,
        )  # fmt: skip

    def start(self, *options: str) -> subprocess.Popen[str]:
        where = [f"{name}={str(value).lower()}" for name, value in self.keys.options.items()]
        command = [
            *(sys.executable, "-m", "daskbatch", "run", str(self.script), self.keys.url, "--output", str(self.out)),
            *("--mini-batch-size", "10", "--process-count-per-node", "1", "--task-seconds", "0.05"),
            *(part for option in where for part in ("--storage-options", option)),
            *(*options, "--", str(self.folder), "none"),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def committed(self) -> bool:
        """Whether a result counts."""
        return any('"chunk"' in path.read_text() for path in self.out.glob(".daskbatch/ledger-*.jsonl"))

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()

    def result(self) -> str:
        return (self.out / "predictions.csv").read_text()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def job(keys: KeyServer, tmp_path: Path) -> Job:
    return Job(keys, tmp_path)


def on(kind: type[Event], event: threading.Event) -> Callable[[Event], None]:
    return lambda told: event.set() if isinstance(told, kind) else None


def eventually(condition: Callable[[], object], what: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"ended before {what}: {process.stdout.read() if process.stdout else ''}")
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("way", ["a glob", "files"])
def test_the_result_is_that_of_the_serial_oracle(
    way: str, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "list_objects", functools.partial(listing.list_objects, page=7))
    names = [f"{part}/f{n}.{'png' if n % 3 else 'txt'}" for part in "abc" for n in range(50)]
    for name in names:
        s3.put(f"in/{name}", name.encode())
    url = f"{s3.url}/in/*/*.png" if way == "a glob" else f"{s3.url}/in/"
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return [open(path).read() for path in mini_batch]\n")
    planned: list[Event] = []

    def scored(name: str, **more: Any) -> bytes:
        options = {"mini_batch_size": 4, "storage_options": s3.options, "progress": False, **more}
        if way == "files":
            options["input_format"] = "files"
        listeners = [lambda event: planned.append(event) if isinstance(event, Planned) else None]
        script = str(tmp_path / "score.py")
        run = daskbatch.run(script, url, output=tmp_path / name, listeners=listeners, **options)
        assert run.output_file is not None
        return run.output_file.read_bytes()

    assert scored("out", process_count_per_node=2) == scored("oracle", compute="serial")
    files = len(names) if way == "files" else sum(name.endswith("png") for name in names)
    counts = [(event.at_least, event.files) for event in planned if isinstance(event, Planned)]
    assert counts[-2:] == [(False, files)] * 2
    # The same command again finds that nothing has changed
    assert len(planned) == len(counts)
    assert json.loads((tmp_path / "out" / ".daskbatch" / "run.json").read_text())["plan"]["files"] == files


def test_work_is_done_before_the_last_page_is_there(job: Job) -> None:
    # Given a store that keeps its last page until some work is done
    done = job.keys.held[3] = threading.Event()
    job.run(on(TaskFinished, done))
    # Then there was no waiting for it, and what is told is right at every moment
    assert job.result() == lines(COUNT)
    first, last = job.of(Planned)
    assert (first.at_least, first.mini_batches) == (True, None)
    assert (last.at_least, last.mini_batches, last.files) == (False, 35, COUNT)
    progress = job.of(Progress)
    assert progress[0].total_is_least
    assert not progress[0].total_is_exact
    assert (progress[-1].total_is_least, progress[-1].total_is_exact) == (False, True)
    assert progress[-1].mini_batches_total == progress[-1].mini_batches_done == 35
    assert job.keys.asked == [0, 1, 2, 3]


def test_the_same_again_is_reused(job: Job) -> None:
    done = job.keys.held[3] = threading.Event()
    job.run(on(TaskFinished, done))
    calls = job.calls()
    assert job.run().reused
    assert job.calls() == calls


@pytest.mark.parametrize(("percent", "completes"), [(5.0, True), (1.0, False)])
def test_a_percentage_is_judged_when_the_total_is_known(job: Job, percent: float, completes: bool) -> None:
    # Given one of 35 mini-batches that fails while no more than some of them are known
    failed = job.keys.held[2] = threading.Event()

    def when(event: Event) -> None:
        if isinstance(event, AttemptFailed) and event.final:
            failed.set()

    options = {"bad": "f0000003.bin", "allowed_failed_percent": percent, "run_max_try": 1}
    if completes:
        job.run(when, **options)
        assert job.result() == lines(COUNT, range(10))
    else:
        with pytest.raises(daskbatch.ThresholdExceeded, match="1 of 35 mini-batches failed"):
            job.run(when, **options)


@pytest.mark.parametrize(
    ("status", "code", "told"), [(403, "AccessDenied", "may not do this"), (400, "ExpiredToken", "have expired")]
)
def test_a_listing_that_fails_in_the_middle_stops_the_run_and_it_goes_on(
    job: Job, status: int, code: str, told: str
) -> None:
    # Given a store that has had enough of it when some work is done
    done = job.keys.held[2] = threading.Event()
    job.keys.refused[2] = status, code
    with pytest.raises(daskbatch.RunFailed, match=told) as caught:
        job.run(on(TaskFinished, done))
    assert "the input cannot be listed to its end" in str(caught.value)
    assert "Next: " in str(caught.value)
    assert caught.value.summary is not None
    assert caught.value.summary["status"] == "Failed"
    assert not (job.out / "predictions.csv").exists()
    succeeded = caught.value.summary["mini_batches"]["succeeded"]
    assert succeeded >= 1
    calls = len(job.calls())
    # When that is mended
    job.keys.refused.clear()
    job.run()
    # Then it goes on where it was
    assert job.result() == lines(COUNT)
    assert len(job.calls()) == calls + COUNT - 10 * succeeded


@pytest.mark.parametrize("wrong", ["nothing there", "refused"])
def test_what_is_wrong_with_the_first_page_is_said_before_anything_is_begun(job: Job, wrong: str) -> None:
    if wrong == "nothing there":
        job.keys.count = 0
    else:
        job.keys.refused[0] = 403, "InvalidAccessKeyId"
    process = job.start()
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 2, said
    assert ("matches nothing" if wrong == "nothing there" else "InvalidAccessKeyId") in said
    assert not job.out.exists()


def killed_while_listing(job: Job) -> None:
    job.keys.held[2] = threading.Event()
    process = job.start()
    eventually(job.committed, "a result that counts", process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    job.keys.held.pop(2).set()
    assert json.loads((job.out / ".daskbatch" / "run.json").read_text())["plan_digest"] == ""


def test_a_run_that_is_killed_while_it_lists_goes_on(job: Job) -> None:
    killed_while_listing(job)
    before = job.calls()
    # When objects come that had not been listed, behind those that were
    job.keys.count += 50
    process = job.start()
    said = process.communicate(timeout=PATIENCE)[0]
    # Then what counted is not done again, and the rest is what is there now
    assert process.returncode == 0, said
    assert "done already" in said
    assert job.result() == lines(COUNT + 50)
    assert len(job.calls()) < len(before) + COUNT + 50
    assert set(job.calls()) == {f"f{n:07}.bin" for n in range(COUNT + 50)}


def test_another_input_is_not_mixed_with_what_was_listed(job: Job) -> None:
    killed_while_listing(job)
    job.keys.changed.add(7)
    process = job.start()
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 2, said
    assert "not the same now" in said
    assert "--fresh" in said
    assert not (job.out / "predictions.csv").exists()
    # When it is put back
    job.keys.changed.clear()
    process = job.start()
    said = process.communicate(timeout=PATIENCE)[0]
    assert (process.returncode, job.result()) == (0, lines(COUNT)), said
    # Then what is kept tells of the whole input
    assert job.run().reused


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "cancel"])
def test_a_run_that_is_canceled_while_it_lists_ends_soon_and_goes_on(job: Job, how: str) -> None:
    # Given a run that has done what is known, and waits for a page
    job.keys.held[2] = threading.Event()
    process = job.start()
    eventually(lambda: job.committed() and len(job.calls()) == 200, "all that is known", process)
    begun = time.monotonic()
    if how == "cancel":
        subprocess.run([sys.executable, "-m", "daskbatch", "cancel", str(job.out)], check=True, capture_output=True)
    else:
        process.send_signal(signal.Signals[how])
    said = process.communicate(timeout=PATIENCE)[0]
    # Then it ends while the page is still awaited, and says how to go on
    assert time.monotonic() - begun < 20
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143, "cancel": 130}[how], said
    assert "Traceback" not in said
    assert "at least 20 mini-batches" in said
    assert "daskbatch resume" in said
    assert not (job.out / "predictions.csv").exists()
    # When it goes on
    job.keys.held.pop(2).set()
    resumed = subprocess.run(
        [sys.executable, "-m", "daskbatch", "resume", str(job.out)], check=False, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert job.result() == lines(COUNT)


def test_a_signal_before_the_first_page_leaves_no_trace(job: Job) -> None:
    job.keys.held[0] = threading.Event()
    process = job.start()
    eventually(lambda: job.keys.asked, "the request for a page", process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not job.out.exists()


def test_a_listing_that_is_ended_breaks_its_request_off(keys: KeyServer, tmp_path: Path) -> None:
    keys.held[1] = threading.Event()
    options = tuple(sorted(keys.options.items()))
    stream = PlanStream(InputSpec((keys.url,), "files", None, storage_options=options), tmp_path / "plan", lambda p: p)
    stream.begin(lambda _: None)
    stream.close()
    assert not any(thread.name == "daskbatch-listing" for thread in threading.enumerate())
    assert not keys.held[1].is_set()


def test_a_run_that_another_has_taken_over_writes_nothing_of_its_listing(job: Job) -> None:
    # Given a run that lists, and another engine that takes it over
    held = job.keys.held[2] = threading.Event()
    state = job.out / ".daskbatch"

    def when(event: Event) -> None:
        if isinstance(event, TaskFinished) and not (state / "ledger-2.jsonl").exists():
            (state / "run.json").write_text("the other's")
            os.link(state / "ledger-1.jsonl", state / "ledger-2.jsonl")
            held.set()

    with pytest.raises(daskbatch.RunFailed, match="taken over"):
        job.run(when)
    assert (state / "run.json").read_text() == "the other's"
    assert not (job.out / "run_summary.json").exists()
