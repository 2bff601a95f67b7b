"""Which GPUs this node may use."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["visible_gpus"]

_NVIDIA = Path("/proc/driver/nvidia/gpus")


def visible_gpus() -> list[str]:
    """Indexes (or UUIDs) of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` writes them.

    ``CUDA_VISIBLE_DEVICES`` of the process decides where it is set, as in a batch job; else the NVIDIA
    driver's own list. Empty: no GPUs.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [part.strip() for part in given.split(",") if part.strip() not in ("", "-1", "NoDevFiles")]
    try:
        return [str(number) for number, _ in enumerate(sorted(_NVIDIA.iterdir()))]
    except OSError:
        return []
