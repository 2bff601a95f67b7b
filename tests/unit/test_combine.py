from __future__ import annotations

import csv
import hashlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import append

from daskbatch.errors import RunFailed, SegmentDamaged
from daskbatch.store import combine_parquet, early_sync, open_files, payloads, publishing
from daskbatch.store.combine import combine, write_processed_csv
from daskbatch.store.combine_parquet import unify
from daskbatch.store.segments import SegmentFolder, SegmentWriter
from daskbatch.types import UNKNOWN_ITEMS, Chunk, Record

_names = count()


def stored(folder: Path, results: Sequence[Any], suffix: str, seed: int = 0, task: int = 2) -> list[Chunk]:
    """Write each result as mini-batch (i // 3, i % 3), in tasks and segments that `seed` shuffles."""
    dice = random.Random(seed)
    writers = [SegmentWriter(folder, f"slot{next(_names)}", roll_bytes=400) for _ in range(3)]
    numbers = list(range(len(results)))
    tasks = [numbers[start : start + task] for start in range(0, len(numbers), task)]
    dice.shuffle(tasks)
    chunks = []
    for numbers in tasks:
        writer = dice.choice(writers)
        for i in numbers:
            append(writer, i, results[i], suffix)
        chunk = writer.commit()
        assert chunk is not None
        chunks.append(chunk)
    for writer in writers:
        writer.close()
    dice.shuffle(chunks)
    return chunks


def combined(folder: Path, results: Sequence[Any], name: str, seed: int = 0, task: int = 2) -> bytes:
    target = folder / name
    done = combine(SegmentFolder(folder), folder, stored(folder, results, target.suffix, seed, task), target)
    data = target.read_bytes()
    assert (done.name, done.bytes, done.sha256) == (target.name, len(data), hashlib.sha256(data).hexdigest())
    return data


# Text


def test_txt_and_jsonl_are_the_payloads_in_order(tmp_path: Path) -> None:
    results = [[f"{i} a", f"{i} b"] for i in range(8)]
    assert combined(tmp_path, results, "out.txt").decode() == "".join(f"{i} a\n{i} b\n" for i in range(8))
    assert combined(tmp_path, [[{"a": 1}], [{"b": 2}]], "out.jsonl") == b'{"a":1}\n{"b":2}\n'


def test_csv_has_one_header_and_rows_are_counted(tmp_path: Path) -> None:
    chunks = stored(tmp_path, [[1, 2], [3]], ".csv")
    done = combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == b"result\n1\n2\n3\n"
    assert done.rows == 3


def test_csv_columns_are_the_union_in_order_of_first_appearance(tmp_path: Path) -> None:
    results = [[], [{"b": 1, "a": 'x,"'}], [{"a": 2, "c,": "\n"}], [None, "s"], [{"a": 3, "b": 4}], pd.DataFrame()]
    data = combined(tmp_path, results, "out.csv", task=6)
    assert data == b'b,a,"c,",result\n1,"x,""",,\n,2,"\n",\n,,,""\n,,,s\n4,3,,\n'


def test_csv_a_lone_blank_stays_a_row_beside_other_columns(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(combined(tmp_path, [[None], [{"a": 1}]], "out.csv").decode())))
    assert rows == [{"result": "", "a": ""}, {"result": "", "a": "1"}]


def test_nothing_at_all_is_an_empty_file(tmp_path: Path) -> None:
    for name in ("out.csv", "out.txt", "out.jsonl"):
        assert combined(tmp_path, [[], []], name) == b""
        assert combined(tmp_path, [], name) == b""
    combined(tmp_path, [[]], "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").shape == (0, 0)


texts = st.text(st.sampled_from("a,\"\r\n 'é\0;"), max_size=4)
rows_strategy = st.lists(st.dictionaries(st.sampled_from(["a", 'b"', "c,", "\n"]), texts, min_size=1), max_size=3)


