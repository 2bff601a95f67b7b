from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import ResultError
from daskbatch.store.formats import Payload, format_result, suffix_of

SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")


def text(result: object, suffix: str) -> str:
    return format_result(result, suffix, "append_row").data.decode()


def names(payload: Payload) -> list[str]:
    return [name for name, _ in json.loads(payload.columns)]


def table(payload: Payload) -> pa.Table:
    return pa.ipc.open_stream(payload.data).read_all()


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csv", ".csv"),
        ("a.CSV", ".csv"),
        ("a.b.jsonl", ".jsonl"),
        ("a.parquet", ".parquet"),
        ("a", ".txt"),
        ("a.tsv", ".txt"),
    ],
)
def test_the_suffix_chooses(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


# What counts


@pytest.mark.parametrize(
    "result",
    [["a", "b"], ("a", "b"), np.array(["a", "b"]), pd.Series(["a", "b"]), pd.DataFrame({"result": ["a", "b"]})],
    ids=lambda r: type(r).__name__,
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_return_types_are_counted_and_written(result: object, suffix: str) -> None:
    payload = format_result(result, suffix, "append_row")
    assert (payload.returned, payload.rows) == (2, 2)
    assert format_result(result, suffix, "summary_only") == Payload(b"", 2, 0, "")
    if suffix == ".parquet":
        assert table(payload).to_pydict() == {"result": ["a", "b"]}
    else:
        assert (
            payload.data.decode()
            == {".txt": "a\nb\n", ".csv": "a\nb\n", ".jsonl": '{"result":"a"}\n{"result":"b"}\n'}[suffix]
        )


@pytest.mark.parametrize(
    "result", [None, "text", {"a": 1}, 3, np.array(3), object(), {1}], ids=lambda r: type(r).__name__
)
@pytest.mark.parametrize("action", ["append_row", "summary_only"])
def test_other_types_are_refused_by_name(result: object, action: str) -> None:
    with pytest.raises(ResultError, match="must return a list or a DataFrame, it returned"):
        format_result(result, ".csv", action)


def test_none_has_the_words_users_search_for() -> None:
    with pytest.raises(ResultError) as caught:
        format_result(None, ".txt", "append_row")
    assert str(caught.value) == "run() must return a list or a DataFrame, it returned NoneType"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("result", [[], (), np.array([]), pd.Series([], dtype=float), pd.DataFrame({"a": []})])
def test_nothing_returned_is_no_row_and_no_column(result: Any, suffix: str) -> None:
    assert format_result(result, suffix, "append_row") == Payload(b"", 0, 0, "")


def test_a_frame_without_columns_counts_and_writes_nothing() -> None:
    for suffix in SUFFIXES:
        assert format_result(pd.DataFrame(index=range(3)), suffix, "append_row") == Payload(b"", 3, 0, "")


def test_plain_lists_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom daskbatch.store.formats import format_result\n"
        "for suffix in ('.txt', '.csv', '.jsonl'):\n"
        "    format_result(['a', 1.5, None, {'b': 2}, (1, 2)], suffix, 'append_row')\n"
        "print(sorted({'numpy', 'pandas', 'pyarrow', 'dask'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"


# .txt: Azure's convention


def test_txt_is_str_of_each_item() -> None:
    assert text([1.0, None, {"a": 1}, "x y", [1, 2]], ".txt") == "1.0\nNone\n{'a': 1}\nx y\n[1, 2]\n"


def test_txt_rows_are_lines() -> None:
    payload = format_result(["a\nb", "c"], ".txt", "append_row")
    assert (payload.returned, payload.rows, payload.columns) == (2, 3, "")


def test_txt_array_items_stay_whole_and_on_one_line() -> None:
    lines = text(np.arange(4000.0).reshape(2, 2000), ".txt").splitlines()
    assert len(lines) == 2
    assert len(lines[0].split()) == 2000
    assert text([np.array([1, 2])], ".txt") == str(np.array([1, 2])) + "\n"


def test_txt_frame_is_space_separated_without_header_as_pandas_writes_it() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x y", 'q"'], "c": [0.5, None], "d": [True, False]}, index=[7, 8])
    expected = frame.to_csv(sep=" ", header=False, index=False, lineterminator="\n")
    assert text(frame, ".txt") == expected == '1 "x y" 0.5 True\n2 "q"""  False\n'


floats, whole = st.floats(), st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
@given(st.lists(st.tuples(floats, st.floats(width=32), whole, st.none() | whole), min_size=1, max_size=8))
def test_numbers_by_themselves_are_written_as_beside_text(suffix: str, rows: list[tuple[Any, ...]]) -> None:
    # Given columns of numbers alone, which Arrow writes as they are, and the same with one of text at the end
    columns = [list(column) for column in zip(*rows, strict=True)]
    kinds = ("float64", "float32", "int64", "Int64")
    frame = pd.DataFrame({kind: pd.Series(column, dtype=kind) for kind, column in zip(kinds, columns, strict=True)})
    frame["arrow"] = pd.Series(columns[0], dtype="float64").convert_dtypes(dtype_backend="pyarrow")
    beside = frame.assign(text="x")
    # Then the digits are the same
    lines = text(frame, suffix).splitlines()
    assert [f"{line}{',' if suffix == '.csv' else ' '}x" for line in lines] == text(beside, suffix).splitlines()
    assert len(lines) == len(rows)


def test_txt_times_are_quoted_because_they_hold_a_space() -> None:
    frame = pd.DataFrame({"t": pd.to_datetime(["2020-01-02 03:04:05", None]), "n": [1, 2]})
    rows = list(csv.reader(io.StringIO(text(frame, ".txt")), delimiter=" "))
    assert [len(row) for row in rows] == [2, 2]
    assert rows[0][0].startswith("2020-01-02 03:04:05")
    assert rows[1][0] == ""


# .csv


def test_csv_columns_of_each_kind_of_item() -> None:
    assert names(format_result([1], ".csv", "append_row")) == ["result"]
    assert names(format_result([{"b": 1}, {"a": 2}], ".csv", "append_row")) == ["b", "a"]
    assert names(format_result([(1, 2)], ".csv", "append_row")) == ["0", "1"]
    assert names(format_result([pd.Series({"x": 1, "y": 2})], ".csv", "append_row")) == ["x", "y"]
    assert names(format_result(np.ones((2, 3)), ".csv", "append_row")) == ["0", "1", "2"]
    assert names(format_result(pd.Series([1], name="score"), ".csv", "append_row")) == ["score"]
    assert names(format_result(pd.DataFrame({0: [1], "é": [2]}), ".csv", "append_row")) == ["0", "é"]
    assert names(format_result(np.array([(1, 2.0)], dtype=[("i", int), ("f", float)]), ".csv", "append_row")) == [
        "i",
        "f",
    ]
    assert text([{"b": 1}, {"a": 2}, 3, ("x",)], ".csv") == "1,,,\n,2,,\n,,3,\n,,,x\n"


def test_csv_missing_values_are_blank() -> None:
    values = [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, Decimal("NaN"), 1.5]
    assert text([(value, 0) for value in values], ".csv") == ",0\n" * 6 + "1.5,0\n"
    frame = pd.DataFrame({"a": [1.5, None], "b": ["x", None], "c": pd.array([1, None], "Int64"), "d": [None, None]})
    assert text(frame, ".csv") == "1.5,x,1,\n,,,\n"


def test_csv_a_lone_blank_is_still_a_row() -> None:
    for result in ([None, "a", ""], pd.DataFrame({"a": [None, "a", ""]}), pd.Series([None, "a", ""])):
        assert text(result, ".csv") == '""\na\n""\n'
    assert text(pd.DataFrame({"a": [1.0, None]}), ".csv") == '1\n""\n'


def test_csv_numbers_print_as_they_are() -> None:
    assert text([np.float32(0.1), np.int8(3), np.float64(2.5), True, np.True_, 10**30], ".csv").split() == [
        "0.1", "3", "2.5", "True", "True", "1" + "0" * 30,
    ]  # fmt: skip
    assert text(np.array([0.1, 0.2], "float32"), ".csv") == "0.1\n0.2\n"
    assert text(pd.DataFrame({"a": np.array([0.1], "float32"), "b": [True]}), ".csv") == "0.1,True\n"


def test_csv_odd_columns_fall_back_to_str() -> None:
    frame = pd.DataFrame(
        {
            "mixed": [1, "a"],
            "lists": [[1, 2], [3]],
            "dicts": [{"k": 1}, None],
            "bytes": [b"\xff", b"a"],
            "kind": pd.Categorical(["u", "v,"]),
            "paths": [Path("p"), Path("q")],
            "delta": pd.to_timedelta([1, 2], unit="s"),
            "period": pd.period_range("2020", periods=2, freq="Y"),
        }
    )
    rows = list(csv.reader(io.StringIO(text(frame, ".csv"))))
    assert rows[0] == ["1", "[1, 2]", "{'k': 1}", "b'\\xff'", "u", "p", "0 days 00:00:01", "2020"]
    assert rows[1] == ["a", "[3]", "", "b'a'", "v,", "q", "0 days 00:00:02", "2021"]


def test_csv_file_names_that_are_no_utf8_keep_their_bytes() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert format_result([name], ".csv", "append_row").data == b"caf\xe9.png\n"
    assert format_result([(name, 1)], ".csv", "append_row").data == b"caf\xe9.png,1\n"
    assert (
        format_result(pd.DataFrame({"a": [name], "b": [1]}, dtype=object), ".csv", "append_row").data
        == b"caf\xe9.png,1\n"
    )
    assert json.loads(format_result([name], ".jsonl", "append_row").data) == {"result": name}
    with pytest.raises(ResultError, match="Unicode"):
        format_result(["\ud800"], ".csv", "append_row")


def test_csv_wants_names_that_differ() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for suffix in (".csv", ".jsonl", ".parquet"):
        with pytest.raises(ResultError, match=r"more than one column named \['a'\]"):
            format_result(frame, suffix, "append_row")
    assert text(frame, ".txt") == "1 2\n"
    with pytest.raises(ResultError, match="equal as text"):
        format_result([{1: 0, "1": 0}], ".csv", "append_row")


def test_csv_of_items_without_a_column_is_refused() -> None:
    for suffix in (".csv", ".parquet"):
        with pytest.raises(ResultError, match="without any column"):
            format_result([{}, {}], suffix, "append_row")
    with pytest.raises(ResultError, match="list of DataFrames"):
        format_result([pd.DataFrame({"a": [1]})], ".csv", "append_row")


cells = st.text(st.sampled_from("a,\"\r\n 'é\0;"), max_size=5)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
def test_csv_reads_back_whatever_the_strings(rows: Sequence[tuple[str, str]]) -> None:
    expected = [list(row) for row in rows]
    frame = pd.DataFrame(rows, columns=["a", "b"])
    for result in (rows, [{"a": a, "b": b} for a, b in rows], frame):
        data = text(result, ".csv")
        assert list(csv.reader(io.StringIO(data, newline=""))) == expected
    assert text(frame, ".csv") == text(list(rows), ".csv")
    assert list(csv.reader(io.StringIO(text(frame, ".txt"), newline=""), delimiter=" ")) == expected


@given(st.lists(cells, min_size=1, max_size=6))
def test_csv_single_column_reads_back(items: list[str]) -> None:
    for result in (items, pd.Series(items, dtype=object), pd.DataFrame({"a": items}), np.array(items, object)):
        assert [row[0] for row in csv.reader(io.StringIO(text(result, ".csv"), newline=""))] == items


# .jsonl


def lines(result: object) -> list[Any]:
    return [json.loads(line) for line in text(result, ".jsonl").splitlines()]


def test_jsonl_values_of_numpy_and_pandas() -> None:
    item = {
        "f4": np.float32(0.1), "i": np.int64(3), "a": np.array([1.0, np.nan]), "b": np.bool_(True), "nan": float("nan"),
        "inf": float("inf"), "na": pd.NA, "nat": pd.NaT, "t": pd.Timestamp("2020-01-02"), "d": dt.date(2020, 1, 2),
        "p": Path("x"), "é": "ü", 7: {8: [np.float32(0.5)]}, "t64": np.datetime64("2020-01-02"),
    }  # fmt: skip
    assert lines([item]) == [
        {
            "f4": 0.1, "i": 3, "a": [1.0, None], "b": True, "nan": None, "inf": None, "na": None, "nat": None,
            "t": "2020-01-02T00:00:00", "d": "2020-01-02", "p": "x", "é": "ü", "7": {"8": [0.5]}, "t64": "2020-01-02",
        }
    ]  # fmt: skip
    assert "ü" in text([item], ".jsonl")
    assert lines([1, None, "a", (1, 2), np.array([3, 4])]) == [
        {"result": 1}, {"result": None}, {"result": "a"}, {"0": 1, "1": 2}, {"0": 3, "1": 4},
    ]  # fmt: skip


def test_jsonl_of_a_frame() -> None:
    frame = pd.DataFrame(
        {
            "100%": [1, 2],
            "f": np.array([0.1, np.inf], "float32"),
            "s": ["é", None],
            "l": [[1], {"a": np.int8(1)}],
            "n": pd.array([1, None], "Int64"),
            "t": pd.to_datetime(["2020-01-02", None]),
        }
    )
    assert lines(frame) == [
        {"100%": 1, "f": 0.1, "s": "é", "l": [1], "n": 1, "t": "2020-01-02T00:00:00"},
        {"100%": 2, "f": None, "s": None, "l": {"a": 1}, "n": None, "t": None},
    ]
    assert lines(pd.Series([1.5], name="score")) == [{"score": 1.5}]


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, b"x"], ids=lambda v: type(v).__name__)
def test_jsonl_names_the_type_that_it_cannot_hold(value: object) -> None:
    for result in ([value], [{"a": [value]}], pd.DataFrame({"a": [value]}, dtype=object)):
        with pytest.raises(ResultError, match=f"returned a {type(value).__name__}, which JSON"):
            format_result(result, ".jsonl", "append_row")


