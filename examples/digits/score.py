"""An entry script: which digit is on each picture?

daskbatch imports it once a process, calls ``init()`` once, and then ``run()`` with lists of paths.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: it greets at length
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # a model this small gains nothing from a GPU

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
options, _ = parser.parse_known_args()  # what follows "--" on the command line of daskbatch

model: Any = None


def init() -> None:
    """Load the model, once a process."""
    global model
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # as many processes as cores: one thread each
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.keras.models.load_model(options.model, compile=False)


def run(mini_batch: list[str]) -> list[dict[str, object]]:
    """Return one result a picture."""
    pixels = np.stack([np.asarray(Image.open(path)) for path in mini_batch])
    scores = model(pixels[..., None], training=False).numpy()
    return [
        {"file": Path(path).name, "digit": int(row.argmax()), "probability": round(float(row.max()), 4)}
        for path, row in zip(mini_batch, scores, strict=True)
    ]
