"""A real Slurm, from Debian's packages, below a folder of its own and on ports that are free.

One node that declares more CPUs than it has, partitions for what a user may meet, and munge beside it. It keeps no
accounting. Slurm looks for jobs past their time limit every 30 s only, so a job of one minute ends after 60 to 90 s.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from debian_packages import Unavailable, have_programs, which
from s3_server import free_port
from slurm_queue import MARK, SlurmServer

__all__ = ["Unavailable", "slurm_server"]

PROGRAMS = ("munged", "sbatch", "scancel", "scontrol", "slurmctld", "slurmd", "squeue")
PACKAGES = ("munge", "slurm-wlm")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
"""What stands for GPUs: Slurm wants devices, but only counts them."""

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost=localhost
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_delay}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PlugStackConfig=/dev/null
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
TaskProlog={folder}/task_prolog
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
DefMemPerCPU=1000
KillWait={kill_wait}
MinJobAge=300
ReturnToService=2
GresTypes=gpu
NodeName=localhost CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}
PartitionName=DEFAULT Nodes=localhost MaxTime=60 DefaultTime=1 State=UP PreemptMode=OFF
PartitionName=normal Default=YES PriorityTier=5
PartitionName=down State=DOWN PriorityTier=5
PartitionName=preemptible PreemptMode=REQUEUE PriorityTier=1
PartitionName=urgent PriorityTier=9
"""


@contextlib.contextmanager
def slurm_server(
    *,
    cpus: int = 8,
    memory: int = 64_000,
    kill_wait: int = 3,
    requeue_delay: int = 5,
    proctrack: str = "linuxproc",
    timeout: float = 60.0,
) -> Iterator[SlurmServer]:
    """Run Slurm while the context lasts, then end its jobs and daemons and remove its folder.

    Parameters
    ----------
    cpus, memory
        What the node says it has, in MiB of memory; neither need be there.
    kill_wait
        Seconds from SIGTERM to SIGKILL.
    requeue_delay
        Seconds that a requeued job waits at least.
    proctrack
        Whom a signal reaches: all descendants of a job's shell (``linuxproc``) or its process group alone (``pgid``).
        Neither finds a process in another session once its parent has died, as the ``cgroup`` of clusters does.
    timeout
        Seconds that the start may take.

    Raises
    ------
    Unavailable
        Where it cannot be installed or does not come up.
    """
    have_programs("Slurm", PROGRAMS, PACKAGES)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o711)  # munge insists that everyone can reach its socket
    server = SlurmServer(folder)
    settings = {
        "cpus": cpus, "memory": memory, "gpus": len(DEVICES), "kill_wait": kill_wait, "requeue_delay": requeue_delay,
        "proctrack": proctrack, "user": getpass.getuser(), "slurmctld_port": free_port(), "slurmd_port": free_port(),
    }  # fmt: skip
    processes: list[subprocess.Popen[bytes]] = []
    # Where the tests are killed, nobody else would end the daemons and the jobs: it reads the end of its input then.
    guard = subprocess.Popen([sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        _start(server, settings, processes, time.monotonic() + timeout)
        yield server
    finally:
        with contextlib.suppress(RuntimeError, TimeoutError):  # where it did not come up
            for job in server.queue():
                server.cancel(job.number)
                server.kill(job.number)
            server.clear(timeout=10.0)
        for process in reversed(processes):
            process.terminate()  # so that they reap their own children
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
            process.kill()
            process.wait()
        _end(server)
        guard.communicate()


def _end(server: SlurmServer) -> None:
    while left := server.processes():
        for found in left:
            with contextlib.suppress(psutil.Error):
                found.kill()
        psutil.wait_procs(left, timeout=1.0)
    shutil.rmtree(server.folder, ignore_errors=True)


def _start(
    server: SlurmServer, settings: dict[str, object], processes: list[subprocess.Popen[bytes]], end: float
) -> None:
    folder = server.folder
    for name in ("state", "spool"):
        (folder / name).mkdir()
    server.conf.write_text(CONFIGURATION.format(folder=folder, **settings))
    server.conf.chmod(0o644)
    (folder / "gres.conf").write_text("".join(f"NodeName=localhost Name=gpu File={device}\n" for device in DEVICES))
    (folder / "cgroup.conf").write_text("")
    prolog = folder / "task_prolog"
    prolog.write_text(f"#!/bin/sh\necho export SLURM_CONF={server.conf}\n")
    prolog.chmod(0o755)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))

    def started(program: str, *options: str) -> None:
        command = [str(which(program)), *options]
        environment = {**os.environ, **server.environment, MARK: str(folder)}
        with (folder / f"{program}.out").open("wb") as out:
            processes.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environment))

    files = ("key", "socket", "pid", "log", "seed")
    options = [f"--{name}{'' if name == 'socket' else '-file'}={folder}/munge.{name}" for name in files]
    started("munged", "--foreground", *options)
    _wait(folder, processes, end, (folder / "munge.socket").exists)
    started("slurmctld", "-D", "-f", str(server.conf))
    started("slurmd", "-D", "-f", str(server.conf), "-N", "localhost")
    _wait(folder, processes, end, lambda: " idle" in server.do("sinfo", "--noheader", "--format= %T"))


def _wait(folder: Path, processes: list[subprocess.Popen[bytes]], end: float, is_ready: Callable[[], bool]) -> None:
    while True:
        with contextlib.suppress(RuntimeError):  # it does not answer yet
            if is_ready():
                return
        dead = any(process.poll() is not None for process in processes)
        if dead or time.monotonic() > end:
            said = {path.name: path.read_text(errors="replace")[-400:] for path in folder.glob("*.out")}
            raise Unavailable(f"Slurm does not come up: {said}")
        time.sleep(0.05)


if __name__ == "__main__" and len(sys.argv) > 1:  # the guard
    sys.stdin.read()
    _end(SlurmServer(Path(sys.argv[1])))
elif __name__ == "__main__":
    with slurm_server() as running:
        print(f"SLURM_CONF={running.conf}")
        print("Enter ends it.", flush=True)
        sys.stdin.readline()
