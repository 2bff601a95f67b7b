"""Which mini-batch has written garbage into the pipe of its runner."""

from __future__ import annotations

from typing import Any

from daskbatch.types import OPEN_END, UNKNOWN_ITEMS
from daskbatch.worker import wire
from daskbatch.worker.task_report import TaskReport

__all__ = ["author_of_garbage"]


def author_of_garbage(row: bytes, report: TaskReport, verdict: dict[str, Any]) -> dict[str, Any]:
    """Which mini-batch wrote the garbage: the one after the last answer. The runner may have gone on since.

    Returns
    -------
    dict
        What of the verdict is otherwise. In phase idle nobody is named.
    """
    batches, last = list(wire.decode_row(row)[0]), report.last
    if batches[0].stop == OPEN_END:  # where a stream ends is not known: its next mini-batch may not exist
        following = batches[0].key if last is None or last[0] != batches[0].file else (last[0], last[1] + 1)
        in_it = verdict["phase"] in ("read", "run") and following == (verdict["file"], verdict["index"])
        return {} if in_it else {"phase": "idle"}
    keys = [batch.key for batch in batches]
    position = keys.index(last) + 1 if last in keys else 0
    if position == len(batches):
        return {"phase": "idle"}
    file, index = batches[position].key
    return {"phase": "run", "file": file, "index": index, "items": UNKNOWN_ITEMS}
