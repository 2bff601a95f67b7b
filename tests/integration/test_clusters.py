"""Clusters that are not ours: used as they are, left as they were found."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import distributed
import psutil
import pytest
from distributed import Client, LocalCluster

import daskbatch
from daskbatch.cluster import existing as existing_cluster
from daskbatch.cluster.local import in_processes
from daskbatch.events import Notice

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

SCRIPT = """
    import os

    def run(mini_batch):
        return [{"id": value, "pid": 0} for value in mini_batch["id"]]
"""
OPTIONS: dict[str, Any] = {"mini_batch_size": "5rows"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes over TCP, as a user would have them."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as ours:  # fmt: skip
        yield ours


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as ours:
        yield ours


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text("id\n" + "".join(f"{number}\n" for number in range(60)))
    return path


def traces(client: Client) -> dict[str, Any]:
    """What a run could leave on a cluster."""

    def on_scheduler(dask_scheduler: Any) -> dict[str, Any]:
        return {
            "plugins": sorted(map(str, dask_scheduler.plugins)),
            "worker plugins": sorted(dask_scheduler.worker_plugins),
            "keys": sorted(map(str, dask_scheduler.tasks)),
            "clients": sorted(dask_scheduler.clients),
            "topics": sorted(topic for topic in dask_scheduler.get_events() if "daskbatch" in topic),
        }

    def on_worker(dask_worker: Any) -> dict[str, Any]:
        return {
            "plugins": sorted(dask_worker.plugins),
            "keys": sorted(map(str, dask_worker.state.tasks)),
            "children": [child.pid for child in psutil.Process().children(recursive=True)],
            "folder": os.getcwd(),
        }

    return {"scheduler": client.run_on_scheduler(on_scheduler), "workers": client.run(on_worker)}


@pytest.mark.parametrize("how", ["client", "address", "scheduler file"])
def test_a_cluster_is_used_and_left_as_it_was(
    how: str, cluster: LocalCluster, client: Client, table: Path, tmp_path: Path, script: Callable[..., str],
    oracle: Callable[..., bytes], eventually: Callable[..., None],
) -> None:  # fmt: skip
    # Given a cluster on which its user has a result of their own
    mine = client.submit(sum, [1, 2, 3], key="mine")
    mine.result()
    before = traces(client)
    entry = script(SCRIPT)
    where: dict[str, Any] = {"client": client} if how == "client" else {"scheduler": cluster.scheduler_address}
    if how == "scheduler file":
        (tmp_path / "scheduler.json").write_text(json.dumps({"address": cluster.scheduler_address}))
        where = {"scheduler": tmp_path / "scheduler.json"}
    # When a run uses it
    run = daskbatch.run(entry, table, output=tmp_path / "out", progress=False, task_seconds=0.05, **where, **OPTIONS)
    # Then the bytes are the oracle's
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, table, **OPTIONS)
    # and both of its workers were at work, one slot for each of their threads
    names = {path.name for path in (tmp_path / "out/logs/user/stdout").rglob("*.txt")}
    assert names == {"process000.stdout.txt", "process001.stdout.txt"}
    # and nothing of the run is left, and everything of the user's is
    eventually(lambda: traces(client) == before, f"{traces(client)} to be {before}", 5)
    assert mine.result() == 6
    assert client.status == "running"


def test_a_source_directory_is_copied_to_local_scratch_once_a_node(
    client: Client, table: Path, tmp_path: Path, script: Callable[..., str]
) -> None:
    # Given a source directory with a module and a file beside the script
    script("WORD = 'from the module'\n", "source/lib/words.py")
    script("a file of its own", "source/inner/word.txt")
    script(
        """
        import os

        def run(mini_batch):
            from lib.words import WORD
            here = os.path.dirname(__file__)
            text = open(os.path.join(here, "word.txt")).read().strip()
            return mini_batch.assign(file=__file__, word=WORD, text=text)
        """,
        "source/inner/score.py",
    )
    # When it runs on workers that are not our own
    given: dict[str, Any] = {"source_directory": tmp_path / "source", "progress": False, **OPTIONS}
    run = daskbatch.run("inner/score.py", table, output=tmp_path / "out", client=client, **given)
    # Then there was one copy for both of them, on local scratch, and it is gone
    found = run.to_pandas()
    assert (set(found["word"]), set(found["text"])) == ({"from the module"}, {"a file of its own"})
    (path,) = map(Path, found["file"].unique())
    assert path.parts[-2:] == ("inner", "score.py")
    assert path.is_relative_to(tempfile.gettempdir())
    assert not path.is_relative_to(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("outcome", ["fails", "is interrupted", "has no init"])
def test_a_run_that_does_not_complete_leaves_nothing_either(
    outcome: str, client: Client, table: Path, tmp_path: Path, script: Callable[..., str],
    eventually: Callable[..., None],
) -> None:  # fmt: skip
    before = traces(client)
    # Given a script that goes wrong
    text = {
        "fails": "def run(mini_batch):\n    raise ValueError('no')\n",
        "is interrupted": "import time\ndef run(mini_batch):\n    time.sleep(0.1)\n    return mini_batch\n",
        "has no init": "def init():\n    raise ValueError('no')\ndef run(mini_batch):\n    return mini_batch\n",
    }[outcome]

    def interrupt(event: Any) -> None:
        if outcome == "is interrupted" and isinstance(event, daskbatch.events.RunnerStarted):
            os.kill(os.getpid(), 2)

    # When it runs
    error: Any = {
        "fails": daskbatch.ThresholdExceeded,
        "is interrupted": daskbatch.RunCanceled,
        "has no init": daskbatch.InitFailed,
    }
    with pytest.raises(error[outcome]):
        daskbatch.run(
            script(text), table, output=tmp_path / "out", client=client, listeners=[interrupt], run_max_try=1, **OPTIONS
        )
    # Then the cluster is as it was
    eventually(lambda: traces(client) == before, f"{traces(client)} to be {before}", 5)


def test_the_default_client_stays_the_users(
    cluster: LocalCluster, table: Path, tmp_path: Path, script: Callable[..., str]
) -> None:
    entry, seen = script(SCRIPT), []

    def watch(event: Any) -> None:
        try:
            seen.append(distributed.default_client())
        except ValueError:
            seen.append(None)

    # Given no client: then there is none during and after a run of daskbatch's own
    daskbatch.run(entry, table, output=tmp_path / "a", listeners=[watch], process_count_per_node=1, **OPTIONS)
    assert set(seen) == {None}
    with pytest.raises(ValueError, match="No client"):
        distributed.default_client()
    # Given a default client
    with Client(cluster) as mine:
        seen.clear()
        # When runs use another cluster, or the same one
        places = {
            "b": {"process_count_per_node": 1},
            "c": {"scheduler": cluster.scheduler_address},
            "d": {"client": mine},
        }
        for name, where in places.items():
            daskbatch.run(entry, table, output=tmp_path / name, listeners=[watch], **where, **OPTIONS)
        # Then it stays the default one
        assert set(seen) == {mine}
        assert distributed.default_client() is mine
        assert dask.delayed(sum)([1, 2]).compute() == 3


@pytest.mark.parametrize("own", [True, False], ids=["local", "client"])
def test_works_while_an_event_loop_runs(
    own: bool, client: Client, table: Path, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given a notebook: its cells run inside an event loop
    entry = script(SCRIPT)
    where: dict[str, Any] = {"process_count_per_node": 2} if own else {"client": client}

    async def cell() -> daskbatch.Run:
        return daskbatch.run(entry, table, output=tmp_path / "out", progress=False, **where, **OPTIONS)

    run = asyncio.run(cell())
    # Then a run works there too
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, table, **OPTIONS)


def test_an_asynchronous_client_is_refused(
    cluster: LocalCluster, table: Path, tmp_path: Path, script: Callable[..., str]
) -> None:
    async def cell() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            daskbatch.run(script(SCRIPT), table, output=tmp_path / "out", client=client, progress=False)

    with pytest.raises(daskbatch.UsageError, match="asynchronous=True"):
        asyncio.run(cell())
    assert not (tmp_path / "out").exists()


def test_a_worker_that_cannot_reach_the_output_is_named(
    client: Client, table: Path, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an output path that leads elsewhere on the workers, whose current folder is another
    monkeypatch.chdir(tmp_path)
    output = Path("/proc/self/cwd/out")
    if not output.parent.exists():
        pytest.skip("needs /proc")
    # When a run is to use them
    with pytest.raises(daskbatch.UsageError, match=r"/proc/self/cwd/out.*shared") as caught:
        daskbatch.run(script(SCRIPT), table, output=output, client=client, progress=False, **OPTIONS)
    # Then it says which worker, and nothing was begun
    assert any(worker in str(caught.value) for worker in client.scheduler_info()["workers"])
    assert not (tmp_path / "out").exists()


def test_a_worker_that_cannot_read_the_input_is_named(
    client: Client, table: Path, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(daskbatch.UsageError, match=r"/proc/self/cwd/in\.csv"):
        daskbatch.run(
            script(SCRIPT), "/proc/self/cwd/in.csv", output=tmp_path / "out", client=client, progress=False, **OPTIONS
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("by_file", [False, True], ids=["address", "file"])
def test_a_scheduler_that_does_not_answer(
    by_file: bool, table: Path, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an address on which nobody listens
    monkeypatch.setattr(existing_cluster, "_CONNECT_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    scheduler: Any = address
    if by_file:
        scheduler = tmp_path / "scheduler.json"
        scheduler.write_text(json.dumps({"address": address}))
    # When a run is to use it, then it says so and has begun nothing
    with pytest.raises(daskbatch.UsageError, match="no Dask scheduler answers"):
        daskbatch.run(script(SCRIPT), table, output=tmp_path / "out", scheduler=scheduler, progress=False)
    assert not (tmp_path / "out").exists()


def test_nodes_that_are_not_there_are_said_once(files: Callable[[int], str], tmp_path: Path) -> None:
    # Given one node where three are asked for
    told: list[Any] = []
    options: dict[str, Any] = {"node_count": 3, "process_count_per_node": 1, "listeners": [told.append]}
    daskbatch.run(lambda paths: paths, files(4), output=tmp_path / "out", **options)
    # Then that is said, and the run goes on with what there is
    texts = [event.message for event in told if isinstance(event, Notice)]
    assert texts == ["node_count=3, but the cluster has 1 node at present"]
    assert told[-1].summary["status"] == "Completed"


TWO = """
    import logging, sys, threading
    import daskbatch, distributed

    before = logging.getLogger("distributed").level

    def one(output):
        daskbatch.run(sys.argv[1], sys.argv[2], output=output, error_threshold=0, listeners=[])

    threads = [threading.Thread(target=one, args=(output,)) for output in sys.argv[3:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(logging.getLogger("distributed").level == before)
"""


def test_runs_that_start_at_once_in_one_program(files: Callable[[int], str], tmp_path: Path) -> None:
    """Dask imports parts of itself when its first cluster starts, and its configuration is the whole process's."""
    script, program = tmp_path / "score.py", tmp_path / "program.py"
    script.write_text("def run(mini_batch):\n    return mini_batch\n")
    program.write_text(textwrap.dedent(TWO))
    outputs = [str(tmp_path / f"out{number}") for number in range(4)]
    ended = subprocess.run(
        [sys.executable, program, script, files(3), *outputs], capture_output=True, text=True, check=True
    )
    assert (ended.stderr, ended.stdout) == ("", "True\n")
    assert all(len((Path(output) / "predictions.csv").read_text().split()) == 4 for output in outputs)


def test_a_local_cluster_s_scheduler_may_say_much() -> None:
    """More than a pipe holds: Dask reads it only while the scheduler starts."""

    def noisy(dask_scheduler: Any) -> str:
        for _ in range(100):
            os.write(2, b"x" * 10_000 + b"\n")
        return "through"

    with in_processes(1, dashboard=False) as client:
        assert client.run_on_scheduler(noisy) == "through"
