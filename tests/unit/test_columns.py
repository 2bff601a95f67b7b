"""``columns``: only these, in the order given, in every format and through every door."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskbatch
from daskbatch import TabularDataset
from daskbatch.errors import InputError, UsageError
from daskbatch.graph import as_dataframe
from daskbatch.plan import make_plan
from daskbatch.plan_rows import read_rows
from daskbatch.spec import InputSpec
from daskbatch.store.selection import is_of
from daskbatch.types import MiniBatchSize, TableFormat
from daskbatch.worker.wire import table_format

FRAME = pd.DataFrame({"id": range(40), "wide": ["w" * 500] * 40, "a.b": range(40), "a": [n / 2 for n in range(40)]})


def parquet(frame: pd.DataFrame) -> bytes:
    frame.to_parquet(data := io.BytesIO(), row_group_size=15, index=False)
    return data.getvalue()


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "csv": lambda frame: frame.to_csv(index=False).encode(),
    "tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    "jsonl": lambda frame: frame.to_json(orient="records", lines=True).encode(),
    "parquet": parquet,
}


@pytest.fixture(params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two files, the second with its columns in another order and one more."""
    (tmp_path / "in").mkdir()
    write = WRITERS[request.param]
    (tmp_path / f"in/0.{request.param}").write_bytes(write(FRAME))
    other = FRAME.assign(more="m")[["more", "a", "id", "wide", "a.b"]]
    (tmp_path / f"in/1.{request.param}").write_bytes(write(other))
    return tmp_path / "in"


def spec(folder: Path, columns: tuple[str, ...], size: MiniBatchSize | None = None, **options: Any) -> InputSpec:
    return InputSpec((str(folder),), "auto", size, columns=columns, **options)


@pytest.mark.parametrize("columns", [("a", "id"), ("id", "a"), ("a",), ("a.b", "a")])
@pytest.mark.parametrize("size", [None, MiniBatchSize("rows", 7), MiniBatchSize("bytes", 200)])
def test_these_columns_come_in_the_order_given(
    folder: Path, columns: tuple[str, ...], size: MiniBatchSize | None
) -> None:
    tables = list(read_rows(spec(folder, columns, size)))
    assert {tuple(table.column_names) for table in tables} == {columns}
    together = pa.concat_tables(tables).to_pandas()
    wanted = pd.concat([FRAME, FRAME], ignore_index=True)[list(columns)]
    pd.testing.assert_frame_equal(together, wanted)


def test_columns_that_are_not_read_may_differ_and_those_that_are_may_not(folder: Path) -> None:
    name = next(folder.iterdir()).suffix
    if name != ".jsonl":
        with pytest.raises(InputError, match=r"has the column 'more'"):
            list(read_rows(spec(folder, ())))
    (folder / f"2{name}").write_bytes(WRITERS[name[1:]](FRAME[["id", "wide"]]))
    if name == ".jsonl":  # keys are optional there
        assert list(read_rows(spec(folder, ("id", "a"))))[-1].column("a").null_count == 40
        return
    with pytest.raises(InputError, match=r"2\.\w+ lacks the column 'a' of "):
        list(read_rows(spec(folder, ("id", "a"))))


def test_an_unknown_name_is_an_error_with_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match=r"columns names 'wode', which .*0\.\w+ has not. Did you mean 'wide'\? Its"):
        list(read_rows(spec(folder, ("id", "wode"))))
    with pytest.raises(InputError, match=r"columns names 'Path'.*come by themselves"):
        list(read_rows(spec(folder, ("Path",), include_path=True)))


def test_columns_that_paths_say_come_beside_them(folder: Path) -> None:
    tables = list(read_rows(spec(folder, ("a", "id"), include_path=True, partition_format="/{part}.*")))
    assert {tuple(table.column_names) for table in tables} == {("Path", "a", "id", "part")}
    # A name that a path says too is taken only where its column is read.
    tables = list(read_rows(spec(folder, ("id",), partition_format="/{wide}.*")))
    assert {tuple(table.column_names) for table in tables} == {("id", "wide")}
    with pytest.raises(InputError, match="adds a column 'wide'"):
        list(read_rows(spec(folder, ("id", "wide"), partition_format="/{wide}.*")))


def test_dtype_may_name_columns_that_are_not_read(folder: Path) -> None:
    types = (("wide", "string"), ("id", "string"))
    (first, *_) = read_rows(spec(folder, ("id",), dtype=types))
    assert (first.column_names, str(first.schema.types[0])) == (["id"], "string")
    if next(folder.iterdir()).suffix == ".jsonl":
        return
    with pytest.raises(InputError, match="dtype names the column 'none'"):
        list(read_rows(spec(folder, ("id",), dtype=(("none", "string"),))))


def test_a_value_that_does_not_fit_matters_only_where_it_is_read(tmp_path: Path) -> None:
    # The sample ends before the last record.
    lines = [f"{n},{n},{'x' * 100}" for n in range(12_000)]
    (tmp_path / "a.csv").write_text("\n".join(["id,value,text", *lines, "1,odd,x"]) + "\n")
    rows = pa.concat_tables(list(read_rows(spec(tmp_path, ("text", "id")))))
    assert rows.num_rows == 12_001
    with pytest.raises(Exception, match="column 'value' is int64"):
        list(read_rows(spec(tmp_path, ("value",))))


