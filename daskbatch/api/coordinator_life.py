"""The life of a coordinator: it gives signs of life, works, and tells how it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from daskbatch.api.documents import read_document
from daskbatch.api.run_folder import FAILED, PipelineFolder, now
from daskbatch.engine.heartbeat import EVERY, write_heartbeat
from daskbatch.engine.owner import this_process
from daskbatch.errors import TakenOver

__all__ = ["coordinate"]

Begun = Callable[[Callable[[], None]], None]


class _Heartbeat:
    """The coordinator's sign of life, in the file that its launch has made."""

    def __init__(self, path: Path) -> None:
        self._path, self._beat = path, 0
        self._over = threading.Event()
        self._me = this_process()
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
        Which coordinator of the run this is; the run has been claimed for it.
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
        The run's status; None where it was resumed meanwhile, and another one coordinates it. Steps may still be at
        work in threads then.
    """
    heartbeat = _Heartbeat(folder.coordinator(number))
    before = read_document(folder.state(number)) or {}
    try:
        # Only now, as it takes a second: until here nobody knows that the coordinator lives.
        from daskbatch.api.coordination import Coordination
        from daskbatch.api.secret_variables import with_values
        from daskbatch.api.workspace import Workspace

        document = folder.read()
        document["pipeline"] = with_values(document["pipeline"], variables)
        work = Coordination(folder, number, Workspace.from_config(folder.config), document, live or {}, log)
        if begun is not None:
            begun(work.cancel)
        return work.work(before)
    except TakenOver:
        return None
    except Exception as error:
        told = {"type": type(error).__name__, "message": str(error)}
        state = read_document(folder.state(number)) or before
        folder.write_state(number, {**state, "status": FAILED, "ended": now(), "error": told})
        raise
    finally:
        heartbeat.close()
