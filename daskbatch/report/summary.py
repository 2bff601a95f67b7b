"""``failed_items.jsonl`` and ``run_summary.json``: what a program reads after the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO

from daskbatch.events import Event, MiniBatchFailed, RunFinished

__all__ = ["FAILED_ITEMS", "RUN_SUMMARY", "SummaryFiles"]

FAILED_ITEMS = "failed_items.jsonl"
RUN_SUMMARY = "run_summary.json"

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

    def __call__(self, event: Event) -> None:
        """Write what `event` adds."""
        if isinstance(event, MiniBatchFailed):
            if self._failed_items is None:
                self._failed_items = (self._output / FAILED_ITEMS).open("a", encoding="utf-8", errors=_SURROGATES)
            self._failed_items.write(json.dumps(event.entry, ensure_ascii=False, default=str) + "\n")
            self._failed_items.flush()
        elif isinstance(event, RunFinished):
            self.close()
            self._write_summary(event)

    def close(self) -> None:
        """Close what is open. The end of the run does it too."""
        if self._failed_items is not None:
            self._failed_items.close()
            self._failed_items = None

    def _write_summary(self, event: RunFinished) -> None:
        """Write all of it or nothing: who finds the name finds a whole file."""
        temporary = self._output / f".{RUN_SUMMARY}.writing"
        with temporary.open("w", encoding="utf-8", errors=_SURROGATES) as file:
            json.dump(event.summary, file, indent=2, ensure_ascii=False, default=str)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._output / RUN_SUMMARY)
