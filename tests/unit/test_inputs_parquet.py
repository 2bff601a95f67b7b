"""A Parquet file that cannot be read: the error says where, and a second try does not take it for an empty one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daskbatch.errors import MiniBatchError
from daskbatch.store.inputs_parquet import ParquetFileReader, is_damage
from daskbatch.types import MiniBatch, MiniBatchSize, TableFormat

COUNT, STEP = 200_000, 50_000
TABLE = TableFormat("parquet", MiniBatchSize("rows", STEP), columns=(("a", "int64"),))


def slices(path: Path) -> list[MiniBatch]:
    """Of one row group."""
    return [
        MiniBatch(0, place, (str(path),), 0, start, start + STEP) for place, start in enumerate(range(0, COUNT, STEP))
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A row group of many pages."""
    pq.write_table(pa.table({"a": range(COUNT)}), tmp_path / "a.parquet", use_dictionary=False, data_page_size=100_000)
    return tmp_path / "a.parquet"


def test_a_damaged_page_fails_every_try_of_all_that_needs_it(path: Path) -> None:
    # Given damage in the middle of a row group that is read in slices
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    data[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(data)
    # When each is tried three times
    reader = ParquetFileReader(str(path), TABLE)
    outcomes = []
    for one in slices(path):
        for _ in range(3):
            try:
                outcomes.append("none" if reader.read(one) is None else "read")
            except MiniBatchError as error:
                outcomes.append(str(error))
    reader.close()
    # Then no try finds that there is nothing to read
    assert outcomes[:3] == ["read"] * 3
    assert len(outcomes) == 12
    assert all(f"{path}: row group 0 cannot be read: " in outcome for outcome in outcomes[3:])


def test_an_error_of_the_disk_stays_what_it_is_and_may_pass(path: Path) -> None:
    def broken() -> Iterator[Any]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
        yield

    # Given a disk that fails between two slices of a row group
    first, second, *_ = slices(path)
    reader = ParquetFileReader(str(path), TABLE)
    assert reader.read(first).num_rows == STEP
    reader._batches, reader._left = broken(), None
    # Then that is told, and the next try has the rows
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as told:
        reader.read(second)
    assert told.value.errno == errno.EIO
    assert reader.read(second).column("a")[0].as_py() == STEP
    reader.close()


def test_a_row_group_that_ends_too_soon_is_no_shorter_mini_batch(path: Path) -> None:
    reader = ParquetFileReader(str(path), TABLE)
    with pytest.raises(MiniBatchError, match=r"a\.parquet: row group 0 has 200000 rows, and 200001 are wanted"):
        reader.read(MiniBatch(0, 0, (str(path),), 0, 10, COUNT + 1))
    reader.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pa.ArrowInvalid("a page"), True),
        (pa.ArrowNotImplementedError("a codec"), True),
        (OSError("Corrupt snappy compressed data."), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (FileNotFoundError("it is gone"), False),
        (ConnectionError("a store"), False),
        (ValueError("a bug"), False),
    ],
)
def test_damage_is_told_from_errors_of_the_system(error: Exception, expected: bool) -> None:
    assert is_damage(error) is expected
