"""Spins for 20 ms; one mini-batch in a hundred then fails, at every try, as ``FAILURE`` says.

``init()`` takes 0.2 s. The file's name is the mini-batch's number. A failing one has done its work when it fails: the
worst case.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

EVERY = 100
HOW = os.environ.get("FAILURE", "")
INIT_SECONDS, RUN_SECONDS = 0.2, 0.02


def init() -> None:
    """Stand for a model that is loaded."""
    time.sleep(INIT_SECONDS)


def run(mini_batch: list[str]) -> list[int]:
    """Return one number an item."""
    end = time.process_time() + RUN_SECONDS
    while time.process_time() < end:
        pass
    if int(Path(mini_batch[0]).stem) % EVERY == EVERY // 2:
        if HOW == "raise":
            raise ValueError("one in a hundred")
        if HOW == "hang":
            time.sleep(3600)
        if HOW == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
    return [0] * len(mini_batch)
