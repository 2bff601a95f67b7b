"""Who an engine is, and whether it can be known to be gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

__all__ = ["is_gone", "is_this_process", "this_process"]

_SAME_START = 1.0  # seconds; clocks that are set move a process's start a little


def this_process() -> dict[str, Any]:
    """What tells this process from any other, on any host."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "place": _place(),
    }


def is_this_process(owner: Mapping[str, Any]) -> bool:
    """Whether the owner is the process that asks."""
    return owner["pid"] == os.getpid() and owner["place"] == _place() and not is_gone(owner)


def is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether the owner certainly runs no more. False where only its heartbeat can tell, as on another host."""
    if owner["place"] != _place():
        return False
    try:
        process = psutil.Process(owner["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(process.create_time() - owner["started"]) > _SAME_START)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _place() -> str:
    """Where process numbers mean the same: one boot of one machine, and one container there."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # macOS
        parts.append(f"{psutil.boot_time():.0f}")
    return " ".join(parts)
