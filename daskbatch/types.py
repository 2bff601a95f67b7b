"""The words that the planner, the readers and the runners share.

This module also runs inside the runner's interpreter, which may be older than
the one Dask runs in: it keeps to the standard library and to Python 3.9.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "NO_ROW",
    "OPEN_END",
    "UNKNOWN_ITEMS",
    "WHOLE_FILES",
    "Chunk",
    "MiniBatch",
    "MiniBatchSize",
    "Record",
    "TableFormat",
]

OPEN_END = -1
"""`MiniBatch.stop` of a stream: from this mini-batch on, to the end of the unit."""

WHOLE_FILES = -2
"""`MiniBatch.stop` of a table's mini-batch that is all rows of all of `paths`."""

NO_ROW = -1
"""`MiniBatch.row` where planning did not count rows."""

UNKNOWN_ITEMS = 0xFFFFFFFF
"""`Record.items` of a mini-batch that failed before its rows were read."""


class MiniBatch(NamedTuple):
    """What one ``run()`` call gets, described; the data itself never travels.

    ``(file, index)`` is the key: the mini-batch's place in the input's order.
    """

    file: int
    """Number of the (first) file in the input's order, from 0."""
    index: int  # type: ignore[assignment]
    """Place among the mini-batches of that file, from 0. Always 0 for files."""
    paths: tuple[str, ...]
    """Absolute paths. One path for a table, unless `stop` is `WHOLE_FILES`."""
    unit: int = 0
    """Read unit: the first row group of Parquet, else 0."""
    start: int = 0
    """Text: first byte. Parquet: first row within the row group `unit`. Partition: first row.
    Stream: how many mini-batches are wanted from `index` on, 0 for all."""
    stop: int = 0
    """Text: byte after the last. Parquet: row after the last, counted from the first row of
    `unit`, so it may reach into later row groups. `OPEN_END` for a stream. `WHOLE_FILES`."""
    row: int = NO_ROW
    """Rows of the whole input that come before this mini-batch, or `NO_ROW`."""
    size: int = -1
    """Size of a table's file in bytes when it was planned; -1: not checked."""
    mtime_ns: int | str = -1
    """Modification time of a table's file in nanoseconds when it was planned; of an object its etag; -1: not
    checked."""
    stamps: tuple[Any, ...] = ()
    """Files and `WHOLE_FILES`: size in bytes, and modification time or etag as in `mtime_ns`, of each of `paths` when
    they were planned, flat. Empty: not checked."""

    @property
    def key(self) -> tuple[int, int]:
        """``(file, index)``."""
        return self[:2]

    @property
    def name(self) -> str:
        """The key as people read it in logs and failures, such as ``"3-17"``."""
        return f"{self.file}-{self.index}"


class MiniBatchSize(NamedTuple):
    """A parsed ``mini_batch_size``."""

    kind: str
    """``"files"``, ``"bytes"`` or ``"rows"``."""
    value: int
    """The count, at least 1."""


class TableFormat(NamedTuple):
    """How the bytes of a table become rows. The same for every file of an input."""

    format: str
    """``"csv"`` (any separator), ``"jsonl"``, ``"parquet"`` or ``"arrow"`` (a Dask partition)."""
    size: MiniBatchSize
    """Where streams are cut while they are read."""
    separator: str = ","
    header: bool = True
    """The first line of each file holds the column names."""
    encoding: str = "utf-8"
    multi_line: bool = False
    """``support_multi_line``: quoted fields may hold newlines."""
    columns: tuple[tuple[str, str], ...] = ()
    """(name, type) in order; a type is an Arrow type's name such as ``"int64"``. Empty: not known yet."""
    dtype: tuple[tuple[str, str], ...] = ()
    """(name, type) pairs that the user gave; they win over what the sample says."""
    schema_from: str = ""
    """The file that `columns` was first read from, for error messages."""
    include_path: bool = False
    """A column of the file's path comes before those of the file."""
    partition_format: str = ""
    """The keys of this format of paths come behind the columns of the file; empty: none."""
    selection: tuple[str, ...] = ()
    """The names of `columns`, where a file may have others, which are not read. Empty: it has these alone."""
    fields: int = 0
    """Fields of a record of text without header, where `selection` says less; 0: as many as `columns`."""


class Record(NamedTuple):
    """What became of one mini-batch, as the index of a segment chunk keeps it."""

    file: int
    index: int  # type: ignore[assignment]
    items: int
    """Items that went in; 0 for a range without records."""
    returned: int
    """Elements that ``run()`` returned; more than `items` is no error."""
    rows: int
    """Lines or rows that the payload adds to the combined result."""
    columns: int
    """Number of the payload's column signature within its chunk."""
    length: int
    """Payload bytes."""
    checksum: int
    """CRC-32 of the payload."""
    seconds: float
    """Time inside ``run()``."""


class Chunk(NamedTuple):
    """A committed byte range of a segment: payloads back to back, then their index."""

    segment: str
    """File name within the segments folder."""
    offset: int
    """First byte of the first payload."""
    index: int  # type: ignore[assignment]
    """First byte of the index."""
    end: int
    """Byte after the index."""
    count: int  # type: ignore[assignment]
    """Records in the index."""
    checksum: int
    """CRC-32 of the index."""
    token: str = ""
    """Etag of the object, where segments are objects; empty: a file."""
