"""The program that does a pipeline's run: ``python -m daskbatch.coordinator RUN_FOLDER NUMBER``.

It has a session of its own and no need of who started it. The values of environment variables come through stdin, as
JSON, and are stored nowhere.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from daskbatch.api.coordinator_life import coordinate
from daskbatch.api.run_folder import CANCELED, COMPLETED, PipelineFolder
from daskbatch.leaving import leave_soon

__all__ = ["main"]

# Exit codes; only people who look at processes see them
DONE = 0
FAILED = 1
TAKEN_OVER = 2  # another process coordinates the run, as this one stood still


def main(arguments: list[str]) -> int:
    """Do the run, and return the exit code."""
    variables = json.load(sys.stdin)
    folder, number = PipelineFolder(Path(arguments[0])), int(arguments[1])
    status = coordinate(folder, number, variables, sys.stderr, begun=_end_on_signals)
    if status is None:
        os._exit(TAKEN_OVER)  # at once, with the steps that it still does: the other one goes on with them
    return DONE if status in (COMPLETED, CANCELED) else FAILED


def _end_on_signals(cancel: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancel())


if __name__ == "__main__":
    leave_soon()
    sys.exit(main(sys.argv[1:]))
