"""Who an engine is, and whether it can be known to be gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

__all__ = ["is_gone", "is_here", "this_process"]

_MACHINE = Path("/etc/machine-id")
_SAME_START = 1.0  # seconds; where it comes from the wall clock, one that is set moves it a little


def this_process(child: int | None = None) -> dict[str, Any]:
    """What tells this process from any other, on any host.

    Parameters
    ----------
    child : int, optional
        Process id of a child that nobody has waited for yet: what tells that one.
    """
    pid = os.getpid() if child is None else child
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": _started(pid),
        "place": _place(),
    }


def is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether the owner certainly runs no more. False where only its heartbeat can tell, as on another host."""
    if owner["place"] != _place():
        return _is_of_another_boot(owner["place"])
    try:
        if psutil.Process(owner["pid"]).status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(_started(owner["pid"]) - owner["started"]) > _SAME_START)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def is_here(owner: Mapping[str, Any]) -> bool:
    """Whether the owner is, or was, where this process is: `is_gone` is then the answer."""
    return bool(owner["place"] == _place())


def _is_of_another_boot(place: str) -> bool:
    """Whether that is this very machine, which was started anew since; where it has a name that no other has."""
    match place.split(), _place().split():
        case [there_host, there_boot, _, there_machine], [host, boot, _, machine]:
            return (there_host, there_machine) == (host, machine) and there_boot != boot
    return False


def _started(pid: int) -> float:
    """When a process has started, in seconds; on Linux since the boot, so that no clock that is set moves it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:  # macOS, or it is gone
        return psutil.Process(pid).create_time()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _place() -> str:
    """Where process numbers mean the same: one boot of one machine, and one container there."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
        parts += _MACHINE.read_text().split()[:1] if _MACHINE.is_file() else []
    except OSError:  # macOS
        parts.append(f"{psutil.boot_time():.0f}")
    return " ".join(parts)
