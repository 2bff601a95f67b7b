"""The data of the benchmarks: seeded, made once, under ``benchmarks/data``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["DATA", "empty_files", "number_lines", "pictures", "segments", "tables"]

DATA = Path(__file__).parent / "data"


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make `folder` unless it has been made whole before."""
    stamp = folder.with_name(folder.name + ".made")
    if not stamp.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        stamp.touch()
    return folder


def tables(files: int, size: int) -> Path:
    """Return a folder of `files` CSV files of about `size` bytes each: an id and eight numbers a row."""
    row_bytes = 73
    rows = max(size // row_bytes, 1)

    def make(folder: Path) -> None:
        import numpy as np
        import pandas as pd
        import pyarrow as pa
        import pyarrow.csv

        for number in range(files):
            random = np.random.default_rng(number)
            frame = pd.DataFrame(random.normal(size=(rows, 8)).round(5), columns=[f"x{i}" for i in range(8)])
            frame.insert(0, "id", np.arange(rows) + number * rows)
            pyarrow.csv.write_csv(pa.Table.from_pandas(frame), folder / f"{number:04}.csv")

    return _once(DATA / f"tables-{files}x{size}", make)


def pictures(count: int) -> Path:
    """Return a folder of PNG files of 28x28: scikit-learn's handwritten digits, moved and with noise."""

    def make(folder: Path) -> None:
        import numpy as np
        from PIL import Image
        from sklearn.datasets import load_digits

        random = np.random.default_rng(0)
        digits = (load_digits().images * (200 / 16)).astype(np.uint8)
        for number in range(count):
            image = Image.fromarray(digits[number % len(digits)]).resize((28, 28), Image.Resampling.BILINEAR)
            moved = np.roll(np.asarray(image), random.integers(-3, 4, 2), (0, 1))
            noisy = moved + random.integers(0, 30, moved.shape, dtype=np.uint8)
            Image.fromarray(noisy).save(folder / f"{number:06}.png")

    return _once(DATA / f"pictures-{count}", make)


def empty_files(count: int) -> Path:
    """Return one folder of `count` empty files: the worst case for whoever lists it."""

    def make(folder: Path) -> None:
        for number in range(count):
            (folder / f"{number:07}.bin").touch()

    return _once(DATA / f"empty-{count}", make)


def number_lines(count: int) -> Path:
    """Return a folder of one CSV file with one column and `count` rows."""

    def make(folder: Path) -> None:
        with (folder / "numbers.csv").open("w") as file:
            file.write("n\n")
            file.writelines(f"{number}\n" for number in range(count))

    return _once(DATA / f"numbers-{count}", make)


def segments(size: int, make: Callable[[Path, int], None]) -> Path:
    """Return a folder of segments with `size` bytes of results, as `make` makes them."""
    return _once(DATA / f"segments-{size}", lambda folder: make(folder, size))
