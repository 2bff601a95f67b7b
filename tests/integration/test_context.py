"""What ``run(mini_batch, context)`` is told besides its data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskbatch


def results(run: daskbatch.Run) -> list[Any]:
    """The lines of a ``.jsonl`` result: the values of each row."""
    assert run.output_file is not None
    return [list(json.loads(line).values()) for line in run.output_file.read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., daskbatch.Run]:
    """Run an entry script on one slot, one item a mini-batch, into JSON lines."""

    def start(entry: object, inputs: object, **options: Any) -> daskbatch.Run:
        own = {"mini_batch_size": 1, "process_count_per_node": 1, "append_row_file_name": "out.jsonl"}
        return daskbatch.run(entry, inputs, output=tmp_path / "out", progress=False, **{**own, **options})

    return start


def test_context_of_files(run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str]) -> None:
    # Given a script whose second mini-batch fails twice
    entry = script("""
        def run(mini_batch, context):
            if context.minibatch_index == "2-0" and context.retry_count < 2:
                raise ValueError("again")
            return [[context.minibatch_index, context.retry_count, context.partition_key_value] for _ in mini_batch]
        """)
    done = run(entry, files(4), mini_batch_size=2)
    assert results(done) == [["0-0", 0, {}], ["0-0", 0, {}], ["2-0", 2, {}], ["2-0", 2, {}]]


CONTEXT_OF_ROWS = """
    def run(mini_batch, *, context):
        bound = context.global_row_index_lower_bound
        return [[int(value), context.minibatch_index, bound] for value in mini_batch["id"]]
"""


def test_rows_know_their_place_in_parquet(run: Callable[..., Any], script: Callable[..., str], tmp_path: Path) -> None:
    # Given two Parquet files of 10 rows, in row groups of 4
    (tmp_path / "in").mkdir()
    for part in range(2):
        table = pa.table({"id": list(range(part * 10, part * 10 + 10))})
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet", row_group_size=4)
    done = run(script(CONTEXT_OF_ROWS), tmp_path / "in", mini_batch_size="3rows")
    # Then each mini-batch knows how many rows of the whole input come before it
    places = [(value, bound) for value, _, bound in results(done)]
    assert [value for value, _ in places] == list(range(20))
    first = {bound: min(value for value, other in places if other == bound) for _, bound in places}
    assert all(bound == value for bound, value in first.items())
    assert len(first) > 6


def test_rows_know_their_place_in_text_cut_by_rows(
    run: Callable[..., Any], script: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(10)))
    done = run(script(CONTEXT_OF_ROWS), tmp_path / "in.csv", mini_batch_size="4rows")
    assert results(done) == [[value, f"0-{value // 4}", value - value % 4] for value in range(10)]


def test_rows_of_text_cut_by_bytes_do_not(run: Callable[..., Any], script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(10)))
    done = run(script(CONTEXT_OF_ROWS), tmp_path / "in.csv", mini_batch_size="8")
    assert [value for value, _, _ in results(done)] == list(range(10))
    assert {bound for _, _, bound in results(done)} == {None}
