"""Every row once, in order, for any text, cut and format; and errors that say what to do."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import MiniBatchError, MultiLineText, SchemaError
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.spec import InputSpec
from daskbatch.store.inputs import TableReader, to_frame
from daskbatch.store.inputs_csv import MISSING
from daskbatch.types import OPEN_END, MiniBatch, MiniBatchSize, TableFormat

BYTES = st.builds(MiniBatchSize, st.just("bytes"), st.integers(1, 80))
ROWS = st.builds(MiniBatchSize, st.just("rows"), st.integers(1, 6))
CELLS = st.text(alphabet='a;é",\n\r 0', max_size=5)


def planned(path: Path, size: MiniBatchSize | None = None, **options: Any) -> Plan:
    spec = InputSpec((str(path),), options.pop("input_format", "auto"), size, **options)
    return make_plan(spec, path.parent / f".{path.name}.plan")


def mini_batches(plan: Plan, reader: TableReader) -> list[tuple[MiniBatch, pa.Table]]:
    """All that hold rows; of streams one after the other."""
    found = []
    for mini_batch in read_plan(plan):
        rows = reader.read(mini_batch)
        while rows is not None:
            found.append((mini_batch, rows))
            if mini_batch.stop != OPEN_END:
                break
            mini_batch = mini_batch._replace(index=mini_batch.index + 1)
            rows = reader.read(mini_batch)
    return found


def read_all(plan: Plan) -> list[dict[str, Any]]:
    assert plan.table is not None
    reader = TableReader(plan.table)
    rows = [row for _, table in mini_batches(plan, reader) for row in table.to_pylist()]
    reader.close()
    return rows


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[str, dict[str, Any], bool]:
    """A text as csv.writer writes it, with blank lines and another end at times, how to read it, and whether zipped."""
    multi_line = draw(st.booleans())
    width = draw(st.integers(1, 3))
    cell = CELLS if multi_line else CELLS.map(lambda text: text.replace("\n", "").replace("\r", ""))
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=12))
    header = draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    separator = draw(st.sampled_from([",", ";"]))
    # csv.writer leaves a newline without quotes that is no part of its own line ends, and so breaks the record.
    breaks = any(mark in cell and (mark == "\r" or mark not in end) for row in rows for cell in row for mark in "\r\n")
    quoting = csv.QUOTE_ALL if breaks else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=end, delimiter=separator, quoting=quoting)
    writer.writerows([[f"column {i}" for i in range(width)]] if header else [])
    for row in rows:
        writer.writerow(row)
        buffer.write(end * draw(st.sampled_from([0, 0, 0, 1, 2])))
    text = buffer.getvalue()
    if draw(st.booleans()):
        text = text.removesuffix(end)
    bom = draw(st.sampled_from(["", "\ufeff"]))
    names = [f"column {i}" if header else str(i) for i in range(width)]
    options = {
        "input_format": "csv", "header": header, "separator": separator, "support_multi_line": multi_line,
        "dtype": tuple((name, "string") for name in names),
    }  # fmt: skip
    return bom + text, options, draw(st.booleans())


@given(csv_files(), st.one_of(BYTES, ROWS))
def test_every_row_of_csv_once_and_in_order(file: tuple[str, dict[str, Any], bool], size: MiniBatchSize) -> None:
    # Given a file of any quoting, newlines, header and end
    text, options, zipped = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv.gz" if zipped else "a.csv")
        path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
        # When it is cut at any size and read
        plan = planned(path, size, **options)
        assert plan.table is not None
        found = mini_batches(plan, TableReader(plan.table))
    # Then the rows are those of the csv module; an empty field is a missing value
    expected = [row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""),
                delimiter=options["separator"]) if row][options["header"] :]  # fmt: skip
    rows = [list(row.values()) for _, table in found for row in table.to_pylist()]
    assert rows == [[cell or None for cell in row] for row in expected]
    # And row counts are kept and told
    if size.kind == "rows":
        assert [table.num_rows for _, table in found[:-1]] == [size.value] * (len(found) - 1)
        if not zipped:
            assert [mini_batch.row for mini_batch, _ in found] == list(range(0, len(rows), size.value))
            assert [mini_batch.index for mini_batch, _ in found] == list(range(len(found)))


@given(
    st.lists(st.fixed_dictionaries({"a": st.integers(-(2**63), 2**63 - 1), "b": CELLS}), min_size=1, max_size=12),
    st.one_of(BYTES, ROWS), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans(),
)  # fmt: skip
def test_every_row_of_json_lines_once_and_in_order(
    rows: list[dict[str, Any]], size: MiniBatchSize, end: str, zipped: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Given lines of JSON
        text = end.join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
        path = Path(folder, "a.jsonl.gz" if zipped else "a.jsonl")
        path.write_bytes(gzip.compress(text) if zipped else text)
        # When they are cut and read, then they come back
        assert read_all(planned(path, size)) == rows


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.one_of(BYTES, ROWS))
def test_every_row_of_parquet_once_and_in_order(groups: list[int], size: MiniBatchSize) -> None:
    total = sum(groups)
    with tempfile.TemporaryDirectory() as folder:
        # Given a file with row groups of these sizes
        path = Path(folder, "a.parquet")
        values = pa.table({"a": range(total + 1), "b": [f"text {i}" for i in range(total + 1)]})
        with pq.ParquetWriter(path, values.schema) as writer:
            place = 0
            for group in [*groups, 1]:
                writer.write_table(values.slice(place, group))
                place += group
        # When it is cut and read
        plan = planned(path, size)
        assert plan.table is not None
        found = mini_batches(plan, TableReader(plan.table))
    # Then all rows come back, and each mini-batch knew its place; the plan knew their number
    assert pa.concat_tables(table for _, table in found).equals(values)
    assert [mini_batch.row for mini_batch, _ in found] == [table["a"][0].as_py() for _, table in found]
    assert plan.mini_batches == len(found)
    assert [mini_batch.index for mini_batch, _ in found] == list(range(len(found)))
    if size.kind == "rows":
        assert max(table.num_rows for _, table in found) <= size.value


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "shift_jis"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    letter = "é" if encoding == "latin-1" else "ソ"  # whose second byte in shift_jis is a backslash
    end = "\r\n" if encoding == "utf-16" else "\n"
    text = end.join(["name,n", *(f"{letter},{i}" for i in range(20))])
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    rows = read_all(planned(tmp_path / "a.csv", MiniBatchSize("bytes", 30), encoding=encoding))
    assert rows == [{"name": letter, "n": i} for i in range(20)]


@pytest.fixture
def table_of(tmp_path: Path) -> Any:
    """Write a file and plan it with the columns given; return a reader and the mini-batches."""

    def make(name: str, data: bytes, columns: dict[str, str], size: int = 10**6, **options: Any) -> Any:
        path = tmp_path / name
        path.write_bytes(data)
        table = TableFormat(
            "jsonl" if ".jsonl" in name else "csv", MiniBatchSize("bytes", size),
            columns=tuple(columns.items()), schema_from="first.csv", **options,
        )  # fmt: skip
        status = path.stat()
        zipped = name.endswith(".gz")
        stops = [OPEN_END] if zipped else [min(k + size, len(data)) for k in range(0, len(data), size)]
        return TableReader(table), [
            MiniBatch(0, k, (str(path),), 0, k * size, stop, -1, status.st_size, status.st_mtime_ns)
            for k, stop in enumerate(stops)
        ]

    return make


@pytest.mark.parametrize(
    ("name", "data", "columns", "message"),
    [
        (
            "a.csv",
            b"a,b\n1,x\n2.5,y\n",
            {"a": "int64", "b": "string"},
            r"column 'a' is int64, as in first.csv, and cannot hold '2.5'.*dtype=\{'a': 'float64'\}$",
        ),
        ("a.csv", b"b,a\nx,1\ny,z\n", {"a": "int64", "b": "string"}, r"column 'a'.*'z'.*dtype=\{'a': 'string'\}$"),
        ("a.csv", b"a\n1\n99999999999999999999\n", {"a": "int64"}, r"dtype=\{'a': 'string'\}$"),
        (
            "a.csv",
            b"a,b\n1,x\nNA,y\n",
            {"a": "int64", "b": "string"},
            r"a missing value \(record 2.*dtype=\{'a': 'float64'\}$",
        ),
        ("a.csv", b"a,b\n9007199254740993,x\n,y\n", {"a": "int64", "b": "string"}, r"dtype=\{'a': 'string'\}$"),
        (
            "a.csv",
            b"a,b\n1,x\n2,y,z\n",
            {"a": "int64", "b": "string"},
            r"record at byte 8 has 3 fields, expected 2 \(a, b\), got '2,y,z'",
        ),
        (
            "a.csv",
            b"a,c\n1,x\n",
            {"a": "int64", "b": "string"},
            r"lacks the column 'b' of first\.csv and has the column 'c', which first\.csv has not",
        ),
        ("a.csv", b"a\n\xff\n", {"a": "string"}, r"column 'a' holds bytes that are not utf-8.*encoding="),
        ("a.jsonl", b'{"a":1}\n{"a":"x"}\n', {"a": "int64"}, r"cannot hold \"x\".*dtype=\{'a': 'string'\}$"),
        ("a.jsonl", b'{"a":1}\n{"a":1.5}\n', {"a": "int64"}, r"cannot hold 1\.5.*dtype=\{'a': 'float64'\}$"),
        ("a.jsonl", b'{"a":1}\n{}\n', {"a": "int64"}, r"a missing value.*dtype=\{'a': 'float64'\}$"),
        (
            "a.jsonl",
            b'{"a":1}\n{"a":1,"b":2}\n',
            {"a": "int64"},
            r"line at byte 8 has the key 'b'.*first\.csv.*dtype=\{'b': 'string'\}$",
        ),
        ("a.jsonl", b'{"a":1}\n{"a":\n', {"a": "int64"}, r"line at byte 8 is no JSON"),
        ("a.jsonl", b"[1]\n", {"a": "int64"}, "must be a JSON object"),
        ("a.jsonl", b'{"a":{"b":1}}\n{"a":{"c":1}}\n', {"a": "struct<b: int64>"}, r"cannot hold \{\"c\": 1\}"),
    ],
)
def test_what_does_not_fit_is_named(
    table_of: Any, name: str, data: bytes, columns: dict[str, str], message: str
) -> None:
    reader, (mini_batch,) = table_of(name, data, columns)
    with pytest.raises(SchemaError, match=message) as caught:
        reader.read(mini_batch)
    assert str(mini_batch.paths[0]) in str(caught.value)


def test_a_hint_keeps_what_the_user_said_before(table_of: Any) -> None:
    reader, (mini_batch,) = table_of("a.csv", b"a,b\n1,x\n", {"a": "string", "b": "int64"}, dtype=(("a", "string"),))
    with pytest.raises(SchemaError, match=r"dtype=\{'a': 'string', 'b': 'string'\}$"):
        reader.read(mini_batch)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_value_that_does_not_fit_costs_its_own_mini_batch(table_of: Any, name: str) -> None:
    data = b"a\n1\n2\nx\n4\n"
    reader, given = table_of(name, gzip.compress(data) if name.endswith("gz") else data, {"a": "int64"}, size=2)
    keys = [given[0]._replace(index=k) for k in range(5)] if name.endswith("gz") else given[1:]
    results: list[Any] = []
    for mini_batch in keys:
        try:
            rows = reader.read(mini_batch)
        except SchemaError:
            results.append("error")
        else:
            results.append(rows and rows["a"].to_pylist())
    assert results[:4] == [[1], [2], "error", [4]]
    assert results[4:] in ([], [None])


def test_numbers_stay_strings_where_the_column_is_one(table_of: Any) -> None:
    lines = b'{"a":12345678901234567890}\n{"a":"x"}\n{"a":1.50}\n{"a":true}\n{"a":null}\n{"a":{"b":[1]}}\n'
    reader, (mini_batch,) = table_of("a.jsonl", lines, {"a": "string"})
    assert reader.read(mini_batch)["a"].to_pylist() == ["12345678901234567890", "x", "1.50", "true", None, '{"b": [1]}']


def test_missing_values_of_csv(table_of: Any) -> None:
    reader, (mini_batch,) = table_of("a.csv", b'f,s\nNA,NA\n,\nnull,""\n1,x\n', {"f": "float64", "s": "string"})
    assert reader.read(mini_batch).to_pydict() == {"f": [None, None, None, 1.0], "s": ["NA", None, None, "x"]}


@pytest.mark.parametrize("word", MISSING)
def test_each_word_for_missing_is_one_among_numbers(table_of: Any, word: str) -> None:
    """Alone of its kind in the text, too: the parser looks at which letters there are at all."""
    reader, (mini_batch,) = table_of("a.csv", f"1,2\n1,{word}\n".encode(), {"1": "int64", "2": "float64"})
    assert reader.read(mini_batch).to_pydict() == {"1": [1], "2": [None]}


@pytest.mark.parametrize(
    "data", [b'a,b\n1,"x\ny"\n2,z\n', b'a,b\n1,x\n2,"y\n', b'a,b\n1,5" pipe\n', b'a,b\n1,"x\r\ny"\n2,"z"\n']
)
def test_newlines_in_quotes_without_the_option_are_no_silent_nonsense(table_of: Any, data: bytes) -> None:
    reader, (mini_batch,) = table_of("a.csv", data, {"a": "int64", "b": "string"})
    with pytest.raises(MultiLineText, match=r"a\.csv .*bytes 4 to \d+.*support_multi_line=True"):
        reader.read(mini_batch)


@given(st.text(alphabet='a",\n', min_size=1, max_size=40), st.integers(1, 40))
def test_a_text_with_newlines_in_quotes_is_refused_wherever_it_is_cut(text: str, size: int) -> None:
    # Given a text whose quotes hold a newline
    data = ("x\n" + text).encode()
    records = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]
    quoted = any("\n" in cell for row in records for cell in row)
    table = TableFormat("csv", MiniBatchSize("bytes", size), header=False, columns=(("0", "string"),), schema_from="f")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(data)
        reader, refused = TableReader(table), False
        # When it is read without support_multi_line, cut at any size
        for start in range(0, len(data), size):
            try:
                reader.read(MiniBatch(0, 0, (str(path),), 0, start, min(start + size, len(data))))
            except MultiLineText:
                refused = True
            except SchemaError:
                continue
    # Then it is refused
    assert refused or not quoted


def test_a_stream_goes_on_reopens_and_skips(table_of: Any) -> None:
    text = b"a\n" + b"".join(b"%d\n" % i for i in range(100))
    reader, (first,) = table_of("a.csv.gz", gzip.compress(text), {"a": "int64"}, size=30)
    parts = [rows["a"].to_pylist() for k in range(50) if (rows := reader.read(first._replace(index=k)))]
    assert [value for part in parts for value in part] == list(range(100))
    last = len(parts) - 1
    for index in (last, last, 3, 3, 0, 2, last):
        assert reader.read(first._replace(index=index))["a"].to_pylist() == parts[index]
    for index in (last + 1, last + 1, last + 20):
        assert reader.read(first._replace(index=index)) is None


def test_damaged_gzip_fails_one_mini_batch_and_ends_the_stream(table_of: Any) -> None:
    data = gzip.compress(os.urandom(3_000_000).hex("\n", 4).encode())
    reader, (first,) = table_of("a.csv.gz", data[: len(data) // 2], {"0": "string"}, size=500_000, header=False)
    indices = iter(range(100))
    with pytest.raises(MiniBatchError, match="damaged gzip"):
        all(reader.read(first._replace(index=index)) for index in indices)
    whole = next(indices) - 1
    assert whole > 1
    assert reader.read(first._replace(index=whole + 1)) is None
    with pytest.raises(MiniBatchError, match="damaged"):
        reader.read(first._replace(index=whole))
    assert TableReader(reader._table).read(first._replace(index=whole + 1)) is None


def test_a_file_that_changed_or_vanished_is_told(table_of: Any) -> None:
    reader, (mini_batch,) = table_of("a.csv", b"a\n1\n", {"a": "int64"})
    assert reader.read(mini_batch).num_rows == 1
    path = Path(mini_batch.paths[0])
    path.write_bytes(b"a\n12\n")
    with pytest.raises(MiniBatchError, match=r"changed since the run was planned: its size was 4 and is 5\."):
        reader.read(mini_batch)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.csv is gone: it was there when the run was planned\."):
        reader.read(mini_batch)


def test_large_row_groups_are_decoded_once_in_order_and_again_for_earlier_slices(tmp_path: Path) -> None:
    values = pa.table({"a": range(1000)})
    pq.write_table(values, tmp_path / "a.parquet")
    plan = planned(tmp_path / "a.parquet", MiniBatchSize("rows", 70))
    assert plan.table is not None
    reader, cuts = TableReader(plan.table), list(read_plan(plan))
    for index in (0, 1, 2, 9, 1, 14, 14):
        rows = reader.read(cuts[index])
        assert rows is not None
        assert rows["a"].to_pylist() == list(range(1000))[index * 70 : index * 70 + 70]


def test_parquet_has_one_dtype_in_every_mini_batch(tmp_path: Path) -> None:
    # Given columns with nulls in the second row group alone, and a dictionary
    values = pa.table({
        "i": pa.array([1, 2, None, 4]), "big": pa.array([2**60, 2, None, 4]), "b": pa.array([True, False, None, True]),
        "d": pa.array(["x", "y", "x", "z"]).dictionary_encode(), "s": ["p", "q", "r", None],
    })  # fmt: skip
    pq.write_table(values, tmp_path / "a.parquet", row_group_size=2)
    # When each row group is a mini-batch
    plan = planned(tmp_path / "a.parquet", MiniBatchSize("rows", 2))
    assert plan.table is not None
    reader = TableReader(plan.table)
    first, second = (to_frame(table) for _, table in mini_batches(plan, reader))
    # Then both have the same dtypes, and nothing is lost
    assert first.dtypes.to_list() == second.dtypes.to_list()
    assert [str(first.dtypes[name]) for name in ("i", "b")] == ["float64", "boolean"]
    assert first["big"].to_list() == [str(2**60), "2"]
    assert second.index.to_list() == [0, 1]


def test_a_parquet_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 8], name="key")).to_parquet(tmp_path / "a.parquet")
    plan = planned(tmp_path / "a.parquet")
    assert plan.table is not None
    (mini_batch,) = read_plan(plan)
    frame = to_frame(TableReader(plan.table).read(mini_batch))
    assert list(frame.columns) == ["a", "key"]
    assert frame.index.equals(pd.RangeIndex(2))


def test_a_dask_partition_is_read_by_slices_with_its_own_dtypes() -> None:
    # Given a partition with a dtype that only pandas knows
    frame = pd.DataFrame({"a": pd.array([1, None, 3], "Int64"), "c": pd.Categorical(["x", "y", "x"])}, index=[5, 6, 7])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    # When it is cut and read
    reader = TableReader(TableFormat("arrow", MiniBatchSize("rows", 2)))
    reader.open_partition(sink.getvalue().to_pybytes())
    tables = (reader.read(MiniBatch(3, index, (), stop=OPEN_END)) for index in itertools.count())
    parts = [to_frame(table) for table in iter(lambda: next(tables), None)]
    # Then the slices are the frame
    assert pd.concat(parts, ignore_index=True).equals(frame.reset_index(drop=True))
    assert [part.index.to_list() for part in parts] == [[0, 1], [0]]


def test_files_alone_import_neither_pandas_nor_pyarrow() -> None:
    import subprocess
    import sys

    program = (
        "import sys, daskbatch.store.inputs;"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
