"""A client that is killed with -9: its run leaves nothing on a cluster that others use. A worker that is: the same."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from distributed import Client, WorkerPlugin
from programs import nodes

import daskbatch

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a second node is a second loopback address")

PROMISE = 60.0
"""Seconds after which nothing of a run is left whose client was killed."""

SCRIPT = """
    import os
    import sys
    import tempfile
    import time
    from pathlib import Path

    from daskbatch import EntryScript

    def run(mini_batch):
        Path(EntryScript().working_dir, "of-the-user").touch()
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(3600)
"""
PROGRAM = """
import sys

import daskbatch

scheduler, entry, inputs, output, notes = sys.argv[1:]
daskbatch.run(
    entry, inputs, output=output, scheduler=scheduler, arguments=[notes], process_count_per_node=1, mini_batch_size=1,
    progress=False,
)
"""


def subscribers(topic: str, dask_scheduler: Any) -> int:
    """How many clients hear of a topic."""
    return len(dask_scheduler._broker._topics[topic].subscribers)


class Mine(WorkerPlugin):
    """Another user's plugin."""

    name = "mine"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Folder for temporary files of the workers."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where each runner that is in ``run()`` has a file, named by its process id."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def start(
    tmp_path: Path, notes: Path, script: Callable[..., str], files: Callable[[int], str],
    eventually: Callable[..., None],
) -> Iterator[Callable[[str, int], subprocess.Popen[bytes]]]:  # fmt: skip
    """Start a run in a process of its own; return when that many runners are in ``run()``."""
    with contextlib.ExitStack() as stack:

        def begin(scheduler: str, runners: int) -> subprocess.Popen[bytes]:
            arguments = [scheduler, script(SCRIPT), files(20), str(tmp_path / "out"), str(notes)]
            process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])
            stack.callback(process.wait)
            stack.callback(process.kill)
            eventually(lambda: len(list(notes.iterdir())) == runners, "run() to begin", 60)
            return process

        yield begin


def traces(client: Client, scratch: Path, notes: Path) -> list[str]:
    """What of a run is left."""

    def on_scheduler(dask_scheduler: Any) -> list[str]:
        topics = [name for name, topic in dask_scheduler._broker._topics.items() if topic.events or topic.subscribers]
        return [*dask_scheduler.tasks, *dask_scheduler.worker_plugins, *dask_scheduler.plugins, *topics]

    def on_worker(dask_worker: Any) -> list[str]:
        return [*dask_worker.plugins, *dask_worker.state.tasks]

    names = [
        *client.run_on_scheduler(on_scheduler),
        *(name for found in client.run(on_worker).values() for name in found),
    ]
    return [
        *(str(name) for name in names if "daskbatch" in str(name)),
        *(path.name for path in scratch.glob("daskbatch*")),
        *(f"process {path.name}" for path in notes.iterdir() if psutil.pid_exists(int(path.name))),
    ]


@pytest.mark.slow
def test_nothing_is_left_of_a_run_whose_client_is_killed(
    start: Callable[..., Any], scratch: Path, notes: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:  # fmt: skip
    go = tmp_path / "go"

    def wait_for_go() -> str:
        while not go.exists():
            time.sleep(0.05)
        return "done"

    environment = {"TMPDIR": str(scratch)}
    with (
        nodes(tmp_path, environment, environment) as (scheduler, workers),
        Client(scheduler_file=scheduler, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        # Given a client with a plugin, a topic, a result and a task under way
        heard: list[Any] = []
        client.subscribe_topic("topic of mine", lambda event: heard.append(event[1]))
        eventually(lambda: client.run_on_scheduler(subscribers, "topic of mine") == 1, "the subscription")
        client.log_event("topic of mine", "before")
        client.register_plugin(Mine())
        kept, task = client.submit(sum, [1, 2, 3]), client.submit(wait_for_go)
        # and, on the same cluster, a run in the middle
        run = start(scheduler, runners=2)
        begun = traces(client, scratch, notes)
        assert [name for name in begun if name.startswith("process ")]
        assert [name for name in begun if name.endswith("-events")]
        # When the run's client is killed
        run.kill()
        killed = time.monotonic()
        run.wait()
        # Then soon nothing of it is left
        eventually(lambda: not traces(client, scratch, notes), f"nothing to be left of {begun}", PROMISE)
        print(f"nothing was left {time.monotonic() - killed:.1f} s after the client was killed")
        for worker in workers:
            assert psutil.Process(worker.pid).children(recursive=True) == []
        # and all of the other client goes on
        client.log_event("topic of mine", "after")
        eventually(lambda: heard == ["before", "after"], f"both events, heard {heard}")
        assert [message for _, message in client.get_events("topic of mine")] == ["before", "after"]
        assert all("mine" in plugins for plugins in client.run(lambda dask_worker: list(dask_worker.plugins)).values())
        assert "mine" in client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
        assert task.status == "pending"
        go.touch()
        assert (kept.result(timeout=30), task.result(timeout=30)) == (6, "done")


def test_nothing_is_left_where_a_worker_is_killed(
    start: Callable[..., Any], scratch: Path, notes: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    with nodes(tmp_path, {"TMPDIR": str(scratch)}) as (scheduler, (worker,)):
        # Given a worker with a runner, which has written into its working folder
        start(scheduler, runners=1)
        (runner,) = (int(path.name) for path in notes.iterdir())
        assert list(scratch.glob("daskbatch-*/process000/of-the-user"))
        # When the worker is killed
        worker.kill()
        # Then neither is left
        eventually(lambda: not psutil.pid_exists(runner), "the end of the runner")
        eventually(lambda: not list(scratch.glob("daskbatch*")), f"an empty {scratch}")


def test_a_runner_that_dies_leaves_its_working_folder_to_the_next(
    tmp_path: Path, scratch: Path, script: Callable[..., str], files: Callable[[int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Given a script that exits in the middle of its first run(), and finds on retry what it has written before
    entry = script("""
        import os
        from pathlib import Path

        from daskbatch import EntryScript

        def run(mini_batch):
            mine = Path(EntryScript().working_dir, "mine")
            if not mine.exists():
                mine.touch()
                os._exit(1)
            return mini_batch
    """)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    run = daskbatch.run(
        entry, files(2), output=tmp_path / "out", mini_batch_size=2, process_count_per_node=1, run_max_try=2,
        progress=False,
    )  # fmt: skip
    # Then the run succeeds, and the folder goes with it
    assert run.summary["items"]["succeeded"] == 2
    assert list(scratch.glob("daskbatch*")) == []
