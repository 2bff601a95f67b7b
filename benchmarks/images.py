"""60,000 PNG files of 28x28, 10 a mini-batch, a cheap numpy model, CSV out.

The mini-batch is the same for all. Ray Data and Daft read and decode the pictures themselves, as their documentation
has it, and write a folder of parts; the others write one file. The bag is here twice: with a partition a mini-batch,
and with few partitions of many, which Dask's documentation recommends, and which is then the least that Dask can
retry.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import agreement
import data
import harness
import picture_work
from models import pixels
from peers import daft_frames, ray_data
from picture_work import PictureWork

SIZE = 10


def folder(small: bool) -> Path:
    return data.pictures(200 if small else 60_000)


def with_daskbatch(out: Path, small: bool) -> harness.Timing:
    return harness.daskbatch_timing(Path(pixels.__file__), folder(small), out / "run", SIZE)


def over(score: Callable[[Path, PictureWork], harness.Timing]) -> harness.Contender:
    """Return the contender that has `score` do the work."""
    return lambda out, small: score(out, PictureWork(folder(small), "pixels", SIZE))


BENCHMARK = harness.Benchmark(
    name="images-numpy",
    title="images: 60,000 PNG files of 28x28, 10 a mini-batch",
    unit="mini-batches",
    prepare=folder,
    contenders={
        "daskbatch": with_daskbatch,
        "pool": over(picture_work.with_pool),
        "dask.bag": over(picture_work.with_bag),
        "dask.bag, 40 partitions": over(picture_work.with_partitions),
        "joblib": harness.Peer("joblib", over(picture_work.with_joblib)),
        "Ray Data": harness.Peer("ray", over(ray_data.score_pictures)),
        "Daft": harness.Peer("daft", over(daft_frames.score_pictures)),
    },
    check=partial(agreement.same_rows, key="file", tolerance=2e-6),
)

if __name__ == "__main__":
    harness.main(__file__, BENCHMARK)
