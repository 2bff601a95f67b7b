"""6,000 PNG files of 28x28, 100 a mini-batch, a small convolutional network in Keras, CSV out.

Each contender loads TensorFlow and the model once in each of two processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import agreement
import data
import harness
import picture_work
from models import digits
from peers import ray_data
from picture_work import PictureWork

SIZE = 100


def folder(small: bool) -> Path:
    return data.pictures(200 if small else 6_000)


def prepare(small: bool) -> None:
    folder(small)
    data.digits_model()


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    environment = {digits.PATH: str(data.digits_model())}
    return harness.daskbatch_timing(Path(digits.__file__), folder(small), out / "run", SIZE, environment=environment)


def over(score: Callable[[Path, PictureWork], harness.Timing]) -> harness.Contender:
    """Return the contender that has `score` do the work."""

    def contend(out: Path, small: bool) -> harness.Timing:
        os.environ[digits.PATH] = str(data.digits_model())
        return score(out, PictureWork(folder(small), "digits", SIZE))

    return contend


BENCHMARK = harness.Benchmark(
    name="images-keras",
    title="images: 6,000 PNG files of 28x28, 100 a mini-batch, a Keras model",
    unit="mini-batches",
    prepare=prepare,
    contenders={
        "daskbatch": with_daskbatch,
        "pool": over(picture_work.with_pool),
        "Ray Data": harness.Peer("ray", over(ray_data.score_pictures)),
    },
    check=partial(agreement.same_rows, key="file", tolerance=2e-4),
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
