"""A cheap numpy model over pictures: the nearest of ten fixed patterns."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image

PATTERNS = np.random.default_rng(0).random((10, 28 * 28))


def score(paths: list[str], pictures: Any) -> list[dict[str, object]]:
    """Return the file's name, the class and its score for each picture of an array."""
    scores = pictures.reshape(len(paths), -1) / 255 @ PATTERNS.T
    best = scores.argmax(axis=1)
    return [
        {"file": os.path.basename(path), "digit": int(digit), "score": round(float(row[digit]), 6)}
        for path, digit, row in zip(paths, best, scores, strict=True)
    ]


def run(mini_batch: list[str]) -> list[dict[str, object]]:
    """Read the pictures and score them."""
    return score(mini_batch, np.stack([np.asarray(Image.open(path)) for path in mini_batch]))
