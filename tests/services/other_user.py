"""What another user of the same host can do: connect to our sockets, talk to what listens there, read our files.

`listening` finds the sockets of processes and their descendants; `attack` tries each as that user; `readable` tries
files. `Unavailable` is raised where we cannot become another user.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["HTTP_PATHS", "Answer", "Unavailable", "as_user", "attack", "family", "listening", "readable"]

OTHER = "nobody"
ATTACK = Path(__file__).with_name("other_user_attack.py")
IMPORTS = "import distributed; from distributed.security import Security; Security.temporary()"
HTTP_PATHS = (
    "/",
    "/status",
    "/health",
    "/metrics",
    "/sitemap.json",
    "/json/identity.json",
    "/json/counts.json",
    "/info/main/workers.html",
    "/info/main/logs.html",
    "/api/v1/get_workers",
)
"""What Dask's own HTTP servers answer."""


class Unavailable(Exception):
    """Raised where a test cannot become another user; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try."""

    address: str
    """Such as ``tcp://127.0.0.1:8786`` or ``unix:/tmp/socket``."""
    way: str
    """What was tried: ``connect``, ``http /status``, ``tcp identity``, ``tls+ca run`` and so on."""
    open: bool
    """Whether something was read or executed; for ``connect``, whether the connection was taken."""
    said: str
    """The beginning of what was read, or why not."""


def as_user(code: str, *arguments: str, first: str = "", user: str = OTHER, timeout: float = 120.0) -> str:
    """Run Python code as another user, without our groups, environment and files; what it prints.

    Parameters
    ----------
    code, arguments
        The program, and its ``sys.argv[1:]``.
    first
        Imports that are done before: the other user may be unable to read our packages.
    timeout
        Seconds that it may take.

    Raises
    ------
    Unavailable
        Where we are not root, or there is no such user.
    RuntimeError
        Where the code fails.
    """
    if os.getuid() != 0:
        raise Unavailable(f"only root becomes another user ({user})")
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise Unavailable(f"there is no user {user}") from error
    drop = f"import os\nos.setgroups([])\nos.setgid({entry.pw_gid})\nos.setuid({entry.pw_uid})\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\n{drop}exec({code!r})", *arguments],
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LANG": "C.UTF-8"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if done.returncode:
        raise RuntimeError(f"as {user}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def family(pids: Iterable[int]) -> set[psutil.Process]:
    """These processes and their descendants, as far as they live."""
    found: set[psutil.Process] = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found.update([process, *process.children(recursive=True)])
    return found


def listening(pids: Iterable[int]) -> dict[str, int]:
    """All sockets on which these processes or their descendants take connections, and who does.

    Returns
    -------
    dict
        From addresses, such as ``tcp://0.0.0.0:8787``, ``tcp://[::1]:22``, ``unix:/path`` or ``unix:@abstract``, to
        a process's number.
    """
    unix = _listening_unix()
    found: dict[str, int] = {}
    for process in family(pids):
        with contextlib.suppress(psutil.Error, OSError):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    host = f"[{connection.laddr.ip}]" if ":" in connection.laddr.ip else connection.laddr.ip
                    found[f"tcp://{host}:{connection.laddr.port}"] = process.pid
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(descriptor)
                    if target in unix:
                        found[f"unix:{unix[target]}"] = process.pid
    return found


def _listening_unix() -> dict[str, str]:
    """Names of the unix sockets of this host that take connections, by what /proc says of a descriptor."""
    found = {}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *name = line.split(maxsplit=7)
        if int(flags, 16) & 0x10000 and name:  # __SO_ACCEPTCON
            found[f"socket:[{inode}]"] = name[0]
    return found


def attack(addresses: Iterable[str], user: str = OTHER, paths: Sequence[str] = HTTP_PATHS) -> list[Answer]:
    """Try addresses of `listening` as another user who has no credentials, or who has made his own.

    Each is connected to, asked for `paths` by HTTP and HTTPS, and spoken to as Dask's scheduler and workers are: over
    ``tcp://``, over ``tls://`` without a certificate (``tls``) and with one of another authority (``tls+own``), for
    its identity and to run a function, which tells the number of the user that it runs as.

    Raises
    ------
    Unavailable
        Where we cannot become that user.
    """
    question = json.dumps({"addresses": list(addresses), "paths": list(paths)})
    answers = as_user(ATTACK.read_text(), question, first=IMPORTS, user=user, timeout=600.0)
    return [Answer(*answer) for answer in json.loads(answers.splitlines()[-1])]


def readable(paths: Iterable[Path | str], user: str = OTHER) -> list[str]:
    """Those of the files, and of all files below the folders, of which another user can read a byte.

    We list the folders ourselves: he may guess names that he cannot list.
    """
    files = []
    for path in map(Path, paths):
        files += [str(path), *(map(str, path.rglob("*")) if path.is_dir() else ())]
    code = """
import json, os, sys
found = []
for path in json.loads(sys.argv[1]):
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            with open(path, "rb") as file:
                file.read(1)
        found.append(path)
    except OSError:
        continue
print(json.dumps(found))
"""
    found: list[str] = json.loads(as_user(code, json.dumps(files), first="import json, os, sys", user=user))
    return found
