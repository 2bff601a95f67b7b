"""A scheduler whose answers are late, old or do not come: no worker is taken for lost, and no run hangs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import daskbatch
from daskbatch.events import Event, Notice

SCRIPT = """
    import os
    import time
    from pathlib import Path

    notes = Path(os.environ["NOTES"])

    def run(mini_batch):
        (name,) = (os.path.basename(path) for path in mini_batch)
        with open(notes, "a") as file:
            file.write(name + "\\n")
        time.sleep(0.1)
        return [name]
"""


def test_the_clients_own_look_at_the_scheduler_makes_no_worker_lost(
    files: Callable[[int], str], script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a client whose own look, which has no workers in it, comes between the engine's and its answer
    look, looks = Client._update_scheduler_info, 0

    async def late(client: Client, n_workers: int = 0) -> None:
        nonlocal looks
        await look(client, n_workers)
        looks += n_workers == -1
        if looks > 1:
            await look(client, 0)

    monkeypatch.setattr(Client, "_update_scheduler_info", late)
    told: list[Event] = []
    with (
        LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        # When a run takes some of the engine's looks
        run = daskbatch.run(
            script(SCRIPT), files(60), output=tmp_path / "out", client=client, mini_batch_size=1, progress=False,
            environment_variables={"NOTES": str(tmp_path / "notes")}, listeners=[told.append],
        )  # fmt: skip
    # Then nothing was taken for lost, and done again
    assert [event.message for event in told if isinstance(event, Notice) and "gone" in event.message] == []
    assert set(Counter((tmp_path / "notes").read_text().split()).values()) == {1}
    assert run.summary["tries"] == 60


PRELUDE = """
from daskbatch.engine import calls, dispatch, presence, signals

calls._ANSWER_TIMEOUT = presence._END_TIMEOUT = presence._CALL_PATIENCE = 0.5
dispatch.PATIENCE_AFTER_KILL = 0.5
from daskbatch.cli import main
main()
"""


@pytest.fixture
def scheduler() -> Iterator[tuple[int, str]]:
    """A scheduler with a worker, both by themselves: the scheduler's process id and address."""
    own = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    started = [subprocess.Popen([*own, "--no-dashboard"], stderr=subprocess.PIPE, text=True)]
    try:
        assert started[0].stderr is not None
        address = next(found[0] for line in started[0].stderr if (found := re.search(r"tcp://127\.0\.0\.1:\d+", line)))
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "2"]
        started.append(subprocess.Popen([*worker, "--no-dashboard"], stderr=subprocess.DEVNULL))
        yield started[0].pid, address
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.communicate(timeout=30)


def test_signals_end_a_run_whose_scheduler_stands_still(
    scheduler: tuple[int, str], files: Callable[[int], str], script: Callable[..., str], tmp_path: Path,
    eventually: Callable[..., None],
) -> None:  # fmt: skip
    # Given a run whose scheduler is stopped in the middle
    pid, address = scheduler
    command = [sys.executable, "-c", PRELUDE, "run", script(SCRIPT), files(90), "--output", str(tmp_path / "out")]
    command += ["--mini-batch-size", "1", "--scheduler", address, "--environment-variables"]
    process = subprocess.Popen(
        [*command, f"NOTES={tmp_path / 'notes'}"], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        eventually((tmp_path / "notes").exists, "a mini-batch")
        os.kill(pid, signal.SIGSTOP)
        # When somebody insists on its end
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("interrupt again" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    finally:
        process.kill()
        process.communicate()
    # Then it comes, and the run can go on
    assert process.returncode == 130
    assert "Traceback" not in err
    assert daskbatch.status(tmp_path / "out").state == "Canceled"
