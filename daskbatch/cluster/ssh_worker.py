"""The program that is a Dask worker on a host that was reached over SSH. It ends with its client, however that went.

Its standard input has the run's credentials, in one line, and stays open as long as the client is there.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from daskbatch import __version__
from daskbatch.cluster.worker_config import WORKER_CONFIG

__all__ = ["REFUSED", "main", "message"]

REFUSED = 78
"""Exit status: no worker can do this run here; the last line that is printed says why. Python's own ends with 2."""

_DEATH_TIMEOUT = 60  # seconds that a worker looks for a scheduler
_PATIENCE = 5.0  # seconds for an orderly end
_NO_HTTP = "daskbatch.cluster.no_http"
_CREDENTIALS = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")


def message(security: Any, needed: Sequence[str], same_python: bool) -> str:
    """What the program reads, in one line.

    Parameters
    ----------
    security : Security
        With the credentials themselves.
    needed : sequence of str
        Paths that must be there.
    same_python : bool
        Whether functions travel, which takes the same minor version of Python.
    """
    content = {
        "version": __version__,
        "python": _python() if same_python else None,
        "needed": list(needed),
        "credentials": {name: getattr(security, name) for name in _CREDENTIALS},
    }
    return json.dumps(content) + "\n"


def main(arguments: Sequence[str]) -> None:
    """``SCHEDULER NAME [OPTIONS]``: an address, the worker's name, and options of `distributed.Worker` as JSON."""
    scheduler, name, *rest = arguments
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit("the client is gone")
    given = json.loads(line)
    problem = _problem(given)
    if problem:
        _refuse(problem)
    asyncio.run(_work(scheduler, name, json.loads(rest[0]) if rest else {}, given["credentials"]))


def _refuse(why: str) -> NoReturn:
    print(why, file=sys.stderr, flush=True)
    sys.exit(REFUSED)


def _problem(given: Mapping[str, Any]) -> str:
    """Why no worker here can do the run; empty where it can."""
    if given["version"] != __version__:
        return f"it has daskbatch {__version__}, the client {given['version']}. Next: install the same version there"
    if given["python"] not in (None, _python()):
        return (
            f"it runs Python {_python()}, the client {given['python']}: a function or class cannot travel between them."
            " Next: put it into an entry script, or name the same Python as remote_python"
        )
    for path in given["needed"]:
        if not os.path.exists(path):
            return f"it does not see {path!r}. Next: use folders that all hosts see, or an output and inputs on a store"
    return ""


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


async def _work(scheduler: str, name: str, options: Mapping[str, Any], credentials: Mapping[str, str]) -> None:
    import dask
    from distributed import Worker
    from distributed.security import Security

    dask.config.set(WORKER_CONFIG)
    preload = dask.config.get("distributed.worker.preload")
    worker = Worker(
        scheduler,
        **{"death_timeout": _DEATH_TIMEOUT, **options},
        name=name,
        security=Security(require_encryption=True, **credentials),
        protocol="tls",
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        # First of the preloads, so that no page is ever answered.
        preload=[_NO_HTTP, *([preload] if isinstance(preload, str) else preload)],
    )
    loop = asyncio.get_running_loop()
    # From a thread: what a task does may hold up the loop.
    threading.Thread(target=_end_with_client, args=(loop, worker), name="daskbatch-client-watch", daemon=True).start()
    try:
        await worker
    except TimeoutError:
        _refuse(
            f"no scheduler answers at {scheduler} within {worker.death_timeout:g} s. Next: open the way to it, or give"
            " host, interface, port or contact_address in scheduler_options"
        )
    await worker.finished()


def _end_with_client(loop: asyncio.AbstractEventLoop, worker: Any) -> None:
    while os.read(sys.stdin.fileno(), 1):  # unbuffered: a thread inside a buffer stops Python's own end
        pass
    asyncio.run_coroutine_threadsafe(worker.close(reason="its client is gone"), loop)
    time.sleep(_PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
