"""Events for programs: one JSON object a line."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import TextIO

from daskbatch.events import Event

__all__ = ["JsonLines", "event_json"]


class JsonLines:
    """A listener that writes each event as one line of JSON.

    Parameters
    ----------
    stream
        Where to; None: stdout as it is now.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = sys.stdout if stream is None else stream

    def __call__(self, event: Event) -> None:
        """Write `event`. A reader that has gone away, such as ``head``, ends the lines, not the run."""
        if self._stream is None:
            return
        try:
            self._stream.write(event_json(event) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


def event_json(event: Event) -> str:
    """``{"event": "Progress", "time": ..., ...}`` with the event's fields, in ASCII."""
    content = {field.name: getattr(event, field.name) for field in fields(event)}
    return json.dumps({"event": type(event).__name__, **content}, default=str)
