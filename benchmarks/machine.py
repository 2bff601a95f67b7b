"""The machine that a session of benchmarks ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

__all__ = ["machine"]


def machine() -> dict[str, str]:
    """Return what a reader needs to know of it."""
    return {
        "CPU": _cpu(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _cpu() -> str:
    """Return the model's name, with family, model and clock where the name says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = told.get("model name") or platform.machine()
    more = [f"{key} {told[key]}" for key in ("cpu family", "model", "cpu MHz") if key in told]
    return f"{name} ({', '.join(more)})" if more else name
