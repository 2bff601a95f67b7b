"""A small convolutional network in Keras over pictures; see ``data.digits_model``."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: it greets at length
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from PIL import Image

PATH = "DIGITS_MODEL"
"""Environment variable with the path of the trained model."""

_loaded: dict[str, Any] = {}


def init() -> None:
    """Load the model, with one thread: there are as many processes as cores."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _loaded["model"] = tf.keras.models.load_model(os.environ[PATH], compile=False)


def score(paths: list[str], pictures: Any) -> list[dict[str, object]]:
    """Return the file's name, the class and its probability for each picture of an array."""
    scores = _loaded["model"](pictures.reshape(len(paths), 28, 28, 1) / np.float32(255), training=False).numpy()
    best = scores.argmax(axis=1)
    return [
        {"file": os.path.basename(path), "digit": int(digit), "score": round(float(row[digit]), 4)}
        for path, digit, row in zip(paths, best, scores, strict=True)
    ]


def run(mini_batch: list[str]) -> list[dict[str, object]]:
    """Read the pictures and score them."""
    return score(mini_batch, np.stack([np.asarray(Image.open(path)) for path in mini_batch]))
