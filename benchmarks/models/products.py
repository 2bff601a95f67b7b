"""Products of matrices: as many threads as BLAS is told to use."""

from __future__ import annotations

from typing import Any

import numpy as np

WEIGHTS = np.random.default_rng(0).normal(size=(1200, 1200))


def run(mini_batch: Any) -> list[float]:
    """Return one number an item."""
    out = []
    for item in mini_batch["n"]:
        state = WEIGHTS
        for _ in range(4):
            state = WEIGHTS @ (state / np.abs(state).max())
        out.append(round(float(state[0, 0]) + int(item), 3))
    return out
