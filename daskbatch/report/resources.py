"""``logs/perf/node_resource_usage.csv``: how busy this node was."""

from __future__ import annotations

import csv
import platform
from datetime import datetime
from pathlib import Path

import psutil

from daskbatch.events import Event, Progress, RunStarted

__all__ = ["ResourceLog"]

EVERY = 5.0
"""Seconds between two samples."""
COLUMNS = (
    "time",
    "node",
    "cpu_percent",
    "memory_used_bytes",
    "memory_total_bytes",
    "disk_read_bytes",
    "disk_written_bytes",
    "network_received_bytes",
    "network_sent_bytes",
)
"""Disk and network count from the node's start."""


class ResourceLog:
    """A listener that samples the node it runs on, at Progress events.

    Parameters
    ----------
    output
        Absolute path of the output folder.
    """

    def __init__(self, output: str) -> None:
        self._path = Path(output, "logs", "perf", "node_resource_usage.csv")
        self._last = float("-inf")

    def __call__(self, event: Event) -> None:
        """Take a sample when it is time. A node that does not tell is left in peace."""
        if isinstance(event, RunStarted):
            psutil.cpu_percent()  # its first answer is 0: it tells of the time since the last call
        elif isinstance(event, Progress) and event.time - self._last >= EVERY:
            self._last = event.time
            try:
                self._append(sample(event.time))
            except (OSError, psutil.Error):
                self._last = float("inf")

    def _append(self, values: list[object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = not self._path.exists()
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(values)


def sample(time: float) -> list[object]:
    """One row of `COLUMNS`; blank where the platform does not count."""
    memory = psutil.virtual_memory()
    disk = psutil.disk_io_counters()
    network = psutil.net_io_counters()
    return [
        datetime.fromtimestamp(time).astimezone().isoformat(timespec="seconds"),
        platform.node(),
        psutil.cpu_percent(),
        memory.total - memory.available,
        memory.total,
        disk.read_bytes if disk else "",
        disk.write_bytes if disk else "",
        network.bytes_recv if network else "",
        network.bytes_sent if network else "",
    ]
