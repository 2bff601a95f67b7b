"""A private OpenSSH server on the loopback interface, for the present user and one key."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from debian_packages import Unavailable, have_programs, which
from s3_server import free_port

__all__ = ["SSHServer", "Unavailable", "ssh_server"]

PROGRAMS = ("ssh", "ssh-keygen", "sshd")
PACKAGES = ("openssh-client", "openssh-server")
MARK = "DASKBATCH_TEST_SSH"
"""Variable of the server and of all its sessions that tells whose they are."""

CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/sshd.pid
AllowUsers {user}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
SetEnv {mark}={folder}
"""


@dataclass(frozen=True, slots=True)
class SSHServer:
    """A server that runs, and how the present user logs in."""

    folder: Path
    port: int
    user: str
    host: str = "127.0.0.1"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def connect_options(self) -> dict[str, object]:
        """What asyncssh, and so ``distributed.SSHCluster``, takes under this name."""
        return {
            "port": self.port,
            "username": self.user,
            "client_keys": [str(self.key)],
            "known_hosts": str(self.known_hosts),
            "config": [],  # no file of the user's is read
        }

    @property
    def command(self) -> list[str]:
        """``ssh`` with all options, to which a command is added."""
        options = (f"UserKnownHostsFile={self.known_hosts}", "BatchMode=yes", "IdentitiesOnly=yes")
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", str(self.key), *flags, f"{self.user}@{self.host}"]

    def processes(self) -> set[psutil.Process]:
        """The server, its sessions and what runs in them, whoever their parents are."""
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                # sshd writes its titles over its environment, but its first process keeps its arguments.
                ours = process.name() == "sshd" and str(self.folder) in " ".join(process.cmdline())
                if ours or process.environ().get(MARK) == str(self.folder):
                    found.update([process, *process.children(recursive=True)])
        return found - {psutil.Process()}


@contextlib.contextmanager
def ssh_server(timeout: float = 30.0) -> Iterator[SSHServer]:
    """Run a server while the context lasts, then end it and its sessions, and remove its folder.

    Parameters
    ----------
    timeout
        Seconds that the start may take.

    Raises
    ------
    Unavailable
        Where it cannot be installed or does not come up.
    """
    have_programs("OpenSSH", PROGRAMS, PACKAGES)
    server = SSHServer(Path(tempfile.mkdtemp(prefix="sshd-")), free_port(), getpass.getuser())
    # Where the tests are killed, nobody else would end the sessions: it reads the end of its input then.
    command = [sys.executable, __file__, str(server.folder)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _start(server)
        _wait(server, process, time.monotonic() + timeout)
        yield server
    finally:
        _end(server)
        if process:
            process.wait()
        guard.communicate()


def _start(server: SSHServer) -> subprocess.Popen[bytes]:
    folder = server.folder
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    public = (folder / "host_key.pub").read_text()
    server.known_hosts.write_text(f"[{server.host}]:{server.port} {public}")
    conf = folder / "sshd_config"
    conf.write_text(CONFIGURATION.format(folder=folder, port=server.port, user=server.user, mark=MARK))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd drops its privileges
    with (folder / "out").open("wb") as out:
        environment = {**os.environ, MARK: str(folder)}
        arguments = [str(which("sshd")), "-D", "-e", "-f", str(conf)]  # an absolute path: sshd insists
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)


def _wait(server: SSHServer, process: subprocess.Popen[bytes], end: float) -> None:
    while subprocess.run([*server.command, "true"], capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > end:
            raise Unavailable(f"sshd does not come up: {(server.folder / 'out').read_text()[-300:]}")
        time.sleep(0.05)


def _end(server: SSHServer) -> None:
    while left := {found for found in server.processes() if found.status() != psutil.STATUS_ZOMBIE}:
        for found in left:
            with contextlib.suppress(psutil.Error):
                found.kill()
        psutil.wait_procs(left, timeout=1.0)
    shutil.rmtree(server.folder, ignore_errors=True)


if __name__ == "__main__" and len(sys.argv) > 1:  # the guard
    sys.stdin.read()
    _end(SSHServer(Path(sys.argv[1]), 0, ""))
elif __name__ == "__main__":
    with ssh_server() as running:
        print(*running.command)
        print("Enter ends it.", flush=True)
        sys.stdin.readline()
