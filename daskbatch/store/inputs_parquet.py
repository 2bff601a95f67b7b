"""Row groups of Parquet files: small ones whole, large ones in slices, each decoded once.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daskbatch.errors import MiniBatchError
from daskbatch.store.inputs_csv import misfit, refuse_missing, refuse_other_names
from daskbatch.store.inputs_types import arrow_type
from daskbatch.types import OPEN_END, MiniBatch, TableFormat

__all__ = ["ParquetFileReader", "is_damage"]

_DECODE_ROWS = 65536
"""Rows decoded at once at most, so that a slice of any size has bounded memory beside it."""


def is_damage(error: Exception) -> bool:
    """Whether an error of pyarrow's is of what the file holds: a damaged page, a codec that is not there.

    Those of the system, which a disk has, carry its number; Arrow's own of the same class have none.
    """
    import pyarrow as pa

    return isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None)


class ParquetFileReader:
    """One Parquet file, kept open between its mini-batches."""

    def __init__(self, path: str, table: TableFormat) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self._table = table
        try:
            # No pre_buffer: it would hold a large row group's bytes in memory at once.
            self._file: Any = pq.ParquetFile(path, pre_buffer=False)
        except Exception as error:
            if not is_damage(error):
                raise
            raise MiniBatchError(f"{path} is no Parquet file that can be read: {error}") from error
        self._selection = list(table.selection) or None
        self._types = {name: arrow_type(kind) for name, kind in table.columns if _is_told(kind)}
        self._batches: Iterator[Any] | None = None
        self._unit, self._position = -1, 0
        self._left: Any = None

    def close(self) -> None:
        """Let the file go."""
        self._batches = self._left = None
        self._file.close()

    def read(self, mini_batch: MiniBatch) -> Any:
        """The rows of a mini-batch, or None where there are none. The stop `OPEN_END`: all of the file."""
        wanted = [name for name, _ in self._table.columns]
        refuse_other_names(tuple(self._file.schema_arrow.names), self.path, self._table)
        try:
            rows = self._rows(mini_batch)
        except Exception as error:
            self._batches = None  # it has ended: the next try would find no rows left, and take that for an answer
            if not is_damage(error):
                raise
            raise MiniBatchError(f"{self.path}: row group {mini_batch.unit} cannot be read: {error}") from error
        if not rows.num_rows:
            return None
        rows = self._typed(rows.select(wanted).replace_schema_metadata(None))
        refuse_missing(rows, self._table, self.path)
        return rows

    def _rows(self, mini_batch: MiniBatch) -> Any:
        unit, start, stop = mini_batch.unit, mini_batch.start, mini_batch.stop
        if stop == OPEN_END:
            return self._file.read(columns=self._selection, use_threads=False)
        groups: list[int] = []
        rows = 0
        while rows < stop and unit + len(groups) < self._file.num_row_groups:
            rows += self._file.metadata.row_group(unit + len(groups)).num_rows
            groups.append(unit + len(groups))
        if start == 0 and rows == stop:
            return self._file.read_row_groups(groups, columns=self._selection, use_threads=False)
        return self._slice(unit, start, stop)

    def _slice(self, unit: int, start: int, stop: int) -> Any:
        """Rows of one row group; slice after slice costs one pass."""
        import pyarrow as pa

        if self._batches is None or unit != self._unit or start < self._position:
            size = min(stop - start, _DECODE_ROWS)
            self._batches = self._file.iter_batches(
                batch_size=size, row_groups=[unit], columns=self._selection, use_threads=False
            )
            self._unit, self._position, self._left = unit, 0, None
        parts = []
        while self._position < stop:
            batch = self._left
            self._left = None
            if batch is None:
                batch = next(self._batches, None)
            if batch is None:
                raise MiniBatchError(f"{self.path}: row group {unit} has {self._position} rows, and {stop} are wanted")
            skipped = min(max(start - self._position, 0), batch.num_rows)
            taken = min(stop - self._position, batch.num_rows) - skipped
            if taken > 0:
                parts.append(batch.slice(skipped, taken))
            if skipped + max(taken, 0) < batch.num_rows:
                self._left = batch.slice(skipped + taken)
            self._position += skipped + max(taken, 0)
        return pa.Table.from_batches(parts, schema=None if parts else self._file.schema_arrow)

    def _typed(self, rows: Any) -> Any:
        """The columns in the schema's types; `str` where Arrow cannot name a type in full."""
        import pyarrow as pa

        for place, (name, declared) in enumerate(self._table.columns):
            column = rows.column(place)
            if str(column.type) == declared or column.type == self._types.get(name):
                continue
            try:
                if name not in self._types:
                    raise pa.ArrowInvalid("")
                column = _as_type(column, self._types[name])
            except pa.ArrowException as error:
                raise misfit(self._table, self.path, name, declared, f"its {column.type} ({error})", "string") from None
            rows = rows.set_column(place, pa.field(name, column.type), column)
        return rows


def _is_told(kind: str) -> bool:
    try:
        arrow_type(kind)
    except ValueError:
        return False
    return True


def _as_type(column: Any, wanted: Any) -> Any:
    """Cast, dictionaries decoded first: their categories differ from row group to row group."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if column.type == wanted else column.cast(wanted)
