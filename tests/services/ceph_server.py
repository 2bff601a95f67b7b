"""Ceph's RADOS gateway, a production S3 server, started from Debian's packages with all its data in memory.

One monitor, one object store daemon and one gateway on ports that are free, below a folder of their own.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from debian_packages import Unavailable, have_programs
from s3_server import S3Server, free_port

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
PACKAGES = ("ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd", "radosgw")
KEY, SECRET = "cephtests", "cephtestssecret"

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon allow pool delete = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = {bytes}
mon data = {folder}/mon
osd data = {folder}/osd
log file = {folder}/$name.log
admin socket =
pid file =
run dir = {folder}
crash dir = {folder}/crash
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
rgw bucket default quota max objects = -1
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 2
"""


@contextlib.contextmanager
def ceph_server(timeout: float = 120.0, gib: int = 8) -> Iterator[S3Server]:
    """Run Ceph while the context lasts, then stop it and remove its folder.

    Parameters
    ----------
    timeout
        Seconds that the start may take.
    gib
        What it can hold; a full one does not answer.

    Raises
    ------
    Unavailable
        Where it cannot be installed or does not come up.
    """
    have_programs("Ceph", PROGRAMS, PACKAGES)
    folder = Path(tempfile.mkdtemp(prefix="ceph-"))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield _start(folder, processes, time.monotonic() + timeout, gib)
    finally:
        for process in reversed(processes):
            process.kill()  # its data is in memory: there is nothing to save
        for process in processes:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, processes: list[subprocess.Popen[bytes]], end: float, gib: int) -> S3Server:
    fsid, osd_id, mon_port, port = str(uuid.uuid4()), str(uuid.uuid4()), free_port(), free_port()
    for name in ("mon", "osd", "rgw", "crash"):
        (folder / name).mkdir()
    conf = folder / "ceph.conf"
    conf.write_text(CONFIGURATION.format(fsid=fsid, folder=folder, mon_port=mon_port, port=port, bytes=gib * 2**30))

    def done(*command: str) -> None:
        try:
            ended = subprocess.run(
                [*command, "-c", str(conf)],
                capture_output=True,
                text=True,
                check=False,
                timeout=max(1.0, end - time.monotonic()),
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{command[0]} did not end in time") from error
        if ended.returncode:
            raise Unavailable(f"{' '.join(command[:2])} failed: {ended.stderr.strip()[-300:]}")

    def started(*command: str) -> None:
        with (folder / f"{command[0]}.out").open("wb") as out:
            # Where the tests are killed, nobody else would end it.
            bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            processes.append(subprocess.Popen([*bound, *command, "-f", "-c", str(conf)], stdout=out, stderr=out))

    monmap = str(folder / "monmap")
    done("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", "--fsid", fsid, monmap)
    done("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
    started("ceph-mon", "-i", "a")
    done("ceph", "osd", "new", osd_id)
    done("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
    # By hand: an osd that does it at its start ends with "wrong fsid" where it is quicker than the monitor's map.
    done("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
    started("ceph-osd", "-i", "0")
    user = ("--uid", "tests", "--display-name", "tests", "--access-key", KEY, "--secret-key", SECRET)
    done("radosgw-admin", "user", "create", *user)
    started("radosgw", "-n", "client.admin")
    endpoint = f"http://127.0.0.1:{port}"
    while not _answers(endpoint) or processes[-1].poll() is not None:
        if time.monotonic() > end or processes[-1].poll() is not None:
            raise Unavailable(f"radosgw does not answer: {(folder / 'radosgw.out').read_text()[-300:]}")
        time.sleep(0.1)
    return S3Server("ceph", endpoint, KEY, SECRET)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


if __name__ == "__main__":
    with ceph_server() as server:
        print(f"AWS_ACCESS_KEY_ID={server.key} AWS_SECRET_ACCESS_KEY={server.secret} endpoint_url={server.endpoint}")
        print("Enter ends it.", flush=True)
        sys.stdin.readline()
