"""Having the engine do a step of a pipeline, with what it says in the run's log."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from daskbatch.api.execution import Call
from daskbatch.api.run import Run, run
from daskbatch.api.run_folder import FAILED
from daskbatch.engine.begin import last_life
from daskbatch.engine.folder import RunFolder
from daskbatch.errors import OutputInUse, RunChanged
from daskbatch.events import Listener
from daskbatch.report import Console, default_listeners

__all__ = ["run_step"]

Say = Callable[[str], None]


def run_step(made: Call, folder: Path, say: Say, how_to_go_on: str, *, is_first: bool, moved: bool) -> Run:
    """Run a step, or go on with it.

    Parameters
    ----------
    made : Call
    folder : Path
        The engine's output folder.
    say : callable
        Takes what the engine says, some lines at a time.
    how_to_go_on : str
        Said at the end of a step that has not completed.
    is_first : bool
        Whether no other coordinator has worked on the run.
    moved : bool
        Whether the workspace was elsewhere when the run was submitted.

    Raises
    ------
    RunChanged
        This run has begun the step with another script, option or input.
    DaskbatchError
        As `daskbatch.run`.
    """
    listeners: list[Listener] = [
        *default_listeners(str(folder), quiet=True, how_to_go_on=how_to_go_on),
        Console(_Lines(say), live=False, how_to_go_on=how_to_go_on),
    ]
    try:
        try:
            return _run(made, folder, listeners)
        except OutputInUse:
            if is_first:
                raise
            # By a coordinator of before, which stood still, and finds just now that the run is no more its own.
            return _run(made, folder, listeners)
    except RunChanged as error:
        if moved:
            say("The step was begun where the workspace was before, with other paths: it is done anew.")
            return _run(made, folder, listeners, fresh=True)
        raise RunChanged(
            f"it is not as it was when this run began with it:\n{error.changes}\nNext: submit the pipeline again, as a"
            " new run: completed steps are reused. Or put that back, and resume this run."
        ) from None


def _run(made: Call, folder: Path, listeners: list[Listener], fresh: bool = False) -> Run:
    last = last_life(RunFolder(folder)).found
    again = last is not None and last.ended == FAILED and bool(last.failed)  # the step failed, and is resumed
    again = again and not fresh
    return run(
        made.entry, made.inputs, output=folder, fresh=fresh, retry_failed=again, listeners=listeners, **made.options
    )


class _Lines(io.StringIO):
    """Hands lines on: steps may run at the same time."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def write(self, text: str) -> int:
        self._say(text)
        return len(text)
