"""``logs/perf``: how busy this node was, and the processes of its slots."""

from __future__ import annotations

import csv
import platform
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from daskbatch.events import Event, Progress, RunnerStarted, RunStarted

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
PROCESS_COLUMNS = ("time", "node", "process", "pid", "processes", "cpu_seconds", "memory_bytes")
"""Of a slot's whole process tree at that moment; `pid` is the tree's first process."""
_UNTOLD = (OSError, ValueError, LookupError, RuntimeError)
"""What psutil raises, besides its own errors, where a file of ``/proc`` is missing or cut down."""


class ResourceLog:
    """A listener that samples the node it runs on, at Progress events.

    Parameters
    ----------
    output
        Absolute path of the output folder.
    """

    def __init__(self, output: str) -> None:
        self._folder = Path(output, "logs", "perf")
        self._pids: dict[str, int] = {}
        self._last = float("-inf")
        self._given_up = False

    def write_to(self, output: str) -> None:
        """Write to another folder: what mirrors an output on a store."""
        self._folder = Path(output, "logs", "perf")

    def __call__(self, event: Event) -> None:
        """Take a sample when it is time. A node that does not tell is left in peace."""
        if isinstance(event, RunStarted):
            _counted(psutil.cpu_percent)  # its first answer is 0: it tells of the time since the last call
        elif isinstance(event, Progress) and not self._given_up:
            if 0 <= event.time - self._last < EVERY:  # below 0: the clock was set back
                return
            self._last = event.time
            try:
                self._append("node_resource_usage.csv", COLUMNS, [sample(event.time)])
                rows = [sample_of_process(event.time, process, pid) for process, pid in sorted(self._pids.items())]
                self._append("processes_resource_usage.csv", PROCESS_COLUMNS, [row for row in rows if row])
            except (*_UNTOLD, psutil.Error):
                self._given_up = True
        elif isinstance(event, RunnerStarted) and event.node == platform.node():
            self._pids[event.process] = event.pid

    def _append(self, name: str, columns: tuple[str, ...], rows: list[list[object]]) -> None:
        if not rows:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(columns)
            writer.writerows(rows)


def sample(time: float) -> list[object]:
    """One row of `COLUMNS`; blank where the platform does not count."""
    memory = psutil.virtual_memory()
    busy = _counted(psutil.cpu_percent)
    disk = _counted(psutil.disk_io_counters)
    network = _counted(psutil.net_io_counters)
    return [
        datetime.fromtimestamp(time).astimezone().isoformat(timespec="seconds"),
        platform.node(),
        "" if busy is None else busy,
        memory.total - memory.available,
        memory.total,
        disk.read_bytes if disk else "",
        disk.write_bytes if disk else "",
        network.bytes_recv if network else "",
        network.bytes_sent if network else "",
    ]


def _counted(read: Callable[[], Any]) -> Any:
    """What psutil reads; None in a sandbox that shows less of ``/proc`` than it can make sense of."""
    try:
        return read()
    except (*_UNTOLD, psutil.Error):
        return None


def sample_of_process(time: float, process: str, pid: int) -> list[object]:
    """One row of `PROCESS_COLUMNS`; empty where the process is gone."""
    try:
        tree = [psutil.Process(pid)]
        tree += tree[0].children(recursive=True)
    except psutil.Error:
        return []
    used, seconds = 0, 0.0
    for member in tree:
        try:
            used += member.memory_info().rss
            times = member.cpu_times()
        except psutil.Error:
            continue
        seconds += times.user + times.system
    moment = datetime.fromtimestamp(time).astimezone().isoformat(timespec="seconds")
    return [moment, platform.node(), process, pid, len(tree), round(seconds, 2), used]
