"""Workers that die, stand still or arrive in the middle of a run: the result is the same, and the run ends."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from distributed import Client, LocalCluster

import daskbatch
from daskbatch.engine import dispatch, presence
from daskbatch.events import Event, RunnerStarted

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

OPTIONS: dict[str, Any] = {"mini_batch_size": 1, "append_row_file_name": "result.txt"}

# At the item named, once: the signal goes to the Dask worker, which is the parent of the supervisor above run().
SCRIPT = """
    import argparse
    import os
    import signal
    from pathlib import Path

    import psutil

    parser = argparse.ArgumentParser()
    parser.add_argument("--marker", type=Path)
    parser.add_argument("--signal", type=int)
    parser.add_argument("--at")
    options = parser.parse_args()

    def signal_the_worker():
        worker = psutil.Process(os.getppid()).parent()
        try:
            with options.marker.open("x") as file:
                file.write(str(worker.pid))
        except FileExistsError:
            return
        worker.send_signal(options.signal)
        if options.signal == signal.SIGKILL:
            signal.pause()  # and this process goes too

    def names(mini_batch):
        if isinstance(mini_batch, list):
            return [os.path.basename(path) for path in mini_batch]
        return mini_batch["id"].astype(str).tolist()

    def run(mini_batch):
        if options.at in names(mini_batch):
            signal_the_worker()
        return names(mini_batch)
"""


@pytest.fixture(autouse=True, scope="module")
def tracker_is_there() -> None:
    """Python starts it with the first process of multiprocessing, and keeps its pipe."""
    resource_tracker.ensure_running()


@pytest.fixture
def connect() -> Iterator[Callable[[int], tuple[LocalCluster, Client]]]:
    """Start that many worker processes under nannies; return cluster and client."""
    with contextlib.ExitStack() as stack:

        def start(workers: int) -> tuple[LocalCluster, Client]:
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", silence_logs=50,
                    dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0",
                )
            )  # fmt: skip
            return cluster, stack.enter_context(Client(cluster, set_as_default=False))

        yield start


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that is there once a worker was sent a signal, with its process id in it; a stopped one goes on later."""
    path = tmp_path / "marker"
    yield path
    if path.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGCONT)


@pytest.fixture
def inputs(tmp_path: Path, files: Callable[[int], str]) -> Callable[[str], tuple[str, str, dict[str, Any]]]:
    """Make an input of 40 mini-batches; return its path, an item in the middle, and its options."""

    def make(kind: str) -> tuple[str, str, dict[str, Any]]:
        if kind == "files":
            return files(40), "f17.bin", OPTIONS
        path = tmp_path / "in.csv.gz"
        path.write_bytes(gzip.compress(("id\n" + "".join(f"{number}\n" for number in range(400))).encode()))
        return str(path), "173", {**OPTIONS, "mini_batch_size": "10rows"}

    return make


def traces(client: Client) -> list[str]:
    """What of a run is left on a cluster."""

    def on_scheduler(dask_scheduler: Any) -> list[str]:
        return [*dask_scheduler.tasks, *dask_scheduler.worker_plugins, *dask_scheduler.get_events()]

    def on_worker(dask_worker: Any) -> list[str]:
        return [*dask_worker.plugins, *dask_worker.state.tasks]

    names = [
        *client.run_on_scheduler(on_scheduler),
        *(name for found in client.run(on_worker).values() for name in found),
    ]
    return [str(name) for name in names if "daskbatch" in str(name)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["files", "stream"])
def test_a_worker_is_killed(
    kind: str, workers: int, connect: Callable[[int], tuple[LocalCluster, Client]], marker: Path, tmp_path: Path,
    script: Callable[..., str], inputs: Callable[[str], Any], oracle: Callable[..., bytes],
    eventually: Callable[..., None],
) -> None:  # fmt: skip
    # Given a worker that is killed in the middle, the only one even
    _, client = connect(workers)
    where, middle, options = inputs(kind)
    options = {
        **options,
        "arguments": ["--marker", str(marker), "--signal", str(int(signal.SIGKILL)), "--at", middle],
    }
    # When the run goes on, on the other worker or on the one that its nanny starts instead
    run = daskbatch.run(script(SCRIPT), where, output=tmp_path / "out", client=client, progress=False, **options)
    # Then nothing is missing, and nothing is there twice
    assert marker.exists()  # else the oracle would send the signal to this test's parents
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(script(SCRIPT), where, **options)
    assert run.failed_items() == []
    # and nobody was charged
    assert run.summary["tries"] == 40
    # and nothing of the run is left
    eventually(lambda: traces(client) == [], "nothing of the run on the cluster")


