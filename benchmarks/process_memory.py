"""Memory of a process and all below it, looked at from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["MIB", "Peaks", "resident", "watched"]

MIB = 1 << 20


def resident(process: psutil.Process) -> int:
    """Return the high-water mark in bytes; the present value where there is none."""
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return int(process.memory_info().rss)


def _present(process: psutil.Process) -> int:
    """Return the resident memory in bytes; 0 of a process that has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _is_copy(child: psutil.Process, of: psutil.Process) -> bool:
    """Whether a child has been forked and is not yet its own program: its memory is its parent's, counted there."""
    try:
        return bool(child.cmdline() == of.cmdline())
    except psutil.Error:
        return False


@dataclass
class Peaks:
    """What was seen of a process tree, in bytes."""

    client: int = 0
    """High-water mark of the process that was started: of daskbatch it has client, scheduler and workers in it."""
    child: int = 0
    """High-water mark of the largest child."""
    total: int = 0
    """Largest sum of resident memory over the client and all children at one moment. Shared pages count twice."""
    children: set[int] = field(default_factory=set)
    last: list[psutil.Process] = field(default_factory=list)
    """The children of the last sample."""
    marks: dict[int, int] = field(default_factory=dict)
    """Process to its high-water mark."""

    @property
    def summed(self) -> int:
        """The high-water marks of all processes, the client's too, as if all had come at one moment."""
        return sum(self.marks.values())

    def look(self, client: psutil.Process, marks: bool = True) -> None:
        """Take one sample; without `marks` of the sum alone, which asks less of the machine."""
        try:
            self.last = children = client.children(recursive=True)
            self.total = max(self.total, sum(_present(process) for process in [client, *children]))
            if marks:
                children = [child for child in children if not _is_copy(child, client)]
                for process in [client, *children]:
                    self.marks[process.pid] = max(self.marks.get(process.pid, 0), resident(process))
                self.client = self.marks[client.pid]
                self.children |= {child.pid for child in children}
                self.child = max([self.child, *(self.marks[child.pid] for child in children)])
        except psutil.Error:
            return  # a process has ended between the list and the look


@contextmanager
def watched(pid: int, interval: float = 0.1) -> Iterator[Peaks]:
    """Sample the sum over a process and all below it every `interval` seconds, in a thread of its own."""
    peaks, over, process = Peaks(), threading.Event(), psutil.Process(pid)

    def look() -> None:
        while True:
            peaks.look(process, marks=False)
            if over.wait(interval):
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()
