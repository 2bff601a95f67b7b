"""``failed_items.jsonl`` and ``run_summary.json``: what a program reads after the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TextIO

from daskbatch.events import Event, MiniBatchFailed, RunFinished, RunResumed
from daskbatch.layout import FAILED_ITEMS, RUN_SUMMARY, STATE_FOLDER

__all__ = ["SummaryFiles"]


# A file name that is no UTF-8 holds lone surrogates. This error handler writes them as "\udc80",
# which is just what JSON calls them.
_SURROGATES = "backslashreplace"


class SummaryFiles:
    """A listener that writes both files.

    A failure is on disk as soon as it is final, so that a run that is killed has listed it.

    Parameters
    ----------
    output
        Absolute path of the output folder.
    """

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self._output = Path(output)
        self._failed_items: TextIO | None = None

    def write_to(self, output: str) -> None:
        """Write to another folder: what mirrors an output on a store."""
        self._output = Path(output)

    def __call__(self, event: Event) -> None:
        """Write what `event` adds."""
        if isinstance(event, MiniBatchFailed):
            if self._failed_items is None:
                self._failed_items = (self._output / FAILED_ITEMS).open("a", encoding="utf-8", errors=_SURROGATES)
            self._failed_items.write(_line(event.entry))
            self._failed_items.flush()
        elif isinstance(event, RunResumed):
            self._begin_again(event)
        elif isinstance(event, RunFinished):
            self.close()
            self._write_summary(event)

    def close(self) -> None:
        """Close what is open. The end of the run does it too."""
        if self._failed_items is not None:
            self._failed_items.close()
            self._failed_items = None

    def _begin_again(self, event: RunResumed) -> None:
        """List what has failed so far: what a killed run listed may end in the middle of a line, or count no more."""
        self.close()
        path = self._output / FAILED_ITEMS
        (self._output / RUN_SUMMARY).unlink(missing_ok=True)
        if not event.failures:
            path.unlink(missing_ok=True)
            return
        temporary = self._temporary(FAILED_ITEMS)
        with temporary.open("w", encoding="utf-8", errors=_SURROGATES) as file:
            file.writelines(map(_line, event.failures))
        temporary.replace(path)

    def _temporary(self, name: str) -> Path:
        # Nobody looks there, and whoever goes on with a killed run sweeps it up.
        folder = self._output / STATE_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{name}.tmp"

    def _write_summary(self, event: RunFinished) -> None:
        """Write all of it or nothing: who finds the name finds a whole file."""
        temporary = self._temporary(RUN_SUMMARY)
        with temporary.open("w", encoding="utf-8", errors=_SURROGATES) as file:
            json.dump(event.summary, file, indent=2, ensure_ascii=False, default=str)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._output / RUN_SUMMARY)


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, default=str) + "\n"
