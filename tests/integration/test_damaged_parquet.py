"""A damaged Parquet file costs its own mini-batches, after every try, and none of them is taken for an empty one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskbatch

SCRIPT = """
    def run(mini_batch):
        return mini_batch["a"].tolist()
"""


@pytest.mark.parametrize("compute", ["serial", "local"])
def test_the_first_file_is_damaged(compute: str, tmp_path: Path, script: Callable[..., str]) -> None:
    # Given two files, the first of which has a damaged page
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        pq.write_table(pa.table({"a": range(number * 100, number * 100 + 100)}), folder / f"{number}.parquet")
    path = folder / "0.parquet"
    data = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    data[place : place + 12] = b"\xff" * 12
    path.write_bytes(data)
    # When they are run in slices of a row group
    run = daskbatch.run(
        script(SCRIPT), folder, output=tmp_path / "out", mini_batch_size="50rows", run_max_try=2, compute=compute,
        progress=False,
    )  # fmt: skip
    # Then the other file is there, and each slice of the one has failed twice
    assert run.to_pandas()["result"].tolist() == list(range(100, 200))
    failed = run.failed_items()
    assert [(entry["mini_batch"], entry["tries"], entry["error"]) for entry in failed] == [
        ("0-0", 2, "MiniBatchError"), ("0-1", 2, "MiniBatchError"),
    ]  # fmt: skip
    assert all(f"{path}: row group 0 cannot be read" in entry["message"] for entry in failed)
    assert run.summary["items"] == {"total": 102, "succeeded": 100, "failed": 2, "at_least": True}
