"""Parquet's footers: one schema of all, and what damage or a column's name costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daskbatch.errors import InputError, MiniBatchError
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.spec import InputSpec
from daskbatch.store.footers import ParquetSchema
from daskbatch.store.inputs import TableReader
from daskbatch.types import MiniBatch, MiniBatchSize, TableFormat

ROWS = MiniBatchSize("rows", 1000)


def planned(folder: Path, *tables: pa.Table, columns: tuple[str, ...] = (), **options: Any) -> Plan:
    (folder / "in").mkdir(exist_ok=True)
    for number, table in enumerate(tables):
        pq.write_table(table, folder / "in" / f"{number}.parquet", **options)
    return make_plan(InputSpec((str(folder / "in"),), "auto", ROWS, columns=columns), folder / "plan")


def values(plan: Plan) -> list[list[Any]]:
    """Of the column ``a``, for each mini-batch."""
    assert plan.table is not None
    reader = TableReader(plan.table)
    found = [table.column("a").to_pylist() for cut in read_plan(plan) if (table := reader.read(cut)) is not None]
    reader.close()
    return found


def read(reader: TableReader, cut: MiniBatch, column: str = "a") -> list[Any]:
    rows = reader.read(cut)
    assert rows is not None
    return list(rows.column(column).to_pylist())


def damage(path: Path, group: int = 0) -> None:
    """Make the first page of a row group unreadable; the footer stays."""
    data = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(group).column(0).data_page_offset
    data[place : place + 12] = b"\xff" * 12
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("typed", "declared", "read"),
    [
        (pa.array([1, 2]), "float64", [1.0, 2.0]),
        (pa.array([1, 2], "uint8"), "float64", [1.0, 2.0]),
        (pa.array([2**60]), "string", [str(2**60)]),
        (pa.array([True, False]), "boolean", [True, False]),
        (pa.array([1, 2]).dictionary_encode(), "float64", [1.0, 2.0]),
        (pa.array(["x", "y"]), "string", ["x", "y"]),
        (pa.array(["x", "y"]).dictionary_encode(), "string", ["x", "y"]),
        (pa.array([1.5]), "float64", [1.5]),
        (pa.array([[1]]), "list<element: int64>", [[1]]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
@pytest.mark.parametrize("nulls_first", [False, True])
def test_a_file_with_nothing_but_nulls_has_gaps_of_the_others_type(
    tmp_path: Path, typed: pa.Array, declared: str, read: list[Any], nulls_first: bool
) -> None:
    # Given a column that one file knows no type of, for all of it is missing, as pandas writes it
    tables = [pa.table({"a": typed}), pa.table({"a": pa.nulls(3)})]
    plan = planned(tmp_path, *(reversed(tables) if nulls_first else tables))
    # Then it has a type that can be missing, and all of both files can be read
    assert plan.table is not None
    assert plan.table.columns == (("a", declared),)
    assert sorted(values(plan), key=len) == sorted([read, [None] * 3], key=len)


def test_a_file_of_no_rows_has_no_gaps(tmp_path: Path) -> None:
    plan = planned(tmp_path, pa.table({"a": pa.nulls(0)}), pa.table({"a": [1, 2]}))
    assert plan.table is not None
    assert plan.table.columns == (("a", "int64"),)


def test_integers_in_a_dictionary_may_have_gaps_too(tmp_path: Path) -> None:
    plan = planned(tmp_path, pa.table({"a": pa.array([1, None]).dictionary_encode()}))
    assert plan.table is not None
    assert plan.table.columns == (("a", "float64"),)
    assert values(plan) == [[1.0, None]]


@pytest.mark.parametrize("place", [0, 1])
def test_two_columns_of_one_name_are_refused_before_the_start(tmp_path: Path, place: int) -> None:
    tables = [pa.table({"a": [1], "b": [2]}), pa.table([[1], [2], [3]], names=["a", "a", "b"])]
    with pytest.raises(InputError, match=rf"/{place}\.parquet has 2 columns named 'a'.*Next: .*columns="):
        planned(tmp_path, *(reversed(tables) if place == 0 else tables))
    with pytest.raises(InputError, match="has 2 columns named 'a'"):
        planned(tmp_path, columns=("b", "a"))
    # Those that are not read do no harm
    plan = planned(tmp_path, columns=("b",))
    assert plan.table is not None
    reader = TableReader(plan.table)
    assert sorted(read(reader, cut, "b") for cut in read_plan(plan)) == [[2], [3]]
    reader.close()


@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_file_costs_its_own_mini_batches_wherever_it_is(tmp_path: Path, place: int) -> None:
    # Given two files, one of them damaged behind its footer
    tables = [pa.table({"a": [0, 1]}), pa.table({"a": [2, 3]})]
    planned(tmp_path, *tables)
    damage(tmp_path / "in" / f"{place}.parquet")
    # When they are planned and read
    plan = planned(tmp_path)
    assert plan.table is not None
    reader = TableReader(plan.table)
    cuts = list(read_plan(plan))
    # Then the other can be read, and the error of the one names file and row group
    assert [cut.key for cut in cuts] == [(0, 0), (1, 0)]
    assert read(reader, cuts[1 - place]) == [[2, 3], [0, 1]][place]
    with pytest.raises(MiniBatchError, match=rf"/{place}\.parquet: row group 0 cannot be read: "):
        reader.read(cuts[place])
    reader.close()


def test_a_codec_that_is_not_there_costs_its_own_mini_batches(tmp_path: Path) -> None:
    # Given a first file that says to be compressed by LZO, which pyarrow does not read
    planned(tmp_path, pa.table({"a": [0, 1]}), pa.table({"a": [2, 3]}), compression="snappy")
    path = tmp_path / "in" / "0.parquet"
    data = path.read_bytes()
    codec = b"\x19\x18\x01a\x15"  # in the footer: the column's path, and then the codec
    assert data.count(codec + b"\x02") == 1
    path.write_bytes(data.replace(codec + b"\x02", codec + b"\x06"))
    assert pq.read_metadata(path).row_group(0).column(0).compression == "LZO"
    # When it is planned and read
    plan = planned(tmp_path)
    assert plan.table is not None
    reader = TableReader(plan.table)
    first, second = read_plan(plan)
    # Then the other file can be read
    with pytest.raises(MiniBatchError, match=r"/0\.parquet: row group 0 cannot be read: "):
        reader.read(first)
    assert read(reader, second) == [2, 3]
    reader.close()


def test_what_can_be_read_says_how_much_a_row_takes(tmp_path: Path) -> None:
    # Given words that a dictionary makes much smaller, in two row groups of two files
    words = pa.table({"a": ["a word of thirty characters ..."] * 2000})
    planned(tmp_path, words, words, row_group_size=1000)
    first, second = (tmp_path / "in" / name for name in ("0.parquet", "1.parquet"))

    def weights(*damaged: tuple[Path, int]) -> list[bool]:
        """Whether what a row takes was known when the row groups of each file were weighed."""
        for path, group in damaged:
            damage(path, group)
        schema = ParquetSchema(TableFormat("parquet", ROWS))
        return [schema.add(str(path), pq.read_metadata(path))[0][1] > 30_000 for path in (first, second)]

    # Then the first that can be read says it: another row group of the same file, or else another file
    assert weights() == [True, True]
    assert weights((first, 0)) == [True, True]
    assert weights((first, 1)) == [False, True]
    assert weights((second, 0), (second, 1)) == [False, False]


def test_an_error_of_the_disk_is_no_damage(tmp_path: Path) -> None:
    table = pa.table({"a": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    with pytest.raises(FileNotFoundError):
        ParquetSchema(TableFormat("parquet", ROWS)).add(str(tmp_path / "gone.parquet"), metadata)
