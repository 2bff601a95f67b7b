"""Which GPUs this node may use, and which of them is a slot's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["gpu_variables", "visible_gpus"]

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_NONE = ("", "-1", "NoDevFiles")


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Indexes (or UUIDs) of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` writes them.

    ``CUDA_VISIBLE_DEVICES`` of the process decides where it is set, as in a batch job; else the NVIDIA
    driver's own list. Empty: no GPUs.
    """
    given = _listed(environment, "CUDA_VISIBLE_DEVICES")
    if given is not None:
        return given
    try:
        return [str(number) for number, _ in enumerate(sorted(_NVIDIA.iterdir()))]
    except OSError:
        return []


def gpu_variables(number: int, shared: bool, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that leave one GPU to a slot.

    AMD's come in two layers: ``HIP_VISIBLE_DEVICES`` counts within ``ROCR_VISIBLE_DEVICES``, which stays as the job has
    it, and goes before ``CUDA_VISIBLE_DEVICES``, which some queues set beside it.

    >>> gpu_variables(1, False, {"CUDA_VISIBLE_DEVICES": "3,5"})
    {'CUDA_VISIBLE_DEVICES': '5'}
    >>> gpu_variables(1, False, {"CUDA_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": "3,5"})
    {'HIP_VISIBLE_DEVICES': '1'}

    Parameters
    ----------
    number : int
        Of the slot, among all that share the GPUs.
    shared : bool
        Several workers share them. Then each takes them in the same order: some clusters turn the list from worker to
        worker.
    environment : mapping
        Of the worker.
    """
    own = {"CUDA_VISIBLE_DEVICES": visible_gpus(environment)}
    hip, rocr = (_listed(environment, name) for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"))
    own["HIP_VISIBLE_DEVICES"] = list(map(str, range(len(rocr or ())))) if hip is None else hip
    return {
        name: (sorted(gpus, key=_order) if shared else gpus)[number % len(gpus)] for name, gpus in own.items() if gpus
    }


def _listed(environment: Mapping[str, str], name: str) -> list[str] | None:
    given = environment.get(name)
    if given is None:
        return None
    return [part.strip() for part in given.split(",") if part.strip() not in _NONE]


def _order(gpu: str) -> tuple[int, str]:
    return (int(gpu), "") if gpu.isdecimal() else (0, gpu)
