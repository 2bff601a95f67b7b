"""Runs on hosts over SSH: a real OpenSSH server, two of whose sessions are two hosts."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from lives import kill, wait_for
from other_user import listening
from s3_server import free_port
from ssh_server import SSHServer

import daskbatch

pytest_plugins = ["ssh_services"]

SCRIPT = """
    import os, sys, time
    from pathlib import Path
    def run(mini_batch):
        name = Path(mini_batch[0]).name
        with open(sys.argv[1], "a") as file:
            file.write(name + chr(10))
        time.sleep(float(sys.argv[2]))
        return [f"{name},{len(name) * 3}"]
"""


class Work:
    """A script that notes what it runs, files for it, and two hosts."""

    def __init__(self, folder: Path, ssh: SSHServer, count: int, seconds: float) -> None:
        self.folder, self.ssh = folder, ssh
        self.script, self.inputs, self.output = folder / "score.py", folder / "in", folder / "out"
        self.notes = folder / "runs"
        self.script.write_text(textwrap.dedent(SCRIPT))
        self.inputs.mkdir()
        for number in range(count):
            (self.inputs / f"f{number:03d}.txt").write_text(str(number))
        self.arguments = [str(self.notes), str(seconds)]
        self.target: dict[str, Any] = {
            "type": "ssh", "name": "tests", "hosts": ["127.0.0.1", "127.0.0.1"], "process_count_per_node": 1,
            "connect_options": ssh.connect_options, "worker_options": {"memory_limit": "1GB"},
        }  # fmt: skip

    def run(self, **options: Any) -> daskbatch.Run:
        given: dict[str, Any] = {
            "output": self.output, "mini_batch_size": 1, "progress": False, "task_seconds": 0.5, "error_threshold": 0,
            "arguments": self.arguments, "compute": self.target,
        }  # fmt: skip
        return daskbatch.run(str(self.script), str(self.inputs), **{**given, **options})

    def command(self, *options: str) -> subprocess.Popen[bytes]:
        file = self.folder / "hosts.json"
        file.write_text(json.dumps(self.target))
        where = ["--output", str(self.output), "--compute", str(file), "--mini-batch-size", "1", "--quiet"]
        command = [sys.executable, "-m", "daskbatch", "run", str(self.script), str(self.inputs), *where, *options]
        return subprocess.Popen([*command, "--", *self.arguments])

    def oracle(self) -> bytes:
        made = self.run(output=self.folder / "oracle", arguments=[self.arguments[0], "0"], compute="serial")
        assert made.output_file is not None
        return made.output_file.read_bytes()

    def result(self) -> bytes:
        return (self.output / "predictions.csv").read_bytes()

    def begun(self) -> int:
        return len(self.notes.read_text().splitlines()) if self.notes.exists() else 0

    def programs(self) -> dict[psutil.Process, list[str]]:
        """What runs on the hosts, and the command line of each."""
        found = {}
        for process in self.ssh.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() != "sshd":
                    found[process] = process.cmdline()
        return found

    def workers(self) -> list[psutil.Process]:
        return [process for process, words in self.programs().items() if "daskbatch.cluster.ssh_worker" in words]

    def nothing_left(self) -> None:
        """No process of a session on any host."""
        wait_for(lambda: not self.programs(), "the end of all processes")


def is_closed_to_strangers(port: int) -> bool:
    """Whether a TLS client without a certificate is told nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        try:
            with context.wrap_socket(plain) as tls:
                return tls.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return True


@pytest.fixture
def work(ssh: SSHServer, tmp_path: Path) -> Work:
    return Work(tmp_path, ssh, 30, 0.1)


