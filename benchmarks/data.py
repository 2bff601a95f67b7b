"""The data of the benchmarks: seeded, made once, under ``benchmarks/data``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = [
    "DATA",
    "ROWS_PER_MB",
    "boosted_model",
    "digits_model",
    "empty_files",
    "number_lines",
    "parquet_tables",
    "pictures",
    "segments",
    "tables",
]

DATA = Path(__file__).parent / "data"


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make `folder` unless it has been made whole before."""
    stamp = folder.with_name(folder.name + ".made")
    if not stamp.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        stamp.touch()
    return folder


ROW_BYTES = 73
"""Bytes of a row of `tables` as CSV."""
ROWS_PER_MB = 13_000
"""Rows of the tables' mini-batches: 1 MB as CSV or a little less, and as Arrow."""


def _frame(number: int, rows: int) -> Any:
    """Return the rows of one table: an id and eight numbers."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(number)
    frame = pd.DataFrame(random.normal(size=(rows, 8)).round(5), columns=[f"x{i}" for i in range(8)])
    frame.insert(0, "id", np.arange(rows) + number * rows)
    return frame


def tables(files: int, size: int) -> Path:
    """Return a folder of `files` CSV files of about `size` bytes each: an id and eight numbers a row."""

    def make(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.csv

        for number in range(files):
            frame = _frame(number, max(size // ROW_BYTES, 1))
            pyarrow.csv.write_csv(pa.Table.from_pandas(frame), folder / f"{number:04}.csv")

    return _once(DATA / f"tables-{files}x{size}", make)


def parquet_tables(files: int, size: int) -> Path:
    """Return the same rows as `tables` in Parquet files, their row groups as large as a mini-batch."""

    def make(folder: Path) -> None:
        for number in range(files):
            frame = _frame(number, max(size // ROW_BYTES, 1))
            frame.to_parquet(folder / f"{number:04}.parquet", index=False, row_group_size=ROWS_PER_MB)

    return _once(DATA / f"parquet-{files}x{size}", make)


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


def boosted_model() -> Path:
    """Return the path of gradient boosting that was trained on rows like those of `tables`."""

    def make(folder: Path) -> None:
        import joblib
        from sklearn.ensemble import HistGradientBoostingClassifier

        rows = _frame(1_000_000, 20_000).drop(columns="id").to_numpy()
        target = (rows[:, 0] * rows[:, 1] + rows[:, 2] > rows[:, 3]).astype(int)
        model = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(rows, target)
        joblib.dump(model, folder / "model.joblib")

    return _once(DATA / "boosted", make) / "model.joblib"


def digits_model() -> Path:
    """Return the path of a small convolutional network, trained on scikit-learn's handwritten digits."""

    def make(folder: Path) -> None:
        import keras
        import numpy as np
        from sklearn.datasets import load_digits

        keras.utils.set_random_seed(0)
        digits = load_digits()
        pictures = np.repeat(np.repeat(digits.images, 4, axis=1), 4, axis=2)[:, 2:30, 2:30, None] / 16
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                keras.layers.Conv2D(16, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Conv2D(32, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(pictures, digits.target, epochs=2, batch_size=64, verbose=0)
        model.save(folder / "model.keras")

    return _once(DATA / "digits", make) / "model.keras"


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
