"""A dataset shows in a notebook what ``run()`` is given: the same rows, columns and types."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
import pytest

import daskbatch
from daskbatch import Dataset, DataType, FileDataset, TabularDataset
from daskbatch.api.dataset_rows import materialise

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # runners cannot import a test

ROWS = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return two files of 200 rows each, in folders named for a store and a day."""
    for store, day in ((1, "2020-01-31"), (2, "2020-02-01")):
        path = tmp_path / "in" / str(store) / day / "a.csv"
        path.parent.mkdir(parents=True)
        lines = [f"{store * 1000 + row},{row % 28 + 1:02}/12/2019,{'' if row % 9 else row}\n" for row in range(ROWS)]
        path.write_text("n,at,x\n" + "".join(lines))
    return tmp_path / "in"


def dataset_of(folder: Path) -> TabularDataset:
    return Dataset.Tabular.from_delimited_files(
        folder,
        include_path=True,
        partition_format="/{store}/{day:yyyy-MM-dd}/*.csv",
        set_column_types={"at": DataType.to_datetime("%d/%m/%Y")},
    )


def seen(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """What there is to see: the rows, and in a column the types."""
    return mini_batch.assign(types=repr(mini_batch.dtypes.astype(str).to_dict()))


def test_a_run_is_given_what_a_notebook_is_shown(folder: Path, tmp_path: Path, oracle: Callable[..., bytes]) -> None:
    dataset = dataset_of(folder)
    shown = dataset.to_pandas_dataframe()
    # When it runs
    options = {"mini_batch_size": "1KB", "append_row_file_name": "out.parquet"}
    run = daskbatch.run(seen, dataset, output=tmp_path / "out", process_count_per_node=2, progress=False, **options)
    # Then the rows, the columns and their types are those that were shown
    found = run.to_pandas()
    assert set(found.pop("types")) == {repr(shown.dtypes.astype(str).to_dict())}
    assert list(shown) == ["Path", "n", "at", "x", "store", "day"]
    for name in shown:
        assert found[name].astype(shown[name].dtype).equals(shown[name]), name
    assert run.summary["mini_batches"]["total"] > 4
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(seen, dataset, **options)


def test_partitions_of_dask_have_them_too(folder: Path) -> None:
    dataset = dataset_of(folder)
    collection = dataset.to_dask("1KB")
    frames = [part.compute(scheduler="sync") for part in collection.partitions]
    assert len(frames) > 4
    for frame in frames:
        pd.testing.assert_series_equal(frame.dtypes, collection.dtypes)
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), dataset.to_pandas_dataframe())


def test_a_run_of_some_files(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(str(number))
    dataset = FileDataset(str(tmp_path / "*.txt")).skip(1).take(3)
    run = daskbatch.run(
        lambda mini_batch: [Path(path).read_text() for path in mini_batch],
        dataset,
        output=tmp_path / "out",
        compute="serial",
        progress=False,
    )
    assert run.to_pandas()["result"].to_list() == [1, 2, 3]


def test_the_formats_of_paths_are_a_part_of_the_run(folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"output": tmp_path / "out", "compute": "serial", "progress": False}
    daskbatch.run(seen, dataset_of(folder), **given)
    with pytest.raises(daskbatch.RunChanged, match="partition_format was"):
        daskbatch.run(seen, TabularDataset(folder, include_path=True, partition_format="/{day}/*.csv"), **given)


def test_a_dataframe_in_memory_is_a_dataset(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(10)}, index=range(5, 15))
    dataset = Dataset.Tabular.from_pandas_dataframe(frame)
    assert dataset.to_pandas_dataframe()["n"].to_list() == list(range(10))
    assert dataset.skip(2).take(3).to_pandas_dataframe()["n"].to_list() == [2, 3, 4]
    assert list(dataset.skip(2).take(3).to_pandas_dataframe().index) == [0, 1, 2]
    # It has no place of its own, until it is written down
    workspace = daskbatch.Workspace.create("w", path=tmp_path / "ws")
    with pytest.raises(daskbatch.UsageError, match="register_pandas_dataframe"):
        dataset.register(workspace, "frame")
    with pytest.raises(daskbatch.UsageError, match="has no files"):
        dataset.to_path()
    (copy,) = dataset.skip(8).download(tmp_path / "copy")
    assert TabularDataset(copy).to_pandas_dataframe()["n"].to_list() == [8, 9]
    rows = materialise(dataset.skip(1).take(1), tmp_path / "rows")
    assert rows.to_pandas_dataframe()["n"].to_list() == [1]
    assert Dataset.Tabular.from_dask(dataset.collection).identity == dataset.identity
    assert dataset.as_mount().name == Dataset.Tabular.from_dask(dataset.collection).as_mount().name
