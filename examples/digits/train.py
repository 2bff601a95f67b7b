"""Train a small Keras model on the first half of the digits, in seconds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: it greets at length
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # a model this small gains nothing from a GPU

import keras
import numpy as np
import pandas as pd
from PIL import Image


def main(folder: Path) -> None:
    """Read `folder`, write ``model.keras`` into it."""
    keras.utils.set_random_seed(0)
    labels = pd.read_csv(folder / "labels.csv")
    half = labels.iloc[: len(labels) // 2]
    pixels = np.stack([np.asarray(Image.open(folder / "images" / name)) for name in half["file"]])
    model = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomTranslation(0.1, 0.1),  # other people write elsewhere,
            keras.layers.RandomRotation(0.04),  # and at another angle
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(pixels[..., None], half["digit"].to_numpy(), epochs=30, batch_size=32, verbose=0)
    model.save(folder / "model.keras")
    print(f"Trained on {len(half)} digits: {folder / 'model.keras'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