def test_a_run_is_interrupted_while_a_worker_stands_still(
    connect: Callable[[int], tuple[LocalCluster, Client]], marker: Path, tmp_path: Path, script: Callable[..., str],
    inputs: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Given a worker that is stopped in the middle: it answers nothing, not even that it is to end
    for module, name in (
        (presence, "_CALL_PATIENCE"),
        (presence, "_END_TIMEOUT"),
        (dispatch, "GRACE_AFTER_SIGNAL"),
        (dispatch, "PATIENCE_AFTER_KILL"),
    ):
        monkeypatch.setattr(module, name, 1.0)
    _, client = connect(2)
    where, middle, options = inputs("files")
    signals: list[float] = []

    def interrupt(event: Event) -> None:
        if marker.exists() and marker.read_text() and not signals:
            signals.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    # When the run is interrupted
    with pytest.raises(daskbatch.RunCanceled):
        daskbatch.run(
            script(SCRIPT), where, output=tmp_path / "out", client=client, listeners=[interrupt],
            arguments=["--marker", str(marker), "--signal", str(int(signal.SIGSTOP)), "--at", middle],
            progress=False, **options,
        )  # fmt: skip
    # Then it ends all the same
    assert time.monotonic() - signals[0] < 30


def test_a_worker_that_comes_in_the_middle_is_used(
    connect: Callable[[int], tuple[LocalCluster, Client]], tmp_path: Path, script: Callable[..., str],
    files: Callable[[int], str],
) -> None:  # fmt: skip
    # Given a mini-batch that ends when another worker's runner has done something
    cluster, client = connect(1)
    (tmp_path / "notes").mkdir()
    entry = script("""
        import os
        import sys
        import time
        from pathlib import Path

        notes = Path(sys.argv[1])

        def run(mini_batch):
            (notes / str(os.getpid())).touch()
            while len(list(notes.iterdir())) < 2:
                time.sleep(0.01)
            return mini_batch
    """)

    def scale(event: Event) -> None:
        if isinstance(event, RunnerStarted):
            cluster.scale(2)

    # When a second worker is added in the middle
    run = daskbatch.run(
        entry, files(40), output=tmp_path / "out", client=client, listeners=[scale],
        arguments=[str(tmp_path / "notes")], run_invocation_timeout=60, run_max_try=1, progress=False, **OPTIONS,
    )  # fmt: skip
    # Then both have worked
    assert run.summary["items"] == {"total": 40, "succeeded": 40, "failed": 0}
    assert len(list((tmp_path / "notes").iterdir())) == 2


def test_a_listener_that_raises_leaves_nothing_on_a_cluster(
    connect: Callable[[int], tuple[LocalCluster, Client]], tmp_path: Path, script: Callable[..., str],
    files: Callable[[int], str], eventually: Callable[..., None],
) -> None:  # fmt: skip
    def bad(event: Event) -> None:
        if isinstance(event, RunnerStarted):
            raise RuntimeError("the listener is broken")

    # Given a cluster of the user's, and a listener that raises while mini-batches are under way
    _, client = connect(2)
    entry = script("import signal\ndef run(mini_batch):\n    signal.pause()\n")
    with pytest.raises((RuntimeError, daskbatch.RunFailed), match="the listener is broken"):
        daskbatch.run(
            entry, files(8), output=tmp_path / "out", client=client, listeners=[bad], progress=False, **OPTIONS
        )
    # Then the cluster is as it was
    eventually(lambda: traces(client) == [], "nothing of the run on the cluster")
