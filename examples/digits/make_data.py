"""Write scikit-learn's handwritten digits (1,797 real ones, 8x8 pixels) as 28x28 PNG files, and their labels."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 28


def main(folder: Path) -> None:
    """Write ``images/0000.png`` and so on, and ``labels.csv``, into `folder`."""
    digits = load_digits()
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(images / f"{number:04}.png")
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "digit"])
        writer.writerows((f"{number:04}.png", int(digit)) for number, digit in enumerate(digits.target))
    print(f"{len(pixels)} handwritten digits written to {images}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
