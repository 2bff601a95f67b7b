"""WHO is told. Only listens to events."""

from __future__ import annotations

from daskbatch.events import Event, Listener, RunFinished, RunStarted
from daskbatch.report.console import Console
from daskbatch.report.jsonl import JsonLines
from daskbatch.report.logs import LogFiles
from daskbatch.report.resources import ResourceLog
from daskbatch.report.summary import SummaryFiles
from daskbatch.report.words import ending_text

__all__ = ["Console", "Ending", "JsonLines", "LogFiles", "ResourceLog", "SummaryFiles", "default_listeners"]


class Ending:
    """A listener that keeps what there is to say at the end."""

    def __init__(self) -> None:
        self.text: str | None = None
        """None while the run goes on."""
        self._output = ""

    def __call__(self, event: Event) -> None:
        """Keep the text when `event` is the last one."""
        if isinstance(event, RunStarted):
            self._output = event.output
        elif isinstance(event, RunFinished):
            self.text = ending_text(event, self._output)


def default_listeners(
    output: str,
    *,
    quiet: bool = False,
    json: bool = False,
    ending_traceback: bool = True,
    how_to_go_on: str | None = None,
) -> list[Listener]:
    """Return all that listen to a run, in the order in which they are told.

    Parameters
    ----------
    output
        Absolute path of the output folder. Nothing is written before the run's first event.
    quiet
        No bar and no lines.
    json
        Events go to stdout, and there is no bar either.
    ending_traceback
        Whether the console ends with the traceback that stopped the run.
    how_to_go_on
        Said at the end of a run that has not completed, in place of the commands for the output folder.
    """
    listeners: list[Listener] = [SummaryFiles(output), LogFiles(output, how_to_go_on), ResourceLog(output)]
    if json:
        listeners.append(JsonLines())
    elif not quiet:
        # Last, so that the files it names at the end are there.
        listeners.append(Console(ending_traceback=ending_traceback, how_to_go_on=how_to_go_on))
    return listeners
