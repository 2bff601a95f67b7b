"""Whatever the input, the size of the mini-batches, the slots and the format: the bytes are those of the serial way."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskbatch

ROWS = 90
FILES = 3

# The result shows what the mini-batch was like, too: its length, its types, its index.
TABLE_SCRIPT = """
    def run(mini_batch):
        result = mini_batch.copy()
        result["rows"] = len(mini_batch)
        result["types"] = " ".join(str(kind) for kind in mini_batch.dtypes)
        result["first"] = mini_batch.index[0]
        return result
"""
FILE_SCRIPT = """
    from pathlib import Path

    def run(mini_batch):
        sizes = [Path(path).stat().st_size for path in mini_batch]
        return [{"name": Path(path).name, "size": size, "of": len(sizes)} for path, size in zip(mini_batch, sizes)]
"""


def rows(part: int) -> Iterator[tuple[int, float | None, str, str]]:
    """Some of `FILES` parts: numbers, a blank here and there, text with all that needs quotes."""
    odd = random.Random(part)
    for number in range(part * ROWS // FILES, (part + 1) * ROWS // FILES):
        text = odd.choice(["plain", "two, words", 'a "quoted" one', "größer", "ab" * odd.randrange(1, 30)])
        yield number, None if number % 7 == 3 else odd.random() * 1000, text, f"{number:05d}"


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def delimited(part: int, separator: str, newline: str = "") -> str:
    lines = [separator.join(("id", "value", "text", "code"))]
    for number, value, text, code in rows(part):
        shown = quoted(text.replace(" ", newline or " "))
        lines.append(separator.join((str(number), "" if value is None else repr(value), shown, code)))
    return "\n".join(lines) + "\n"


def json_lines(part: int) -> str:
    names = ("id", "value", "text", "code")
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows(part))


def make_csv(path: Path, part: int) -> None:
    path.write_text(delimited(part, ","))


def make_multi_line(path: Path, part: int) -> None:
    path.write_text(delimited(part, ",", newline="\n"))


def make_gzip(path: Path, part: int) -> None:
    path.write_bytes(gzip.compress(delimited(part, ",").encode()))


def make_tsv(path: Path, part: int) -> None:
    path.write_text(delimited(part, "\t"))


def make_jsonl(path: Path, part: int) -> None:
    path.write_text(json_lines(part))


def make_jsonl_gzip(path: Path, part: int) -> None:
    path.write_bytes(gzip.compress(json_lines(part).encode()))


def make_large_groups(path: Path, part: int) -> None:
    columns = zip(*rows(part), strict=True)
    pq.write_table(pa.table(dict(zip(("id", "value", "text", "code"), map(list, columns), strict=True))), path)


def make_small_groups(path: Path, part: int) -> None:
    make_large_groups(path, part)
    pq.write_table(pq.read_table(path), path, row_group_size=4)


def make_file(path: Path, part: int) -> None:
    path.write_bytes(b"x" * part)


KINDS: dict[str, tuple[str, Callable[[Path, int], None], tuple[str | int, str | int, str | int], dict[str, Any]]] = {
    "files": (".bin", make_file, (1, 4, 100), {}),
    "csv": (".csv", make_csv, (100, "7rows", "1KB"), {}),
    "csv_multi_line": (".csv", make_multi_line, (150, "7rows", "1KB"), {"support_multi_line": True}),
    "csv_gz": (".csv.gz", make_gzip, (100, "7rows", "1KB"), {}),
    "tsv": (".tsv", make_tsv, (100, "7rows", "1KB"), {}),
    "jsonl": (".jsonl", make_jsonl, (200, "7rows", "1KB"), {}),
    "jsonl_gz": (".jsonl.gz", make_jsonl_gzip, (200, "7rows", "1KB"), {}),
    "parquet_large_group": (".parquet", make_large_groups, (200, "7rows", "1KB"), {}),
    "parquet_small_groups": (".parquet", make_small_groups, (200, "7rows", "1KB"), {}),
}
"""Suffix, maker of one file, mini-batch sizes and options."""


@pytest.mark.parametrize(("place", "slots"), [(0, 1), (1, 2), (2, 4)], ids=["1 slot", "2 slots", "4 slots"])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_serial_way(
    kind: str, place: int, slots: int, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given an input of this kind in several files
    suffix, make, sizes, options = KINDS[kind]
    (tmp_path / "in").mkdir()
    count = 30 if kind == "files" else FILES
    for part in range(count):
        make(tmp_path / "in" / f"{part:02d}{suffix}", part)
    entry = script(FILE_SCRIPT if kind == "files" else TABLE_SCRIPT)
    options = {**options, "mini_batch_size": sizes[place]}
    # When it runs on so many slots, with tasks so short that they are cut
    run = daskbatch.run(
        entry,
        tmp_path / "in",
        output=tmp_path / "out",
        process_count_per_node=slots,
        task_seconds=0.02,
        progress=False,
        **options,
    )
    # Then all that was given is there, and every byte is the oracle's
    items = count if kind == "files" else ROWS
    assert run.summary["items"] == {"total": items, "succeeded": items, "failed": 0}
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, tmp_path / "in", **options)
    if kind != "files":
        assert list(run.to_pandas()["id"]) == list(range(ROWS))


@pytest.mark.parametrize("kind", ["csv", "csv_gz", "jsonl", "parquet_large_group", "parquet_small_groups"])
def test_columns_are_those_of_a_script_that_takes_them_from_all(
    kind: str, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given an input in several files, whose paths say something too
    suffix, make, _, options = KINDS[kind]
    (tmp_path / "in").mkdir()
    for part in range(FILES):
        make(tmp_path / "in" / f"{part:02d}{suffix}", part)
    options = {**options, "mini_batch_size": "7rows", "include_path": True, "partition_format": "/{part}.*"}
    # When only some columns are asked for
    chosen = ["code", "id"]
    run = daskbatch.run(
        script(TABLE_SCRIPT), tmp_path / "in", output=tmp_path / "out", columns=chosen, task_seconds=0.02,
        process_count_per_node=2, progress=False, **options,
    )  # fmt: skip
    # Then the bytes are the oracle's, and those of all columns of which the script takes these
    assert run.output_file is not None
    got = run.output_file.read_bytes()
    assert got == oracle(script(TABLE_SCRIPT), tmp_path / "in", columns=chosen, **options)
    select = "result = mini_batch.copy()"
    assert select in TABLE_SCRIPT
    taken = f"mini_batch = mini_batch[{['Path', *chosen, 'part']!r}]; {select}"
    assert got == oracle(script(TABLE_SCRIPT.replace(select, taken)), tmp_path / "in", fresh=True, **options)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.txt"])
@pytest.mark.parametrize("slots", [2])
def test_every_suffix_equals_the_serial_way(
    name: str, slots: int, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given a result of numbers and text
    make_csv(tmp_path / "in.csv", 0)
    make_csv(tmp_path / "in2.csv", 1)
    inputs = [tmp_path / "in2.csv", tmp_path / "in.csv"]  # an order that is not that of the names
    options = {"mini_batch_size": "3rows", "append_row_file_name": name}
    # When it is written in this format
    run = daskbatch.run(
        script(TABLE_SCRIPT),
        inputs,
        output=tmp_path / "out",
        process_count_per_node=slots,
        task_seconds=0.02,
        progress=False,
        **options,
    )
    # Then every byte is the oracle's
    assert run.output_file is not None
    assert run.output_file.name == name
    assert run.output_file.read_bytes() == oracle(script(TABLE_SCRIPT), inputs, **options)
    first = [int(value) for value in run.to_pandas().iloc[:, 0]]
    assert first == [*range(ROWS // FILES, 2 * ROWS // FILES), *range(ROWS // FILES)]


@pytest.mark.parametrize("seed", [1, 2])
def test_retries_do_not_change_the_bytes(
    seed: int, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given a script that fails, once each, at mini-batches drawn by lot: by raising or by dying
    (tmp_path / "in").mkdir()
    for part in range(FILES):
        make_csv(tmp_path / "in" / f"{part}.csv", part)
    (tmp_path / "marks").mkdir()
    drawn = random.Random(seed).sample(range(0, ROWS, 5), 6)
    entry = script(
        f"""
        import os
        import sys
        from pathlib import Path

        def run(mini_batch):
            first = int(mini_batch["id"][0])
            if first in {drawn} and len(sys.argv) > 1:
                mark = Path(sys.argv[1], str(first))
                if not mark.exists():
                    mark.touch()
                    if first % 2:
                        os._exit(3)
                    raise ValueError("not at the first time")
            return mini_batch
        """
    )
    options = {"mini_batch_size": "5rows"}
    # When it runs
    run = daskbatch.run(
        entry,
        tmp_path / "in",
        output=tmp_path / "out",
        arguments=[tmp_path / "marks"],
        process_count_per_node=2,
        task_seconds=0.05,
        progress=False,
        **options,
    )
    # Then each of them was tried again, and the bytes are those of the oracle, which did not fail
    assert sorted(int(mark.name) for mark in (tmp_path / "marks").iterdir()) == sorted(drawn)
    assert run.summary["tries"] == ROWS // 5 + len(drawn)
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, tmp_path / "in", **options)


def test_retries_in_streams_do_not_change_the_bytes(
    tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given gzip files, which are read as streams, and a script that fails once within each
    (tmp_path / "in").mkdir()
    (tmp_path / "marks").mkdir()
    for part in range(FILES):
        make_gzip(tmp_path / "in" / f"{part}.csv.gz", part)
    entry = script(
        """
        import os
        import sys
        from pathlib import Path

        def run(mini_batch):
            first = int(mini_batch["id"][0])
            if first in (10, 45, 60) and len(sys.argv) > 1:
                mark = Path(sys.argv[1], str(first))
                if not mark.exists():
                    mark.touch()
                    if first == 45:
                        os._exit(3)
                    raise ValueError("not at the first time")
            return mini_batch
        """
    )
    options = {"mini_batch_size": "5rows"}
    # When it runs
    run = daskbatch.run(
        entry,
        tmp_path / "in",
        output=tmp_path / "out",
        arguments=[tmp_path / "marks"],
        process_count_per_node=2,
        task_seconds=0.05,
        progress=False,
        **options,
    )
    # Then nothing is lost, doubled or moved
    assert run.summary["tries"] == ROWS // 5 + 3
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, tmp_path / "in", **options)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_columns_are_the_union_in_order_of_appearance(
    name: str, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given results whose columns differ from mini-batch to mini-batch
    make_csv(tmp_path / "in.csv", 0)
    entry = script(
        """
        def run(mini_batch):
            first = int(mini_batch["id"][0])
            result = mini_batch[["id"]].copy()
            if first % 10 == 5:
                result["late"] = "l, " + mini_batch["text"]
            if first >= 20:
                result = result.assign(third=1.5)[["third", *result.columns]]
            return result
        """
    )
    options = {"mini_batch_size": "5rows", "append_row_file_name": name}
    # When it runs
    run = daskbatch.run(
        entry, tmp_path / "in.csv", output=tmp_path / "out", process_count_per_node=2, task_seconds=0.02,
        progress=False, **options,
    )  # fmt: skip
    # Then each column is there once, and the bytes are the oracle's
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, tmp_path / "in.csv", **options)
    frame = run.to_pandas()
    assert list(frame.columns) == ["id", "late", "third"]
    assert list(frame["id"]) == list(range(30))
    assert list(frame["late"].notna()) == [number // 5 % 2 == 1 for number in range(30)]
    assert list(frame["third"].notna()) == [number >= 20 for number in range(30)]
