"""Ray Data as its guide to batch inference has it: ``map_batches`` with an actor class that loads the model once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
from models.loaded import loaded
from picture_work import PictureWork
from table_work import TableWork

__all__ = ["score_blocks", "score_pictures", "score_rows", "score_table"]


@contextmanager
def _session() -> Iterator[Any]:
    import ray

    ray.init(num_cpus=harness.SLOTS, include_dashboard=False, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield ray.data
    finally:
        ray.shutdown()


def _actors() -> dict[str, Any]:
    """Return the options of `map_batches` for an actor a slot.

    With its default, a CPU each, they would hold all CPUs, and the tasks that read and write would wait for ever. With
    half of one, a single task would read at a time. So they hold none, and who runs when is the system's business.
    """
    import ray

    return {"compute": ray.data.ActorPoolStrategy(size=harness.SLOTS), "num_cpus": 0}


class Frames:
    """Scores DataFrames, made of arrays: Ray Data's own hold Arrow's types, which numpy takes for objects."""

    def __init__(self, model: str) -> None:
        self.run = loaded(model).run

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Score one batch."""
        import pandas as pd

        return self.run(pd.DataFrame(batch))


class Pictures:
    """Scores pictures that Ray Data has read."""

    def __init__(self, model: str) -> None:
        self.score = loaded(model).score

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Score one batch."""
        import pandas as pd

        return pd.DataFrame(self.score(list(batch["path"]), batch["image"]))


class Rows:
    """Calls the model with the paths of a batch."""

    def __init__(self, model: str) -> None:
        self.run = loaded(model).run

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score one batch."""
        return {"result": self.run(list(batch["path"]))}


def score_table(out: Path, work: TableWork) -> float:
    """Read, score and write; the result is a folder of part files, as Ray Data writes it. Return seconds."""
    with _session() as data:
        begin = time.perf_counter()
        read = data.read_csv if work.form == "csv" else data.read_parquet
        scored = read([str(path) for path in work.files]).map_batches(
            Frames, fn_constructor_args=(work.model,), batch_size=work.rows, **_actors()
        )
        (scored.write_csv if work.form == "csv" else scored.write_parquet)(str(out / "parts"))
        return time.perf_counter() - begin


def score_pictures(out: Path, work: PictureWork) -> harness.Timing:
    """Read, score and write; the result is a folder of part files, as Ray Data writes it."""
    batches = work.mini_batches
    with _session() as data:
        begin = time.perf_counter()
        pictures = data.read_images(str(work.source), include_paths=True, mode="L")
        scored = pictures.map_batches(Pictures, fn_constructor_args=(work.model,), batch_size=work.size, **_actors())
        scored.write_csv(str(out / "parts"))
        return harness.Timing(time.perf_counter() - begin, len(batches))


def score_rows(out: Path, paths: list[str], model: str, blocks: int | None = None) -> float:
    """Call the model with each path by itself. Return seconds."""
    with _session() as data:
        begin = time.perf_counter()
        source = data.from_items([{"path": path} for path in paths], override_num_blocks=blocks)
        scored = source.map_batches(Rows, fn_constructor_args=(model,), batch_size=1, **_actors())
        harness.write_rows(out / "predictions.csv", ["result"], ([row["result"]] for row in scored.iter_rows()))
        return time.perf_counter() - begin


def score_blocks(out: Path, paths: list[str], model: str) -> float:
    """Have each path be a block of its own, which is what Ray Data schedules and retries. Return seconds."""
    return score_rows(out, paths, model, blocks=len(paths))