def test_a_worker_and_a_connection_that_are_lost(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(work.run, min_nodes=2, progress=True)
        wait_for(lambda: work.begun() > 3 or run.done(), "mini-batches")
        workers = work.workers()
        assert len(workers) == 2
        # Then what others may see has no key in it
        for process, words in work.programs().items():
            with contextlib.suppress(psutil.NoSuchProcess):
                words += process.environ().values()
            assert not any("PRIVATE KEY" in text or "CERTIFICATE" in text for text in words)
        # Then they listen at one port each, and only to who has the run's certificate
        for worker in workers:
            (port,) = {int(address.rpartition(":")[2]) for address in listening([worker.pid])}
            assert is_closed_to_strangers(port)
        # When one is killed, and the connection to the other host breaks
        session = workers[1].parent()
        assert session is not None
        kill(workers[0].pid)
        wait_for(lambda: work.begun() > 10 or run.done(), "mini-batches")
        kill(session.pid)
        finished = run.result()
    # Then others are started, and no mini-batch has spent a try
    told = capsys.readouterr().err
    assert "its process was ended by SIGKILL; another one is started" in told
    assert "its process is out of reach: the connection is lost; another one is started" in told
    assert work.result() == work.oracle()
    assert finished.summary["tries"] == 30
    hosts = {"reached": 2, "left_out": 0, "workers_started": 4, "workers_replaced": 2}
    assert finished.summary["hosts"] == hosts
    # Then no credentials are in any file of the run
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in work.output.rglob("*") if path.is_file())
    work.nothing_left()


def test_a_host_that_cannot_be_reached_is_left_out(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a host that has no SSH server, one that is in no file of known hosts, and one that need not be
    nobody = {**work.ssh.connect_options, "port": free_port()}
    stranger = {**work.ssh.connect_options, "known_hosts": os.devnull}
    target = {
        **work.target,
        "hosts": ["127.0.0.1"] * 3,
        "connect_options": [nobody, stranger, {**work.ssh.connect_options, "known_hosts": None}],
    }
    # When one of them is enough
    finished = work.run(compute=target, node_count=1, progress=True, arguments=[work.arguments[0], "0"])
    # Then the next one steps in for each that cannot be used
    told = capsys.readouterr().err
    assert f"host 127.0.0.1:{nobody['port']} cannot be reached" in told
    assert "Next: see that 'ssh 127.0.0.1' works from here" in told
    assert "as known_hosts of connect_options" in told
    assert f"host 127.0.0.1:{work.ssh.port} need not prove who it is" in told
    assert (finished.summary["hosts"]["reached"], finished.summary["hosts"]["left_out"]) == (1, 2)
    assert work.result() == work.oracle()
    # When nobody else is there, or too few are
    with pytest.raises(daskbatch.UsageError, match=r"no host of compute='tests' can be used.\n.*Next: see that 'ssh"):
        work.run(compute={**target, "hosts": ["127.0.0.1"], "connect_options": [nobody]}, output=work.folder / "b")
    assert not (work.folder / "b").exists()
    with pytest.raises(daskbatch.RunFailed, match=r"1 of min_nodes=2 hosts are left; left out: host 127"):
        work.run(compute={**target, "hosts": ["127.0.0.1"] * 2, "connect_options": [nobody, work.ssh.connect_options]},
                 min_nodes=2, output=work.folder / "c")  # fmt: skip
    work.nothing_left()


def test_a_python_that_cannot_do_it(work: Work) -> None:
    with pytest.raises(daskbatch.RunFailed, match=r"(?s)no host is left.*status 127.*Next: name a Python 3.11"):
        work.run(compute={**work.target, "remote_python": "/no/python"})
    work.nothing_left()


def test_a_client_that_is_killed_and_resumed(work: Work) -> None:
    with work.command() as client:
        wait_for(lambda: work.begun() > 3, "mini-batches", client)
        assert work.workers()
        kill(client.pid)
    work.nothing_left()
    done = subprocess.run([sys.executable, "-m", "daskbatch", "resume", str(work.output), "--quiet"], check=False)
    assert done.returncode == 0
    assert work.result() == work.oracle()
    work.nothing_left()
