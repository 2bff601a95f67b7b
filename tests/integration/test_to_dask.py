"""The Dask door and the runner's door show the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.errors import InputError, UsageError
from daskbatch.plan import make_plan, read_plan
from daskbatch.store.inputs import TableReader, to_frame
from daskbatch.types import OPEN_END


def write(folder: Path, kind: str) -> None:
    """Two files of 500 rows, with gaps in the second."""
    for number in range(2):
        frame = pd.DataFrame({
            "id": range(number * 500, number * 500 + 500),
            "x": [None if number and i % 7 == 0 else i / 7 for i in range(500)],
            "text": ["a, b\nc" if kind == "multi" else f"text {i}" for i in range(500)],
        })  # fmt: skip
        if kind == "parquet":
            frame.to_parquet(folder / f"{number}.parquet", row_group_size=[70, 300][number])
        elif kind == "jsonl":
            frame.to_json(folder / f"{number}.jsonl", orient="records", lines=True)
        else:
            frame.to_csv(folder / f"{number}.csv{'.gz' if kind == 'gz' else ''}", index=False)


@pytest.mark.parametrize("size", ["1KB", "64rows", "1MB"])
@pytest.mark.parametrize("kind", ["csv", "gz", "multi", "jsonl", "parquet"])
def test_partitions_are_the_mini_batches(tmp_path: Path, kind: str, size: str) -> None:
    # Given a dataset
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", kind)
    dataset = TabularDataset(tmp_path / "in", support_multi_line=kind == "multi")
    # When it is read through a Dask dataframe, and mini-batch by mini-batch as a runner does
    collection = dataset.to_dask(size)
    partitions = [part.compute(scheduler="sync") for part in collection.partitions]
    plan = make_plan(dataset.spec(size), tmp_path / "plan.jsonl")
    assert plan.table is not None
    reader = TableReader(plan.table)
    frames = []
    for mini_batch in read_plan(plan):
        parts = []
        while (rows := reader.read(mini_batch)) is not None:
            parts.append(to_frame(rows))
            if mini_batch.stop != OPEN_END:
                break
            mini_batch = mini_batch._replace(index=mini_batch.index + 1)
        frames.append(pd.concat(parts or [collection._meta], ignore_index=True))
    reader.close()
    # Then partition i is mini-batch i, or all of a gzip file; and the dtypes are those that Dask was told
    assert len(partitions) == len(frames)
    for partition, frame in zip(partitions, frames, strict=True):
        pd.testing.assert_frame_equal(partition, frame)
        pd.testing.assert_series_equal(partition.dtypes, collection.dtypes)
    assert pd.concat(frames)["id"].to_list() == list(range(1000))


def test_a_range_without_a_record_is_an_empty_partition(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1," + "x" * 5000 + "\n2,y\n")
    collection = TabularDataset(tmp_path / "a.csv").to_dask("1KB")
    lengths = [len(part.compute(scheduler="sync")) for part in collection.partitions]
    assert lengths == [1, 0, 0, 0, 1]
    assert collection.compute(scheduler="sync")["a"].to_list() == [1, 2]


def test_dask_takes_the_dataframe_for_one_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "csv")
    collection = TabularDataset(tmp_path).to_dask("2KB")
    assert collection.npartitions > 10
    assert int(collection["id"].sum().compute(scheduler="sync")) == sum(range(1000))


def test_files_become_a_bag_of_lists_of_paths(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
    bag = FileDataset(str(tmp_path / "*.png")).to_dask(2)
    expected = [[str(tmp_path / f"{number}.png") for number in pair] for pair in ([0, 1], [2, 3], [4])]
    assert bag.npartitions == 3
    assert bag.compute(scheduler="sync") == expected
    assert bag.map(len).compute(scheduler="sync") == [2, 2, 1]


def test_a_dask_dataframe_is_known_by_its_graph() -> None:
    import dask.dataframe as dd

    frame = pd.DataFrame({"a": range(10)})
    one, same, other = (TabularDataset.from_dask(dd.from_pandas(frame, npartitions=n)) for n in (2, 2, 3))
    assert one.identity == same.identity != other.identity
    assert one.to_dask() is one.collection


def wrong_input(folder: Path) -> dict[str, tuple[Any, type[Exception], str]]:
    return {
        "no table": (lambda: TabularDataset(folder).to_dask(), InputError, "no tables by their suffixes.*format="),
        "no path": (lambda: FileDataset([]), UsageError, "paths must be"),
        "no format": (lambda: TabularDataset(folder, format="files"), UsageError, "format must be auto"),
        "bytes": (lambda: FileDataset(folder).to_dask("1MB"), InputError, "count of files.*'1MB'"),
        "pandas": (lambda: TabularDataset.from_dask(pd.DataFrame()), UsageError, "from_pandas"),
    }


@pytest.mark.parametrize("case", wrong_input(Path()))
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    (tmp_path / "a.png").touch()
    call, error, message = wrong_input(tmp_path)[case]
    with pytest.raises(error, match=message):
        call()


def test_a_dataset_says_how_it_is_read() -> None:
    assert FileDataset("a").options() == {"input_format": "files"}
    assert TabularDataset("a").options() == {}
    given = TabularDataset("a", "csv", ";", "none", "latin-1", True, {"0": "string"}).options()
    assert given == {
        "input_format": "csv", "separator": ";", "header": "none", "encoding": "latin-1",
        "support_multi_line": True, "dtype": {"0": "string"},
    }  # fmt: skip
