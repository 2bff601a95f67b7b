"""The one schema of a text input."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from daskbatch.errors import InputError
from daskbatch.store import scan, schema
from daskbatch.store.inputs_types import arrow_type, column_names, dtype_hint, name_of
from daskbatch.store.schema import sample_text, sampled_places
from daskbatch.types import MiniBatchSize, TableFormat


def table(kind: str = "csv", **options: Any) -> TableFormat:
    return TableFormat(kind, MiniBatchSize("bytes", 1000), **options)


def columns(folder: Path, *files: bytes, name: str = "a.csv", **options: Any) -> dict[str, str]:
    paths = []
    for number, data in enumerate(files):
        path = folder / f"{number}{name}"
        path.write_bytes(data)
        paths.append(str(path))
    kind = "jsonl" if "jsonl" in name else "csv"
    return dict(sample_text(paths, table(kind, **options)).columns)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("1 -2 30", "int64"),
        ("9223372036854775807", "int64"),
        ("9223372036854775808", "string"),
        ("1 NA 3", "float64"),
        ("9007199254740992 NA", "float64"),
        ("9007199254740993 NA", "string"),
        ("9007199254740993 1.5", "string"),
        ("1 2.5 .5 5. 1e3 -inf +1.5 null", "float64"),
        ("007 12", "string"),
        ("00.5", "string"),
        ("0 -0 0.5", "float64"),
        ("2024-01-02", "string"),
        ("true false", "string"),
        ("NA null", "string"),
        ("0x1F", "string"),
        ("1 x", "string"),
        ("1_000", "string"),
    ],
)
def test_the_type_of_a_csv_column(tmp_path: Path, values: str, expected: str) -> None:
    assert columns(tmp_path, ("c\n" + "\n".join(values.split())).encode()) == {"c": expected}


def test_a_blank_in_any_sampled_file_counts(tmp_path: Path) -> None:
    assert columns(tmp_path, b"a,b\n1,x\n", b"b,a\ny,\n") == {"a": "float64", "b": "string"}


def test_a_file_without_records_says_nothing(tmp_path: Path) -> None:
    assert columns(tmp_path, b"a,b\n", b"a,b\n1,2\n") == {"a": "int64", "b": "int64"}
    assert columns(tmp_path, b"a,b\n") == {"a": "string", "b": "string"}


def test_records_with_another_number_of_fields_are_left_to_the_run(tmp_path: Path) -> None:
    assert columns(tmp_path, b"a,b\n1,2\nx,y,z\n\n3,4\n") == {"a": "int64", "b": "int64"}


def test_without_a_header_columns_are_numbers(tmp_path: Path) -> None:
    assert columns(tmp_path, b"1,x\n2,y\n", header=False) == {"0": "int64", "1": "string"}


def test_headers_in_pandas_way(tmp_path: Path) -> None:
    assert list(columns(tmp_path, b'\xef\xbb\xbf,"a,b",a,a\n1,2,3,4\n')) == ["Unnamed: 0", "a,b", "a", "a.1"]
    assert column_names(["a", "a.1", "a"]) == ("a", "a.1", "a.2")


def test_only_the_head_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "SAMPLE_BYTES", 1000)
    data = b"a\n" + b"1\n" * 2_000_000 + b"x\n"
    assert columns(tmp_path, data) == {"a": "int64"}
    assert columns(tmp_path, gzip.compress(data), name="a.csv.gz") == {"a": "int64"}


def test_a_record_longer_than_the_sample_is_read_whole(tmp_path: Path) -> None:
    assert columns(tmp_path, b"a,b\n1," + b"x" * 3_000_000 + b"\n") == {"a": "int64", "b": "string"}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ((b"a,b\n1,2\n", b"a,c\n1,2\n"), {}, r"1a\.csv lacks the column 'b' of .*0a\.csv and has the column 'c'"),
        ((b'a\n"x\ny"\n',), {}, r"0a\.csv has a newline inside quotes.*support_multi_line=True"),
        ((b"a\n\xff\n",), {}, r"0a\.csv is not utf-8.*encoding="),
        ((b"a\n1\n",), {"dtype": (("b", "string"),)}, r"dtype names the column 'b', which .* has not.*'a'"),
        (
            (b"a\n1\n",),
            {"dtype": (("a", "integer"),)},
            r"must be one of int8, .*got 'integer'.*dtype=\{'a': 'string'\}",
        ),
    ],
)
def test_what_cannot_be_one_input_is_said_before_the_start(
    tmp_path: Path, files: tuple[bytes, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        columns(tmp_path, *files, **options)


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("a.jsonl", b'[{"a":1}' + b',{"a":1}' * 300_000 + b"]", {}, r"at byte 0 .*JSON object on a line of its own\. "),
        ("a.jsonl.gz", b'[{"a":1}' + b',{"a":1}' * 300_000, {}, r"at byte 0 .*JSON object on a line of its own\. "),
        ("a.csv", b'a,b\n1,"' + b"x\n" * 1_000_000, {"multi_line": True}, r"at byte 4 .*a quote there is not closed"),
        ("a.csv", b"x" * 2_500_000, {}, r"at byte 0 .*no line may be longer\. "),
    ],
)
def test_a_first_record_without_end_is_named_and_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(scan, "LONGEST_RECORD", 1_500_000)
    data = gzip.compress(data, 1) if name.endswith(".gz") else data
    with pytest.raises(InputError, match=rf"^inputs: .*0{name}: the record {message}.*Next: "):
        columns(tmp_path, data, name=name, **options)


def test_the_user_is_right(tmp_path: Path) -> None:
    dtype = (("a", "str"), ("b", "datetime64[ns]"), ("c", "float32"), ("d", "object"))
    found = columns(tmp_path, b"a,b,c,d,e\n1,2024-01-01,2,3,4\n", dtype=dtype)
    assert found == {"a": "string", "b": "timestamp[ns]", "c": "float32", "d": "string", "e": "int64"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b'{"a":1}\n{"a":2}\n', {"a": "int64"}),
        (b'{"a":1}\n{"a":null}\n', {"a": "float64"}),
        (b'{"a":1}\n{"b":true}\n', {"a": "float64", "b": "boolean"}),
        (b'{"a":9007199254740993}\n{}\n', {"a": "string"}),
        (b'{"a":9223372036854775808}\n', {"a": "string"}),
        (b'{"a":1}\n{"a":1.5}\n', {"a": "float64"}),
        (b'{"a":1}\n{"a":"x"}\n', {"a": "string"}),
        (b'{"a":"2024-01-01"}\n', {"a": "string"}),
        (b'{"a":true}\n', {"a": "bool"}),
        (b'{"a":null}\n', {"a": "string"}),
        (b'{"a":{"b":[1,null],"c":{"d":1.5}}}\n', {"a": "struct<b: list<item: int64>, c: struct<d: float64>>"}),
        (b'{"a":[]}\n', {"a": "list<item: string>"}),
    ],
)
def test_the_types_of_json_lines(tmp_path: Path, lines: bytes, expected: dict[str, str]) -> None:
    assert columns(tmp_path, lines, name="a.jsonl") == expected


def test_a_late_key_of_json_lines_can_be_allowed(tmp_path: Path) -> None:
    assert columns(tmp_path, b'{"a":1}\n', name="a.jsonl", dtype=(("late", "string"),)) == {
        "a": "int64",
        "late": "string",
    }


def test_json_keys_that_cannot_be_told_apart_in_a_type_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'a'.*dtype=\{'a': 'string'\}"):
        columns(tmp_path, b'{"a":{"x, y":1}}\n', name="a.jsonl")


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.date32(),
        pa.timestamp("us"), pa.timestamp("ns", tz="Europe/Berlin"), pa.decimal128(10, 2), pa.list_(pa.float32()),
        pa.struct([("a", pa.list_(pa.struct([("b", pa.float64())]))), ("c", pa.decimal128(5, 1))]),
    ],
)  # fmt: skip
def test_a_types_name_gives_the_type_again(kind: Any) -> None:
    assert arrow_type(name_of(kind)) == kind


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (10, list(range(10))), (1000, [0, 999])])
def test_the_first_and_last_files_and_eight_between_are_sampled(count: int, expected: list[int]) -> None:
    places = sampled_places(count)
    assert set(expected) <= set(places)
    assert len(set(places)) == min(count, 10)


def test_the_hint_can_be_pasted() -> None:
    assert dtype_hint([("a'b", "int64")]) == "dtype={\"a'b\": 'int64'}"
