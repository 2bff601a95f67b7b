"""What a person sees while it runs: a live bar, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from typing import Any, TextIO

from daskbatch.events import (
    AttemptFailed,
    Event,
    Notice,
    Planned,
    Progress,
    RunFinished,
    RunResumed,
    RunReused,
    RunStarted,
    RunTakenOver,
)
from daskbatch.report.words import (
    attempt_text,
    duration,
    ending_text,
    planned_text,
    quantity,
    resumed_text,
    reused_text,
)

__all__ = ["Console", "in_notebook", "write_line"]

EVERY = 5.0
"""Seconds between two plain lines."""
SHOWN_FAILURES = 3
"""Final failures shown with their traceback; what follows is counted."""
RATE_WINDOW = 15.0
"""Seconds over which items per second are taken: the rate of now, not of the start."""
BAR_FORMAT = "{percentage:3.0f}%|{bar}| {desc}"


class Console:
    """A listener that writes to a terminal, a notebook or a file.

    Parameters
    ----------
    stream
        Where to; None: stderr, as stdout is for results.
    live
        Whether to draw a bar; None: on a terminal and in a notebook.
    ending_traceback
        Whether to end with the traceback that stopped the run; not where an exception shows it.
    how_to_go_on
        Said at the end of a run that has not completed, in place of the commands for the output folder.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        live: bool | None = None,
        *,
        ending_traceback: bool = True,
        how_to_go_on: str | None = None,
    ) -> None:
        self._ending_traceback = ending_traceback
        self._how_to_go_on = how_to_go_on
        self._stream = sys.stderr if stream is None else stream
        self._live = (self._stream.isatty() or in_notebook()) if live is None else live
        self._bar: Any = None
        self._gone = False
        self._output = ""
        self._last_line = float("-inf")
        self._recent: deque[tuple[float, int]] = deque()
        self._final_failures = 0
        self._resumed = False
        self._shown: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Show `event`. A reader that has gone away ends the show, not the run."""
        if self._gone:
            return
        try:
            self._show(event)
        except (OSError, ValueError):  # a closed pipe, a closed file
            self._bar = None
            self._gone = True

    def _show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._output = event.output
            case Planned():
                self._write(planned_text(event))
            case Notice():
                self._write(("Warning: " if event.level == "WARNING" else "") + event.message)
            case RunResumed():
                self._resumed = True
                self._write(resumed_text(event))
            case RunReused():
                self._write(reused_text(event))
            case RunTakenOver():
                self._close_bar()
                self._write(event.message)
            case AttemptFailed(final=True):
                self._failure(event)
            case Progress():
                self._progress(event)
            case RunFinished():
                self._close_bar()
                shown = (event.traceback or "").strip() in self._shown
                with_traceback = self._ending_traceback and not shown
                self._write(
                    ending_text(event, self._output, with_traceback=with_traceback, how_to_go_on=self._how_to_go_on)
                )
            case _:
                pass

    def _failure(self, event: AttemptFailed) -> None:
        self._final_failures += 1
        if self._final_failures <= SHOWN_FAILURES:
            self._shown.add(event.traceback.strip())
            self._write(attempt_text(event))
        elif self._final_failures == SHOWN_FAILURES + 1:
            self._write("More mini-batches failed; from here on they are counted, and listed in failed_items.jsonl.")

    def _progress(self, event: Progress) -> None:
        rate = self._rate(event)
        if self._live:
            self._live = self._draw(event, rate)
        # A clock that was set back must not silence it until it has caught up.
        if not self._live and not 0 <= event.time - self._last_line < EVERY:
            self._last_line = event.time
            self._write(progress_text(event, rate))

    def _rate(self, event: Progress) -> float:
        """Items per second over the last seconds."""
        self._recent.append((event.elapsed, event.items_done))
        while len(self._recent) > 2 and event.elapsed - self._recent[0][0] > RATE_WINDOW:
            self._recent.popleft()
        if len(self._recent) == 1 and self._resumed:
            return 0.0  # what is done was done by earlier engines
        since, items = self._recent[0] if len(self._recent) > 1 else (0.0, 0)
        return (event.items_done - items) / max(event.elapsed - since, 1e-3)

    def _draw(self, event: Progress, rate: float) -> bool:
        """Whether the bar could be drawn."""
        if self._bar is None:
            self._bar = _make_bar(event.mini_batches_total, self._stream)
        if self._bar is None:
            return False
        self._bar.total = max(event.mini_batches_total, event.mini_batches_done)
        self._bar.n = event.mini_batches_done
        self._bar.set_description_str(progress_text(event, rate), refresh=False)
        self._bar.refresh()
        return True

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self._stream)  # above the bar
            return
        write_line(self._stream, text)


def write_line(stream: TextIO, text: str) -> None:
    """Write a line, though the stream's encoding may know less than a path or a traceback holds."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def progress_text(event: Progress, rate: float) -> str:
    """One line; what matters most comes first, as a narrow terminal cuts the end."""
    about = "at least " if event.total_is_least else "" if event.total_is_exact else "about "
    parts = [f"{event.mini_batches_done:,} of {about}{quantity(event.mini_batches_total, 'mini-batch')}"]
    if event.remaining is not None:
        parts.append(f"{duration(event.remaining)} left")
    parts.append(f"{rate:,.0f} items/s" if rate >= 10 else f"{rate:.1f} items/s")
    if event.mini_batches_failed or event.items_failed:
        parts.append(f"{event.mini_batches_failed:,} failed ({quantity(event.items_failed, 'item')})")
    if event.retries:
        parts.append(quantity(event.retries, "retry"))
    parts.append(quantity(event.slots, "slot"))
    return ", ".join(parts)


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel. Asks only what is imported already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _make_bar(total: int, stream: TextIO) -> Any:
    """Return a tqdm bar, or None where none can be drawn."""
    try:
        with warnings.catch_warnings():
            # tqdm tells at length that ipywidgets is missing; its plain bar does as well.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

            # A class of our own, so that the user's tqdm keeps its settings: no thread that watches
            # a bar, as Progress events come often enough.
            bar = type("ProgressBar", (tqdm,), {"monitor_interval": 0})
            return bar(total=total, file=stream, bar_format=BAR_FORMAT, dynamic_ncols=True, mininterval=0)
    except Exception:  # whatever a front end's widgets raise: the lines are as good
        return None
