"""What becomes of a run in this very program when the program ends."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - what it does at the end is then done after what is asked for here
import functools
import os
import threading

from daskbatch.api.run_folder import PipelineFolder
from daskbatch.report.console import in_notebook

__all__ = ["wait_at_exit"]

_LOOK_EVERY = 0.5  # seconds


def wait_at_exit(over: threading.Event, folder: PipelineFolder) -> None:
    """Have the program's end wait for a run; Ctrl-C cancels it then. A notebook's kernel cancels it at once.

    Parameters
    ----------
    over : Event
        Is set once the run has ended.
    folder : PipelineFolder
    """
    # Functions of atexit are called once the pools of concurrent.futures are closed, and no work gets done any more.
    register = getattr(threading, "_register_atexit", atexit.register)
    register(functools.partial(_wait, over, folder, os.getpid()))


def _wait(over: threading.Event, folder: PipelineFolder, program: int) -> None:
    if over.is_set() or os.getpid() != program:  # a fork inherits this, and not the run
        return
    name = folder.path.name
    try:
        if not in_notebook():
            print(f"The run {name} goes on in this program, which ends with it. Ctrl-C cancels the run.", flush=True)
            # Not the thread's join, which takes an interrupted thread for one that has ended; and not in one wait, as a
            # Ctrl-C that comes right before it begins would not be noticed until its end.
            while not over.wait(_LOOK_EVERY):
                pass
    except KeyboardInterrupt:
        print(f"Canceling the run {name}.", flush=True)
    if not over.is_set():
        folder.ask_to_cancel()
        over.wait()