def test_text_without_header_has_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,a,2.5\n2,b,3.5\n")
    (rows,) = read_rows(spec(tmp_path, ("2", "0"), header=False))
    assert rows.to_pydict() == {"2": [2.5, 3.5], "0": [1, 2]}
    with pytest.raises(InputError, match="columns names '3'"):
        list(read_rows(spec(tmp_path, ("3",), header=False)))


def test_nested_columns_come_whole(tmp_path: Path) -> None:
    table = pa.table({"s": [{"x": 1, "y": {"z": "a"}}] * 3, "list": [[1, 2]] * 3, "s2": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    (rows,) = read_rows(spec(tmp_path, ("list", "s")))
    assert rows.to_pydict() == table.select(["list", "s"]).to_pydict()
    counts = is_of(TableFormat("parquet", MiniBatchSize("rows", 1), selection=("s",)))
    leaves = [pq.ParquetFile(tmp_path / "a.parquet").schema.column(n).path for n in range(4)]
    assert [leaf for leaf in leaves if counts(leaf)] == ["s.x", "s.y.z"]


def test_gaps_count_in_the_columns_that_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"gaps": pa.array([1, None]), "id": [1, 2]}), tmp_path / "a.parquet")
    (rows,) = read_rows(spec(tmp_path, ("id", "gaps")))
    assert [str(kind) for kind in rows.schema.types] == ["int64", "double"]


def test_a_size_in_bytes_counts_the_columns_that_are_read(tmp_path: Path) -> None:
    rows = pa.table({"id": pa.array(range(4000), pa.int64()), "wide": ["w" * 500] * 4000})
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=1000, use_dictionary=False, compression="none")
    size = MiniBatchSize("bytes", 17_000)  # of two row groups' ids, which take some bytes more in the file

    def count(*columns: str) -> int | None:
        return make_plan(spec(tmp_path / "a.parquet", columns, size), tmp_path / "plan").mini_batches

    assert (count("id"), count()) == (2, 4 * 31)


def test_the_format_goes_over_the_wire(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,a,2.5\n2,b,3.5\n")
    table = make_plan(spec(tmp_path, ("2", "0"), header=False), tmp_path / "plan").table
    assert table is not None
    assert (table.selection, table.fields) == (("2", "0"), 3)
    assert table_format(json.loads(json.dumps(table._asdict()))) == table


def test_every_door_takes_them(folder: Path, tmp_path: Path) -> None:
    def entry(frame: pd.DataFrame) -> pd.DataFrame:
        return frame

    options: dict[str, Any] = {"columns": ["a", "id"], "mini_batch_size": "9rows"}
    serial = daskbatch.run(entry, folder, output=tmp_path / "out", compute="serial", progress=False, **options)
    assert list(serial.to_pandas().columns) == ["a", "id"]
    tried = daskbatch.try_(entry, folder, mini_batch=1, **options)
    assert "a double" in tried.text.replace("float64", "double")
    assert "wide" not in tried.text
    dataset = TabularDataset(folder).keep_columns(["a", "id"])
    assert list(dataset.to_dask("9rows").columns) == ["a", "id"]
    assert list(dataset.to_pandas_dataframe().columns) == ["a", "id"]
    frame = as_dataframe(spec(folder, ("a", "id")))
    assert list(frame.columns) == list(frame.compute(scheduler="sync").columns) == ["a", "id"]
    by_dataset = daskbatch.run(entry, dataset, output=tmp_path / "again", compute="serial", mini_batch_size="9rows",
                               progress=False)  # fmt: skip
    assert by_dataset.output_file is not None
    assert serial.output_file is not None
    assert by_dataset.output_file.read_bytes() == serial.output_file.read_bytes()


def test_a_dataset_keeps_them_where_it_is_registered(folder: Path) -> None:
    from daskbatch.api.references import as_document, from_document

    dataset = TabularDataset(folder).keep_columns(("a", "id"))
    again = from_document(json.loads(json.dumps(as_document(dataset))), None)  # type: ignore[arg-type]
    assert list(getattr(again, "columns", ())) == ["a", "id"]
    with pytest.raises(UsageError, match="once"):
        TabularDataset(folder).keep_columns(["a", "a"])


def test_they_are_for_tables_and_for_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="columns is for csv, tsv, jsonl, parquet"):
        make_plan(spec(tmp_path, ("a",)), tmp_path / "plan")
    ddf = pytest.importorskip("dask.dataframe").from_pandas(FRAME, npartitions=1)
    with pytest.raises(UsageError, match="ddf"):
        daskbatch.run(print, ddf, output=tmp_path / "out", columns=["a"])
    with pytest.raises(UsageError, match="ddf"):
        TabularDataset.from_dask(ddf).keep_columns(["a"])