@given(st.lists(rows_strategy, max_size=6), st.integers(0, 9), st.integers(1, 4))
@settings(max_examples=40)
def test_csv_reads_back_and_does_not_depend_on_tasks(results: list[Any], seed: int, task: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        data = combined(folder, results, "out.csv", seed, task)
        assert data == combined(folder, results, "again.csv")
    expected = [row for result in results for row in result]
    found = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [{key: value for key, value in row.items() if value} for row in found] == [
        {key: value for key, value in row.items() if value} for row in expected
    ]


def test_pieces_are_cut_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_BLOCK_BYTES", 10)
    monkeypatch.setattr(payloads, "_PARTS", 3)
    monkeypatch.setattr(open_files, "_OPEN_FILES", 1)
    monkeypatch.setattr(publishing, "_HASH_APART", 8)
    results = [["x" * i] for i in range(30)]
    assert combined(tmp_path, results, "out.txt").decode() == "".join("x" * i + "\n" for i in range(30))


# Parquet


def test_parquet_unifies_columns_and_types(tmp_path: Path) -> None:
    results = [
        pd.DataFrame({"i": [1], "n": [None]}),
        pd.DataFrame({"i": [2.5], "s": ["x"]}),
        pd.DataFrame({"n": [3], "i": [4], "null": [None]}),
    ]
    combined(tmp_path, results, "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert {f.name: str(f.type) for f in found.schema} == {"i": "double", "n": "int64", "s": "string", "null": "string"}
    assert found.to_pydict() == {
        "i": [1.0, 2.5, 4.0], "n": [None, None, 3], "s": [None, "x", None], "null": [None, None, None],
    }  # fmt: skip


def test_parquet_types_that_do_not_unify_name_both_mini_batches(tmp_path: Path) -> None:
    results = [[{"score": None}], [{"score": 1}], [{"other": 1}], [{"score": "a"}]]
    chunks = stored(tmp_path, results, ".parquet")
    with pytest.raises(RunFailed, match=r"column 'score' is int64 in mini-batch 0-1 and string in mini-batch 1-0"):
        combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.parquet")
    assert sorted(path.suffix for path in tmp_path.iterdir()).count(".seg") == len(list(tmp_path.iterdir()))


def test_a_value_that_does_not_fit_the_common_type_is_said_with_its_column(tmp_path: Path) -> None:
    chunks = stored(tmp_path, [[{"id": 2**60 + 1}], [{"id": 0.5}]], ".parquet")
    with pytest.raises(RunFailed, match=r"column 'id' is int64 .* and double because of others.*1152921504606846977"):
        combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("group_bytes", [300, 2**20])
def test_parquet_bytes_do_not_depend_on_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_bytes: int
) -> None:
    monkeypatch.setattr(combine_parquet, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(combine_parquet, "ROW_GROUP_BYTES", group_bytes)
    results = [pd.DataFrame({"a": range(i % 5), "b": ["x" * i] * (i % 5)}) for i in range(20)]
    once = combined(tmp_path, results, "out.parquet")
    for seed, task in ((1, 1), (2, 3), (3, 20)):
        assert combined(tmp_path, results, "again.parquet", seed, task) == once
    file = pq.ParquetFile(tmp_path / "out.parquet")
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(groups) == sum(i % 5 for i in range(20))
    if group_bytes == 2**20:
        assert set(groups[:-1]) == {7}
    pd.testing.assert_frame_equal(file.read().to_pandas(), pd.concat(results, ignore_index=True), check_dtype=False)


def test_parquet_has_dictionaries_where_values_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combine_parquet, "ROW_GROUP_ROWS", 40)
    results = [
        [
            {"id": 10 * i + j, "label": "cat" if j % 2 else "dog", "path": f"{i}/{j}", "top": [j % 2], "gone": None}
            for j in range(10)
        ]
        for i in range(10)
    ]
    combined(tmp_path, results, "out.parquet")
    file = pq.ParquetFile(tmp_path / "out.parquet")
    group = file.metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    has = {column.path_in_schema.split(".")[0]: column.has_dictionary_page for column in columns}
    assert has == {"id": False, "label": True, "path": False, "top": True, "gone": True}
    assert file.metadata.num_row_groups == 3
    assert file.read().to_pylist() == [row for result in results for row in result]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pa.null(), pa.string(), pa.string()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint64(), pa.int64(), None),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.float16(), pa.float32(), pa.float32()),
        (pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("s"), pa.timestamp("s", "UTC"), None),
        (pa.list_(pa.null()), pa.list_(pa.int8()), pa.list_(pa.int8())),
        (pa.bool_(), pa.int8(), None),
        (pa.string(), pa.int8(), None),
    ],
)
def test_types_unify_either_way_round(one: pa.DataType, other: pa.DataType, expected: pa.DataType | None) -> None:
    assert unify(one, other) == expected
    assert unify(other, one) == expected


