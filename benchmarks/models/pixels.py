"""A cheap numpy model over pictures: the nearest of ten fixed patterns."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

PATTERNS = np.random.default_rng(0).random((10, 28 * 28))


def run(mini_batch: list[str]) -> list[dict[str, object]]:
    """Return the file's name, the class and its score for each picture."""
    pixels = np.stack([np.asarray(Image.open(path)).ravel() for path in mini_batch]) / 255
    scores = pixels @ PATTERNS.T
    best = scores.argmax(axis=1)
    return [
        {"file": os.path.basename(path), "digit": int(digit), "score": round(float(row[digit]), 6)}
        for path, digit, row in zip(mini_batch, best, scores, strict=True)
    ]
