from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskbatch.api.data_types import DataType
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_factory import Dataset
from daskbatch.api.dataset_rows import are_written_together, materialise, materialise_together
from daskbatch.api.inputs import refuse_different
from daskbatch.errors import InputError, SchemaError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return ``in/x/0.csv``, ``in/x/1.csv`` and ``in/y/2.csv``, of 4 rows each."""
    for number, name in enumerate(["x/0.csv", "x/1.csv", "y/2.csv"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{number * 4 + row},t{row}\n" for row in range(4)]
        path.write_text("n,text\n" + "".join(lines))
    return tmp_path / "in"


def rows(dataset: Any) -> list[int]:
    return dataset.to_pandas_dataframe()["n"].to_list()  # type: ignore[no-any-return]


def test_all_rows_with_a_plain_index(folder: Path) -> None:
    frame = TabularDataset(folder).to_pandas_dataframe()
    assert frame["n"].to_list() == list(range(12))
    assert isinstance(frame.index, pd.RangeIndex)
    assert len(frame.index) == 12
    assert frame.dtypes.astype(str).to_dict() == {"n": "int64", "text": "str"}


def test_a_gzip_file_is_read_to_its_end(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("n\n" + "".join(f"{i}\n" for i in range(300_000)))
    assert len(TabularDataset(tmp_path).to_pandas_dataframe()) == 300_000
    assert rows(TabularDataset(tmp_path).skip(299_998)) == [299_998, 299_999]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (lambda ds: ds.take(5), [0, 1, 2, 3, 4]),
        (lambda ds: ds.skip(10), [10, 11]),
        (lambda ds: ds.skip(3).take(4), [3, 4, 5, 6]),
        (lambda ds: ds.take(7).skip(5), [5, 6]),
        (lambda ds: ds.take(3).take(9), [0, 1, 2]),
        (lambda ds: ds.skip(2).skip(9), [11]),
        (lambda ds: ds.take(2).skip(3), []),
        (lambda ds: ds.skip(99), []),
        (lambda ds: ds.take(0), []),
        (lambda ds: ds.skip(0), list(range(12))),
    ],
)
def test_take_and_skip(folder: Path, cut: Any, expected: list[int]) -> None:
    frame = cut(TabularDataset(folder)).to_pandas_dataframe()
    assert frame["n"].to_list() == expected
    assert frame.dtypes.astype(str).to_dict() == {"n": "int64", "text": "str"}


@pytest.mark.parametrize("count", [-1, 1.5, "many", None])
def test_take_and_skip_count(folder: Path, count: Any) -> None:
    with pytest.raises(UsageError, match="count must be a whole number"):
        TabularDataset(folder).take(count)
    with pytest.raises(UsageError, match="count must be a whole number"):
        FileDataset(folder).skip(count)


def test_files_are_taken_as_they_are_listed(folder: Path) -> None:
    dataset = FileDataset(folder)
    expected = [str(folder / name) for name in ("x/0.csv", "x/1.csv", "y/2.csv")]
    assert dataset.run_paths() == (str(folder),)
    assert list(dataset.skip(1).take(1).run_paths()) == expected[1:2]
    assert list(dataset.take(2).spec().paths) == expected[:2]
    with pytest.raises(InputError, match="leave no file"):
        dataset.skip(3).run_paths()


def test_rows_that_no_path_can_say_are_refused(folder: Path) -> None:
    for call in (lambda ds: ds.spec(), lambda ds: ds.to_dask(), lambda ds: ds.run_paths()):
        with pytest.raises(UsageError, match=r"download\('folder'\)"):
            call(TabularDataset(folder).take(3))


def test_materialised_rows_are_one_file_which_stays(folder: Path, tmp_path: Path) -> None:
    part = TabularDataset(folder, include_path=True).skip(3).take(4)
    # When the same rows are asked for twice
    made = materialise(part, tmp_path / "rows")
    (path,) = (tmp_path / "rows").iterdir()
    written = path.stat().st_mtime_ns
    again = materialise(TabularDataset(folder, include_path=True).skip(3).take(4), tmp_path / "rows")
    # Then they are written once, and hold the same
    assert made == again
    assert path.stat().st_mtime_ns == written
    assert made.run_paths() == (str(path),)
    pd.testing.assert_frame_equal(made.to_pandas_dataframe(), part.to_pandas_dataframe())
    # And another part, or another input, is another file
    materialise(TabularDataset(folder).skip(3).take(5), tmp_path / "rows")
    (folder / "x/0.csv").write_text("n,text\n100,a\n101,b\n102,c\n103,d\n")
    assert rows(materialise(part, tmp_path / "rows")) == [103, 4, 5, 6]
    assert len(list((tmp_path / "rows").iterdir())) == 3


def test_materialised_booleans_keep_their_type(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("flag,n\ntrue,1\nfalse,2\n,3\n")
    part = Dataset.Tabular.from_delimited_files(tmp_path / "a.csv", set_column_types={"flag": DataType.to_bool()})
    made = materialise(part.take(2), tmp_path / "rows")
    assert str(made.to_pandas_dataframe()["flag"].dtype) == "boolean"


def test_what_is_whole_is_not_materialised(folder: Path, tmp_path: Path) -> None:
    for dataset in (TabularDataset(folder), FileDataset(folder)):
        assert materialise(dataset, tmp_path / "rows") is dataset
    assert materialise(FileDataset(folder).take(1), tmp_path / "rows").paths == (str(folder / "x/0.csv"),)
    assert not (tmp_path / "rows").exists()
    with pytest.raises(InputError, match="leave no row"):
        materialise(TabularDataset(folder).skip(12), tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


def test_the_path_and_its_keys_are_columns(folder: Path) -> None:
    dataset = TabularDataset(folder, include_path=True, partition_format="/{kind}/{file}.csv")
    frame = dataset.to_pandas_dataframe()
    assert list(frame) == ["Path", "n", "text", "kind", "file"]
    assert frame["Path"].to_list() == [str(folder / n) for n in ("x/0.csv", "x/1.csv", "y/2.csv") for _ in range(4)]
    assert frame["kind"].to_list() == ["x"] * 8 + ["y"] * 4
    assert frame["file"].to_list() == [number for number in "012" for _ in range(4)]
    none = dataset.take(0).to_pandas_dataframe()
    pd.testing.assert_series_equal(none.dtypes, frame.dtypes)


def test_a_time_in_the_path_is_a_time(tmp_path: Path) -> None:
    (tmp_path / "2020-02-29").mkdir()
    pd.DataFrame({"n": [1, 2]}).to_parquet(tmp_path / "2020-02-29" / "a.parquet")
    frame = TabularDataset(tmp_path, partition_format="/{day:yyyy-MM-dd}/*.parquet").to_pandas_dataframe()
    assert frame["day"].to_list() == [pd.Timestamp(2020, 2, 29)] * 2
    assert str(frame["day"].dtype) == "datetime64[us]"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"partition_format": "/{n}/*.csv"}, "partition_format adds a column 'n', but .*0.csv has one"),
        ({"partition_format": "/{kind}/0.csv"}, "x/1.csv does not end as partition_format"),
    ],
)
def test_columns_of_paths_that_cannot_be(folder: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TabularDataset(folder, **given).to_pandas_dataframe()  # type: ignore[arg-type]
    (folder / "x/0.csv").write_text("Path\na\n")
    with pytest.raises(InputError, match="include_path adds a column 'Path'"):
        TabularDataset(folder / "x/0.csv", include_path=True).to_pandas_dataframe()


def test_include_path_is_for_tables(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="include_path is for csv"):
        TabularDataset(tmp_path, include_path=True).to_pandas_dataframe()


def test_types_are_what_they_are_told_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id,n,x,ok,day,at\n007,1,,true,31/12/2020,2020-01-02T03:04:05.5\n8,2,2,,2020-02-01,\n"
    )
    types = {
        "id": DataType.to_string(),
        "n": DataType.to_long(),
        "x": DataType.to_float(),
        "ok": DataType.to_bool(),
        "day": DataType.to_datetime(["%d/%m/%Y", "%Y-%m-%d"]),
        "at": DataType.to_datetime(),
    }
    frame = Dataset.Tabular.from_delimited_files(tmp_path / "a.csv", set_column_types=types).to_pandas_dataframe()
    assert frame["id"].to_list() == ["007", "8"]
    assert frame.dtypes.astype(str).to_dict() == {
        "id": "str",
        "n": "int64",
        "x": "float64",
        "ok": "boolean",
        "day": "datetime64[us]",
        "at": "datetime64[us]",
    }
    assert frame["day"].to_list() == [pd.Timestamp(2020, 12, 31), pd.Timestamp(2020, 2, 1)]
    assert frame["at"][0] == pd.Timestamp("2020-01-02 03:04:05.5")
    assert frame["at"].isna().to_list() == [False, True]


def test_a_time_that_is_of_no_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("day,n\n31/12/2020,1\n12/31/2020,2\n")
    types = {"day": DataType.to_datetime("%d/%m/%Y")}
    dataset = Dataset.Tabular.from_delimited_files(tmp_path / "a.csv", set_column_types=types)
    with pytest.raises(SchemaError, match=r"'12/31/2020'.*dtype=\{'day': 'string'\}"):
        dataset.to_pandas_dataframe()


def test_formats_of_times_are_for_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"day": "31/12/2020"}\n')
    with pytest.raises(InputError, match="formats of times are for delimited text"):
        Dataset.Tabular.from_json_lines_files(
            tmp_path / "a.jsonl", set_column_types={"day": DataType.to_datetime("%d/%m/%Y")}
        )


def test_no_type_is_inferred_where_none_shall_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2.50\n")
    dataset = Dataset.Tabular.from_delimited_files(
        tmp_path / "a.csv", infer_column_types=False, set_column_types={"a": DataType.to_long()}
    )
    frame = dataset.to_pandas_dataframe()
    assert frame["a"].to_list() == [1]
    assert frame["b"].to_list() == ["2.50"]
    assert dataset.options()["dtype"] == {"a": "int64", "b": "string"}


def test_a_part_beside_a_whole_table_is_written_down_as_that_is(tmp_path: Path) -> None:
    # Each alone would be read with other types: the codes of one are numbers, its flags never missing
    (tmp_path / "one.csv").write_text("code,size,flag\n1,1,true\n2,2,false\n3,3,true\n")
    (tmp_path / "two.csv").write_text("code,size,flag\nx,0.5,true\n")
    types = {"flag": DataType.to_bool()}
    one, two = (
        Dataset.Tabular.from_delimited_files(str(tmp_path / f"{name}.csv"), set_column_types=types, include_path=True)
        for name in ("one", "two")
    )
    assert not are_written_together([one, two])
    made = materialise_together([one.skip(1), two], tmp_path / "rows")
    refuse_different(made)
    together = replace(made[0], sources=(), paths=[path for data in made for path in data.places()])
    assert isinstance(together, TabularDataset)
    assert together.format == "parquet"
    frame = together.to_pandas_dataframe()
    assert frame["code"].to_list() == ["2", "3", "x"]
    assert frame["size"].to_list() == [2, 3, 0.5]
    assert frame["flag"].to_list() == [False, True, True]
    assert [Path(path).name for path in frame["Path"]] == ["one.csv", "one.csv", "two.csv"]
    assert materialise_together([one.skip(1), two], tmp_path / "rows") == made


def test_whole_parquet_files_stay_where_they_are(tmp_path: Path) -> None:
    for number in range(2):
        pd.DataFrame({"n": [1, 2, 3], "t": list("abc")}).to_parquet(tmp_path / f"{number}.parquet")
    one, two = (Dataset.Tabular.from_parquet_files(str(tmp_path / f"{number}.parquet")) for number in range(2))
    part, whole = materialise_together([one.take(1), two], tmp_path / "rows")
    assert whole is two
    refuse_different([part, whole])
    keeps = [one.take(1).keep_columns("n"), two.keep_columns("n")]  # which what is written down needs no more
    assert are_written_together(keeps)
    refuse_different(materialise_together(keeps, tmp_path / "rows"))
    assert not are_written_together([one.take(1)])


def test_parts_of_files_are_listed_beside_others(folder: Path, tmp_path: Path) -> None:
    files = FileDataset(folder)
    part, whole = materialise_together([files.take(1), files], tmp_path / "rows")
    assert (part.places(), whole) == ((str(folder / "x/0.csv"),), files)
    assert not (tmp_path / "rows").exists()
