"""Workers that the scheduler has given up, and that are still there: their late bytes change nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

import daskbatch
from daskbatch.events import Event, Notice

# In f05 it tells which worker it is on, and goes on when it may; the last one waits for what becomes of that worker.
SCRIPT = """
    import os
    import sys
    import time
    from pathlib import Path

    import psutil

    notes = Path(sys.argv[1])

    def wait_for(name):
        while not (notes / name).exists():
            time.sleep(0.01)

    def run(mini_batch):
        name = Path(mini_batch[0]).stem
        if name == "f05" and not (notes / "worker").exists():
            part = notes / "part"
            part.write_text(str(psutil.Process(os.getppid()).ppid()))
            part.rename(notes / "worker")
            wait_for("go")
        if name == "f39":
            wait_for("woken")
        return [name]
"""


class Link:
    """A TCP way to the scheduler that can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends = [self._server]
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._to)
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[LocalCluster, dict[int, Link]]]:
    """A scheduler that gives workers up after 3 s, and two workers without nannies, each with a link of its own."""
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "3s"}),
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50) as ours,
    ):
        port = int(ours.scheduler_address.rpartition(":")[2])
        links, workers = {}, []
        for number in range(2):
            link = Link("127.0.0.1", port)
            command = [sys.executable, "-m", "dask", "worker", link.address, "--no-nanny", "--nthreads", "1"]
            options = ["--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(tmp_path / f"w{number}")]
            with (tmp_path / f"worker-{number}.log").open("w") as log:
                workers.append(subprocess.Popen([*command, *options], stdout=log, stderr=log))
            links[workers[-1].pid] = link
        try:
            yield ours, links
        finally:
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGCONT)
                worker.kill()
                worker.wait()
            for link in links.values():
                link.cut()


@pytest.mark.parametrize("how", ["stopped past its time-out, then continued", "its link to the scheduler cut"])
def test_a_worker_that_was_given_up(
    how: str, cluster: tuple[LocalCluster, dict[int, Link]], tmp_path: Path, script: Callable[..., str],
    files: Callable[[int], str], oracle: Callable[..., bytes], eventually: Callable[..., None],
) -> None:  # fmt: skip
    ours, links = cluster
    notes, entry, inputs = tmp_path / "notes", script(SCRIPT), files(40)
    notes.mkdir()
    gone: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice) and "is gone" in event.message and not gone:
            gone.append(event.message)
            (notes / "go").touch()  # its runner answers now, to a worker that nobody waits for
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((notes / "worker").read_text()), signal.SIGCONT)
            (notes / "woken").touch()

    def break_it() -> None:
        eventually((notes / "worker").exists, "a mini-batch under way")
        pid = int((notes / "worker").read_text())
        if how.startswith("stopped"):
            psutil.Process(pid).suspend()
        else:
            links[pid].cut()

    # Given a run on two workers, of which one is given up in the middle
    breaker = threading.Thread(target=break_it)
    breaker.start()
    with Client(ours, set_as_default=False) as client:
        client.wait_for_workers(2)
        run = daskbatch.run(
            entry, inputs, output=tmp_path / "out", client=client, listeners=[listen], arguments=[str(notes)],
            mini_batch_size=1,
        )  # fmt: skip
    breaker.join()
    # Then what it still says changes nothing
    assert len(gone) == 1
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, inputs, mini_batch_size=1, arguments=[str(notes)])
    assert run.summary["mini_batches"] == {"total": 40, "succeeded": 40, "failed": 0}
    assert run.summary["tries"] == 40