# Publishing


def test_the_result_appears_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out" / "out.csv"
    target.parent.mkdir()
    target.write_text("old")
    chunks = stored(tmp_path, [[1]], ".csv")

    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(early_sync, "write_all", full)
        with pytest.raises(OSError, match="No space"):
            combine(SegmentFolder(tmp_path), tmp_path, chunks, target)
    assert {path.name: path.read_text() for path in target.parent.iterdir()} == {"out.csv": "old"}
    combine(SegmentFolder(tmp_path), tmp_path, chunks, target)
    assert target.read_text() == "result\n1\n"
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_disk_that_refuses_at_the_very_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a disk that tells of its error when the file is closed
    chunks = stored(tmp_path, [[1]], ".csv")
    before = set(tmp_path.iterdir())
    close = os.close

    def refuse(fd: int) -> None:
        close(fd)
        raise OSError(122, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(publishing.os, "close", refuse)
        # Then that is told, and not in the place of another one; and nothing is left
        with pytest.raises(OSError, match="quota"), publishing.publishing(tmp_path, tmp_path / "out.csv") as file:
            file.sink.write(b"x")
        with pytest.raises(KeyError), publishing.publishing(tmp_path, tmp_path / "out.csv"):
            raise KeyError
    assert set(tmp_path.iterdir()) == before
    assert combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv").rows == 1


def test_a_damaged_payload_is_named(tmp_path: Path) -> None:
    chunks = stored(tmp_path, [["aaaa"], ["bbbb"]], ".csv", task=2)
    path = tmp_path / chunks[0].segment
    data = bytearray(path.read_bytes())
    data[6] ^= 1
    path.write_bytes(data)
    with pytest.raises(SegmentDamaged, match="mini-batch 0-1 at byte 5 is damaged"):
        combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_mini_batch_that_counts_twice_is_no_result(tmp_path: Path) -> None:
    chunks = stored(tmp_path, [["a"]], ".csv") + stored(tmp_path, [["a"]], ".csv")
    with pytest.raises(RunFailed, match="0-0 was committed twice"):
        combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv")


def test_the_report_lists_mini_batches_in_order(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    for key, items, seconds in (
        ((1, 0), 5, 1 / 3), ((0, 2), UNKNOWN_ITEMS, 1e-5), ((0, 1), 0, 1.0), ((0, 0), 3, 3599.9999996), ((1, 1), 1, 0.0)
    ):  # fmt: skip
        writer.append(Record(*key, items, 2, 1, 0, 0, 0, seconds), b"x\n", "")
    chunk = writer.commit()
    writer.close()
    assert chunk is not None
    write_processed_csv(SegmentFolder(tmp_path), tmp_path, [chunk], tmp_path / "processed.csv")
    assert (tmp_path / "processed.csv").read_text().splitlines() == [
        "mini_batch,items,returned,rows,seconds",
        "0-0,3,2,1,3600.000000",
        "0-2,,2,1,0.000010",
        "1-0,5,2,1,0.333333",
        "1-1,1,2,1,0.000000",
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.txt", "out.jsonl"])
def test_combining_and_its_report_do_without_arrow_and_pandas(tmp_path: Path, name: str) -> None:
    chunks = stored(tmp_path, [[1, 2], [3]], Path(name).suffix)
    program = (
        "import sys; from pathlib import Path; from daskbatch.types import Chunk\n"
        "from daskbatch.store.combine import combine, write_processed_csv\n"
        "from daskbatch.store.segments import SegmentFolder\n"
        f"folder = Path({str(tmp_path)!r}); segments, chunks = SegmentFolder(folder), {chunks!r}\n"
        f"combine(segments, folder, chunks, folder / {name!r})\n"
        "write_processed_csv(segments, folder, chunks, folder / 'processed.csv')\n"
        "assert not {'pyarrow', 'pandas'} & set(sys.modules), 'importing them takes longer than a small run combines'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "processed.csv").read_text().splitlines()[1].startswith("0-0,")
