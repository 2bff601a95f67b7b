"""Runs whose input lies on S3: the bytes that the serial oracle makes of the same files on a disk."""

from __future__ import annotations

import gzip
import io
import os
import textwrap
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fault_proxy import FaultProxy
from s3_server import Bucket

import daskbatch
from daskbatch.graph import as_bag, as_dataframe
from daskbatch.options import make_spec

pytest_plugins = ["s3_services"]

FILES = """
    import os
    def run(mini_batch, context):
        name = lambda path: "/".join(path.split("/")[-2:])
        return [f"{name(path)} {open(path, 'rb').read()!r} {context.partition_key_value}" for path in mini_batch]
"""
TABLE = """
    def run(frame, context):
        frame["rows"], frame["keys"] = len(frame), str(context.partition_key_value)
        return frame
"""


def frame(part: int, rows: int = 700, line: str = "text") -> pd.DataFrame:
    numbers = range(part * rows, (part + 1) * rows)
    return pd.DataFrame({"id": numbers, "value": [n / 7 for n in numbers], "said": [f"{line} {n}" for n in numbers]})


def csv(part: int, **options: Any) -> bytes:
    return frame(part, **options).to_csv(index=False).encode()


def parquet(part: int) -> bytes:
    frame(part).to_parquet(data := io.BytesIO(), row_group_size=200, index=False)
    return data.getvalue()


def parts(suffix: str, make: Callable[[int], bytes]) -> dict[str, bytes]:
    return {f"part={part}/a.{suffix}": make(part) for part in range(3)}


ODD = {"a b.bin": b"1", "ü/😀.bin": b"22", "100%25.bin": b"333", "a#b?c.bin": b"4", "x+y&z=.bin": b"", "zero.bin": b""}
LONG = {"a.csv": f"id,text\n1,a\n2,{'x' * 200_000}\n3,c\n".encode(), "b.csv": b"id,text\n4,d\n"}
WIDE = {"a.csv": f"id,{'h' * 100_000}\n1,a\n2,b\n3,c\n".encode()}
PARQUET, CSV = parts("parquet", parquet), parts("csv", csv)
LINES = parts("jsonl", lambda part: frame(part).to_json(orient="records", lines=True).encode())
CASES: dict[str, tuple[str, dict[str, bytes], dict[str, Any]]] = {
    "files": (FILES, {f"s{n % 3}/f{n:02}.bin": b"x" * n for n in range(25)}, {"mini_batch_size": 4}),
    "files with odd names": (FILES, ODD, {"mini_batch_size": 4}),
    "many files in a mini-batch": (FILES, {f"f{n:03}": b"%d" % n for n in range(150)}, {"mini_batch_size": 100}),
    "files by key": (FILES, CSV, {"input_format": "files", "partition_format": "/part={part}/*.csv"}),
    "csv by bytes": (TABLE, CSV, {"mini_batch_size": "3KB"}),
    "csv by rows": (TABLE, CSV, {"mini_batch_size": "300rows"}),
    "csv by key": (TABLE, CSV, {"partition_format": "/part={part}/*.csv", "partition_keys": ["part"]}),
    "gzip": (TABLE, parts("csv.gz", lambda part: gzip.compress(csv(part))), {"mini_batch_size": "3KB"}),
    "utf-16": (
        TABLE, parts("csv", lambda part: csv(part).decode().encode("utf-16")),
        {"mini_batch_size": "3KB", "encoding": "utf-16"},
    ),
    "multi-line": (
        TABLE, parts("csv", lambda part: csv(part, line='a\nb "c"')),
        {"mini_batch_size": "3KB", "support_multi_line": True},
    ),
    "long records": (TABLE, LONG, {"mini_batch_size": 50_000}),
    "a long header": (TABLE, WIDE, {"mini_batch_size": 30_000}),
    "jsonl": (TABLE, LINES, {"mini_batch_size": "3KB"}),
    "row groups": (TABLE, PARQUET, {"mini_batch_size": "20KB"}),
    "slices of row groups": (TABLE, PARQUET, {"mini_batch_size": "70rows"}),
    "columns of csv": (TABLE, CSV, {"mini_batch_size": "3KB", "columns": ["said", "id"]}),
    "columns of row groups": (TABLE, PARQUET, {"mini_batch_size": "70rows", "columns": "said,id"}),
    "parquet by key": (TABLE, PARQUET, {"partition_format": "/part={part}/*.parquet", "partition_keys": ["part"]}),
}  # fmt: skip
ON_CEPH = ("files", "files with odd names", "csv by bytes", "gzip", "slices of row groups", "parquet by key")