def test_jsonl_an_item_that_contains_itself() -> None:
    item: list[Any] = []
    item.append(item)
    with pytest.raises(ResultError, match="contains itself"):
        format_result([{"a": item}], ".jsonl", "append_row")


# .parquet


def test_parquet_types_and_signature() -> None:
    frame = pd.DataFrame({"s": ["a", None], "f": [1.5, np.nan], "c": pd.Categorical(["u", "v"]), "l": [[1], [2, 3]]})
    payload = format_result(frame, ".parquet", "append_row")
    assert json.loads(payload.columns) == [
        ["s", "string"],
        ["f", "double"],
        ["c", "string"],
        ["l", "list<item: int64>"],
    ]
    found = table(payload)
    assert found.schema.metadata is None
    assert found.to_pydict() == {"s": ["a", None], "f": [1.5, None], "c": ["u", "v"], "l": [[1], [2, 3]]}


def test_parquet_of_lists_and_arrays() -> None:
    assert table(format_result([1, None], ".parquet", "append_row")).to_pydict() == {"result": [1, None]}
    assert table(format_result([{"a": 1}, {"b": "x"}], ".parquet", "append_row")).to_pydict() == {
        "a": [1, None],
        "b": [None, "x"],
    }
    array = np.array([[1, 2], [3, 4]], "float32")
    found = table(format_result(array, ".parquet", "append_row"))
    assert found.to_pydict() == {"0": [1, 3], "1": [2, 4]}
    assert found.schema.field("0").type == pa.float32()


def test_parquet_names_the_column_that_does_not_fit() -> None:
    for result in (pd.DataFrame({"ok": [1, 2], "mixed": [1, "a"]}), [{"mixed": 1}, {"mixed": "a"}]):
        with pytest.raises(ResultError, match="column 'mixed'"):
            format_result(result, ".parquet", "append_row")


def test_formatting_twice_gives_the_same_bytes() -> None:
    frame = pd.DataFrame({"a": [0.1, 2.0], "b": ["x", "y,"]})
    for suffix in SUFFIXES:
        assert format_result(frame, suffix, "append_row") == format_result(frame.copy(), suffix, "append_row")
