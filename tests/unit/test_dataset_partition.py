from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskbatch.api import dataset_partition
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_factory import Dataset
from daskbatch.api.workspace import Workspace
from daskbatch.errors import UsageError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create("w", path=tmp_path / "ws")


@pytest.fixture
def sales(tmp_path: Path) -> TabularDataset:
    """Return 300 rows of 3 stores and 2 brands, in two files, in no order of either."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        rows = range(number * 150, number * 150 + 150)
        frame = pd.DataFrame(
            {"store": [row % 3 for row in rows], "n": rows, "brand": ["a b" if row % 2 else "c" for row in rows]}
        )
        frame.to_csv(tmp_path / "in" / f"{number}.csv", index=False)
    return TabularDataset(tmp_path / "in")


def test_each_combination_has_a_folder(sales: TabularDataset, tmp_path: Path) -> None:
    made = sales.partition_by(["store", "brand"], tmp_path / "out")
    assert made.partition_keys == ["store", "brand"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["store=0", "store=1", "store=2"]
    assert [path.name for path in (tmp_path / "out" / "store=1").iterdir() if path.name == "brand=a b"] == ["brand=a b"]
    # The rows are there, in their order within each combination, the keys behind the other columns
    frame = made.to_pandas_dataframe()  # type: ignore[union-attr]
    assert list(frame) == ["n", "store", "brand"]
    assert sorted(frame["n"]) == list(range(300))
    for (store, brand), rows in frame.groupby(["store", "brand"]):
        numbers = rows["n"].to_list()
        assert numbers == sorted(n for n in range(300) if str(n % 3) == store and ("a b" if n % 2 else "c") == brand)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_files_are_closed_and_opened_again(
    sales: TabularDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that fewer files may be open than there are partitions, and that a file is read in many blocks
    monkeypatch.setattr(dataset_partition, "OPEN_FILES", 2)
    monkeypatch.setattr(dataset_partition, "BLOCK", "10rows")
    made = sales.partition_by(["store"], tmp_path / "out")
    frame = made.to_pandas_dataframe()  # type: ignore[union-attr]
    assert len(list((tmp_path / "out").rglob("*.parquet"))) > 30
    for store, rows in frame.groupby("store"):
        assert rows["n"].to_list() == list(range(int(store), 300, 3))


def test_the_values_that_there_are(sales: TabularDataset, tmp_path: Path) -> None:
    made = sales.partition_by(["store", "brand"], tmp_path / "out")
    values = made.get_partition_key_values()
    assert len(values) == 6
    assert values[0] == {"store": "0", "brand": "a b"}
    assert made.get_partition_key_values(["brand"]) == [{"brand": "a b"}, {"brand": "c"}]
    with pytest.raises(UsageError, match=r"must be some of store, brand, got 'sotre'.*'store'"):
        made.get_partition_key_values(["sotre"])
    with pytest.raises(UsageError, match="list of different keys"):
        made.get_partition_key_values("store")
    with pytest.raises(UsageError, match="has no partition keys"):
        sales.get_partition_key_values()
    assert sales.partition_keys == []


def test_values_of_files(tmp_path: Path) -> None:
    for name in ("u2/2020-01-02/a.wav", "u1/2020-01-02/a.wav", "u1/2020-01-03/a.wav", "u1/2020-01-03/b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    dataset = FileDataset([tmp_path / "u2", tmp_path / "u1"], partition_format="/{user}/{day:yyyy-MM-dd}/*.wav")
    assert dataset.get_partition_key_values() == [
        {"user": "u2", "day": datetime.fromisoformat("2020-01-02")},
        {"user": "u1", "day": datetime.fromisoformat("2020-01-02")},
        {"user": "u1", "day": datetime.fromisoformat("2020-01-03")},
    ]
    assert dataset.take(2).get_partition_key_values(["user"]) == [{"user": "u2"}, {"user": "u1"}]
    assert dataset.take(1).get_partition_key_values(["user"]) == [{"user": "u2"}]


def test_times_and_switches(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "t": [pd.Timestamp("2020-01-31 10:00:01"), pd.Timestamp("2021-02-03")],
            "ok": [True, False],
            "x": [1.5, 2.0],
            "n": [1, 2],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    made = TabularDataset(tmp_path / "a.parquet").partition_by(["t", "ok", "x"], tmp_path / "out")
    found = made.to_pandas_dataframe().sort_values("n")  # type: ignore[union-attr]
    assert found["t"].to_list() == frame["t"].to_list()
    assert found["ok"].to_list() == ["True", "False"]
    assert [float(x) for x in found["x"]] == [1.5, 2.0]


def test_a_part_of_the_rows(sales: TabularDataset, tmp_path: Path) -> None:
    made = sales.skip(10).take(5).partition_by(["store"], tmp_path / "out")
    assert sorted(made.to_pandas_dataframe()["n"]) == [10, 11, 12, 13, 14]  # type: ignore[union-attr]


def test_in_a_datastore_and_registered(sales: TabularDataset, workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    made = sales.partition_by(["store"], (store, "by_store"), name="by store")
    assert (made.name, made.version) == ("by store", 1)
    found = Dataset.get_by_name(workspace, "by store")
    assert found == made
    assert found.partition_keys == ["store"]
    files = sales.partition_by(["store"], store.path("files"), partition_as_file_dataset=True)
    assert isinstance(files, FileDataset)
    assert files.get_partition_key_values() == [{"store": "0"}, {"store": "1"}, {"store": "2"}]


def column(values: list[Any]) -> Any:
    return lambda path: pd.DataFrame({"key": values, "n": range(len(values))}).to_parquet(path)


@pytest.mark.parametrize(
    ("write", "keys", "message"),
    [
        (column(["a"]), ["kye"], "must be columns, got 'kye'. Did you mean 'key'"),
        (column(["a"]), ["key", "n"], "must leave a column"),
        (column(["a"]), [], "list of different columns"),
        (column(["a"]), ["key", "key"], "list of different columns"),
        (column(["a"]), "key", "list of different columns"),
        (column(["a", None]), ["key"], "has missing values"),
        (column(["a", "b/c"]), ["key"], "holds 'b/c'"),
        (column(["a", ""]), ["key"], "holds ''"),
        (column(["a", "x" * 300]), ["key"], "longer than 200 bytes"),
        (column([[1], [2]]), ["key"], "which is no text"),
        (column([pd.Timestamp("2020-01-01 00:00:00.5")]), ["key"], "fractions of a second"),
        (lambda path: pd.DataFrame({"a/b": [1], "n": [2]}).to_parquet(path), ["a/b"], "cannot be part of a folder's"),
    ],
)
def test_what_cannot_be_a_partition(tmp_path: Path, write: Any, keys: Any, message: str) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=message):
        TabularDataset(tmp_path / "a.parquet").partition_by(keys, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_folder_that_is_in_use(sales: TabularDataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    sales.partition_by(["store"], tmp_path / "out")
    for target in (tmp_path / "out", tmp_path / "in" / "0.csv"):
        with pytest.raises(UsageError, match="must be a new or an empty folder"):
            sales.partition_by(["store"], target)
    with pytest.raises(UsageError, match=r"name='x': .* target=\(datastore, 'folder'\)"):
        sales.partition_by(["store"], tmp_path / "other", name="x")
