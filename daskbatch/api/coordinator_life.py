"""The life of a coordinator: it claims a run, gives signs of life, works, and tells how it ended."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from daskbatch.api.documents import read_document
from daskbatch.api.run_folder import FAILED, PipelineFolder, now
from daskbatch.engine.heartbeat import EVERY, write_heartbeat
from daskbatch.engine.owner import this_process

__all__ = ["coordinate"]

Begun = Callable[[Callable[[], None]], None]


class _Heartbeat:
    """The coordinator's sign of life.

    Raises
    ------
    FileExistsError
        Another process has that number.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._beat = path, 0
        self._over = threading.Event()
        self._me = this_process()
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._write()
        self._thread = threading.Thread(target=self._go_on, name="daskbatch-coordinator-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def _go_on(self) -> None:
        while not self._over.wait(EVERY):
            self._write()

    def _write(self) -> None:
        self._beat += 1
        content = {**self._me, "beat": self._beat, "over": self._over.is_set(), "time": time.time()}
        try:
            write_heartbeat(self._path, content)
        except OSError:  # a full or lost disk: whoever watches sees that it stands still
            return


def coordinate(
    folder: PipelineFolder,
    number: int,
    variables: Mapping[str, Any],
    log: TextIO,
    live: Mapping[tuple[str, str], Any] | None = None,
    begun: Begun | None = None,
) -> str | None:
    """Do what is not done of a run.

    Parameters
    ----------
    folder : PipelineFolder
    number : int
        Which coordinator of the run this is.
    variables : mapping
        Values of environment variables; see `daskbatch.api.secret_variables`.
    log : file
        Takes what there is to say.
    live : mapping, optional
        Inputs that are in this program alone, by the names of step and input.
    begun : callable
        Given what ends the run when it is called.

    Returns
    -------
    str or None
        The run's status; None where another process coordinates it.
    """
    try:
        heartbeat = _Heartbeat(folder.coordinator(number))
    except FileExistsError:
        return None
    before = read_document(folder.status) or {}
    try:
        # Only now, as it takes a second: until here nobody knows that the coordinator lives.
        from daskbatch.api.coordination import Coordination
        from daskbatch.api.secret_variables import with_values
        from daskbatch.api.workspace import Workspace

        document = folder.read()
        document["pipeline"] = with_values(document["pipeline"], variables)
        work = Coordination(folder, Workspace.from_config(folder.config), document, live or {}, log)
        if begun is not None:
            begun(work.cancel)
        return work.work(before)
    except Exception as error:
        told = {"type": type(error).__name__, "message": str(error)}
        state = read_document(folder.status) or before
        folder.write_state({**state, "status": FAILED, "ended": now(), "error": told})
        raise
    finally:
        heartbeat.close()