@pytest.fixture(autouse=True)
def no_copies_left(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Everything temporary of a test has to be gone at its end."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    assert set(os.listdir(tmp_path / "tmp")) <= {"dask-scratch-space"}


def both_places(s3: Bucket, tmp_path: Path, tree: dict[str, bytes]) -> str:
    """The same objects in the bucket and below ``in put``."""
    for name, data in tree.items():
        path = tmp_path / "in put" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        s3.put(f"in put/{name}", data)
    return f"{s3.url}/in put/"


def entry(tmp_path: Path, text: str) -> str:
    (tmp_path / "score.py").write_text(textwrap.dedent(text))
    return str(tmp_path / "score.py")


def scored(script: str, inputs: object, output: Path, **options: Any) -> bytes:
    run = daskbatch.run(script, inputs, output=output, progress=False, error_threshold=0, **options)
    assert run.output_file is not None
    return run.output_file.read_bytes()


@pytest.mark.parametrize(
    ("s3", "case"), [*(("moto", case) for case in CASES), *(("ceph", case) for case in ON_CEPH)], indirect=["s3"]
)
def test_the_result_is_that_of_a_disk(s3: Bucket, tmp_path: Path, case: str) -> None:
    text, tree, options = CASES[case]
    url, script = both_places(s3, tmp_path, tree), entry(tmp_path, text)
    oracle = scored(script, tmp_path / "in put", tmp_path / "oracle", compute="serial", **options)
    where = {"storage_options": s3.options, **options}
    if s3.server.name == "moto":
        assert scored(script, url, tmp_path / "serial", compute="serial", **where) == oracle
    slots = 1 + len(case) % 2
    assert scored(script, url, tmp_path / "out", process_count_per_node=slots, **where) == oracle


def test_columns_of_the_path_name_the_object(s3: Bucket, tmp_path: Path) -> None:
    url, script = both_places(s3, tmp_path, CSV), entry(tmp_path, TABLE)
    options = {"include_path": True, "partition_format": "/part={part}/*.csv", "storage_options": s3.options}
    scored(script, url, tmp_path / "out", **options)
    got = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert set(got["Path"]) == {f"{url}part={part}/a.csv" for part in range(3)}
    assert [int(part) for part in got["part"]] == [part for part in range(3) for _ in range(700)]


@pytest.mark.parametrize("case", ["csv by bytes", "gzip", "slices of row groups", "files"])
def test_to_dask_has_the_same_mini_batches(s3: Bucket, tmp_path: Path, case: str) -> None:
    _, tree, options = CASES[case]
    url = both_places(s3, tmp_path, tree)
    collection = as_bag if case == "files" else as_dataframe

    def computed(where: str, **more: Any) -> Any:
        given = {key: value for key, value in options.items() if key != "partition_format"}
        spec = make_spec(print, where, output=tmp_path / "out", **given, **more).input
        return collection(spec).compute(scheduler="sync")

    remote, local = computed(url, storage_options=s3.options), computed(str(tmp_path / "in put"))
    if case == "files":
        names = [os.path.relpath(path, tmp_path / "in put") for path in chain.from_iterable(local)]
        assert [path.removeprefix(url) for path in chain.from_iterable(remote)] == names
    else:
        pd.testing.assert_frame_equal(remote, local)


def test_one_mini_batch_can_be_tried(s3: Bucket, tmp_path: Path) -> None:
    url, script = both_places(s3, tmp_path, CSV), entry(tmp_path, TABLE)
    tried = daskbatch.try_(script, url, storage_options=s3.options, mini_batch=1, mini_batch_size="3KB")
    local = daskbatch.try_(script, str(tmp_path / "in put"), mini_batch=1, mini_batch_size="3KB")
    assert tried.output == local.output
    assert f"{s3.url}/in put/part=0/a.csv" in tried.text


def test_of_a_table_no_more_is_fetched_than_is_needed(s3: Bucket, proxied: FaultProxy, tmp_path: Path) -> None:
    wide = pd.DataFrame({f"c{n}": [os.urandom(40).hex() for _ in range(20_000)] for n in range(3)})
    wide.to_parquet(data := io.BytesIO(), row_group_size=5000)
    url = s3.put("a.parquet", data.getvalue())
    options = {"storage_options": {"endpoint_url": proxied.endpoint}}
    script = entry(tmp_path, "def run(frame): return list(frame.index)")
    daskbatch.try_(script, url, mini_batch_size="5000rows", mini_batch=2, **options)
    assert proxied.passed < 1.1 * len(
        data.getvalue()
    )  # three of four row groups: first rows, two mini-batches and a footer
    before = proxied.passed
    scored(script, url, tmp_path / "out", mini_batch_size="500rows", process_count_per_node=1, **options)
    assert proxied.passed - before < 1.5 * len(data.getvalue())  # slices of a row group share it


@pytest.mark.parametrize("rows", ["2500rows", "5000rows", "10000rows"])
def test_pages_of_other_columns_are_not_fetched(s3: Bucket, proxied: FaultProxy, tmp_path: Path, rows: str) -> None:
    names = [f"c{n}" for n in range(8)]  # one and a half megabytes each in a row group: no range is joined
    wide = pd.DataFrame({name: [os.urandom(150).hex() for _ in range(10_000)] for name in names})
    wide.to_parquet(data := io.BytesIO(), row_group_size=5000, index=False)
    url = s3.put("a.parquet", data.getvalue())
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.parquet").write_bytes(data.getvalue())
    script = entry(tmp_path, "def run(frame): return frame")
    options = {"columns": ["c6", "c2"], "mini_batch_size": rows, "process_count_per_node": 1}
    oracle = scored(script, tmp_path / "disk", tmp_path / "oracle", **options)
    got = scored(script, url, tmp_path / "out", storage_options={"endpoint_url": proxied.endpoint}, **options)
    assert got == oracle
    # A quarter of the pages; and for the plan the footer, and the first pages of these columns in the first row group.
    assert proxied.passed < len(data.getvalue()) * 0.4


def test_datasets_and_named_objects(s3: Bucket, tmp_path: Path) -> None:
    both_places(s3, tmp_path, CSV)
    script = entry(tmp_path, FILES)
    names = [f"part={part}/a.csv" for part in (2, 0)]
    options = {"input_format": "files", "mini_batch_size": 1}
    oracle = scored(script, [str(tmp_path / "in put" / name) for name in names], tmp_path / "oracle", **options)
    urls = [f"{s3.url}/in put/{name}" for name in names]
    where = {"storage_options": s3.options, **options}
    assert scored(script, urls, tmp_path / "out", **where) == oracle
