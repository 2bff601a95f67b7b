"""Read one mini-batch of a table. The runner and ``to_dask`` use this one reader, so they cannot differ.

Runs inside the runner's interpreter too: Python 3.9; pandas and pyarrow are imported only where a table is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from daskbatch.errors import MiniBatchError, SchemaError
from daskbatch.store.copy_names import CopyNames
from daskbatch.store.inputs_csv import CsvParser
from daskbatch.store.inputs_json import JsonParser
from daskbatch.store.inputs_parquet import ParquetFileReader
from daskbatch.store.inputs_path import PathColumns
from daskbatch.store.inputs_stream import TextStream
from daskbatch.store.inputs_text import Piece, TextFile, reads_as_utf8
from daskbatch.store.inputs_unchanged import refuse_changed
from daskbatch.types import NO_ROW, OPEN_END, WHOLE_FILES, MiniBatch, TableFormat

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["TableReader", "is_marked", "to_frame"]

_Unit = Union[TextFile, TextStream, ParquetFileReader]

_BOOLEAN = {b"daskbatch": b"boolean"}
"""Mark of an Arrow field that becomes pandas' nullable boolean."""


class TableReader:
    """Reads the mini-batches of one input. Keeps the last read unit open, for the next one in order.

    Parameters
    ----------
    table
        The format, with its columns filled in by the planner.
    names
        Tells which objects the paths of mini-batches stand for.
    """

    def __init__(self, table: TableFormat, names: CopyNames | None = None) -> None:
        self._table = table
        self._names_of = (names or CopyNames()).of
        self._unit: _Unit | None = None
        self._key: Any = None
        self._names: tuple[str, ...] | None = None
        self._partition: Any = None
        self._by_path = PathColumns(table)
        self._booleans = [name for name, kind in table.columns if kind == "boolean"]
        if table.format in ("csv", "jsonl"):
            self._parser: Any = CsvParser(table) if table.format == "csv" else JsonParser(table)
            self._utf8 = reads_as_utf8(table.encoding)

    def open_partition(self, data: bytes) -> None:
        """Take a Dask partition, as an Arrow IPC stream; the mini-batches that follow are slices of it."""
        import pyarrow as pa

        self._partition = pa.ipc.open_stream(data).read_all()
        kind, value = self._table.size
        rows, size = self._partition.num_rows, self._partition.nbytes
        self._step = value if kind == "rows" else max(1, rows * value // max(size, 1))

    def read(self, mini_batch: MiniBatch) -> pa.Table | None:
        """The rows of a mini-batch.

        Parameters
        ----------
        mini_batch
            An exact descriptor; or one with the stop `WHOLE_FILES`; or one with `OPEN_END`, which stands for the
            mini-batch number `index` of its stream. An index after the last one read goes on from there, another
            one reads from the start again.

        Returns
        -------
        pyarrow.Table or None
            None where the range holds no record, or the stream ended before the index.

        Raises
        ------
        SchemaError
            Where columns or a value differ from the input's schema. Later mini-batches can be read.
        MultiLineText
            Where newlines inside quotes were not allowed for.
        MiniBatchError
            Where the file is damaged or has changed since it was planned.
        OSError
            Where the file has vanished or cannot be read.
        """
        if mini_batch.stop == WHOLE_FILES:
            return self._whole(mini_batch)
        if self._table.format == "arrow":
            return self._slice(mini_batch)
        unit = self._opened(mini_batch)
        if isinstance(unit, ParquetFileReader):
            rows = unit.read(mini_batch)
        else:
            piece = _stream_piece(unit, mini_batch.index) if isinstance(unit, TextStream) else unit.piece(mini_batch)
            rows = None if piece is None else self._parsed(piece, unit)
        return None if rows is None else self._by_path.add(self.marked(rows), self._names_of(unit.path))

    def close(self) -> None:
        """Let the open file go."""
        unit, self._unit = self._unit, None
        if unit is not None:
            unit.close()

    def _whole(self, mini_batch: MiniBatch) -> pa.Table | None:
        """All rows of all its files, read piece by piece."""
        import pyarrow as pa

        parts: list[pa.Table] = []
        stamps = iter(mini_batch.stamps)
        try:
            for place, path in enumerate(mini_batch.paths):
                stamp = next(stamps, -1), next(stamps, -1)
                part = MiniBatch(mini_batch.file + place, 0, (path,), 0, 0, OPEN_END, NO_ROW, *stamp)
                while (rows := self.read(part)) is not None:
                    parts.append(rows)
                    if self._table.format == "parquet":
                        break
                    part = part._replace(index=part.index + 1)
        except MiniBatchError as error:
            error.items = None  # those of one piece would not be all
            raise
        # Where one file says that a column has no gaps and another does not, the types are the same.
        return pa.concat_tables(parts, promote_options="default") if parts else None

    def _slice(self, mini_batch: MiniBatch) -> pa.Table | None:
        rows = self._partition.slice(mini_batch.index * self._step, self._step)
        return rows if rows.num_rows else None

    def _opened(self, mini_batch: MiniBatch) -> _Unit:
        """The read unit of this mini-batch, opened where it is not the one that is open."""
        path = mini_batch.paths[0]
        # By name each time, not by the open file: a file that was replaced must not go unseen.
        refuse_changed((path,), (mini_batch.size, mini_batch.mtime_ns))
        stream = mini_batch.stop == OPEN_END and self._table.format != "parquet"
        key = (mini_batch.file, path, stream, mini_batch.size, mini_batch.mtime_ns)
        unit = self._unit
        gone_by = isinstance(unit, TextStream) and mini_batch.index < unit.position - (unit.last is not None)
        if unit is None or key != self._key or gone_by:
            self.close()
            self._names = None
            if self._table.format == "parquet":
                unit = ParquetFileReader(path, self._table)
            else:
                unit = TextStream(path, self._table) if stream else TextFile(path, self._table)
            self._unit, self._key = unit, key
        return unit

    def _parsed(self, piece: Piece, unit: TextFile | TextStream) -> pa.Table | None:
        utf8 = self._utf8 or (isinstance(unit, TextStream) and unit.is_utf8)
        if self._names is None:
            self._names = self._parser.names(unit.header, unit.path, utf8)
        try:
            rows: pa.Table | None = self._parser.parse(piece.data, piece.begin, self._names, unit.path, utf8)
        except SchemaError as error:
            error.items = self._count(piece.data)
            raise
        return rows

    def _count(self, data: bytes) -> int:
        """Records in a piece of text that could not be parsed: all of them fail."""
        if self._table.multi_line:
            from daskbatch.store.scan import RecordScanner

            return len(RecordScanner(quotes=True, separator=self._table.separator).feed(data, last=True)[0])
        return sum(1 for line in data.split(b"\n") if line.strip())

    def marked(self, rows: pa.Table | None) -> pa.Table | None:
        """Columns of booleans that may be missing carry a mark: pandas needs one dtype for all mini-batches."""
        if rows is not None and self._booleans:
            for name in self._booleans:
                place = rows.schema.get_field_index(name)
                field = rows.schema.field(place).with_metadata(_BOOLEAN)
                rows = rows.set_column(place, field, rows.column(place))
        return rows


def _stream_piece(stream: TextStream, index: int) -> Piece | None:
    """Mini-batch number `index`; those before it are passed over, damage and all."""
    if index == stream.position - 1 and stream.last is not None:
        return stream.last
    while stream.position < index:
        try:
            if next(stream, None) is None:
                return None
        except MiniBatchError:
            continue  # it is that mini-batch's failure, not this one's
    return next(stream, None)


def is_marked(field: pa.Field) -> bool:
    """Whether this is a column of booleans that may be missing."""
    return bool(field.metadata) and _BOOLEAN.items() <= field.metadata.items()


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The rows as pandas sees them, with a plain RangeIndex."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(use_threads=False)
    for name in [field.name for field in table.schema if is_marked(field)]:
        frame[name] = frame[name].astype("boolean")
    if not (isinstance(frame.index, pd.RangeIndex) and frame.index.start == 0 and frame.index.step == 1):
        frame = frame.reset_index(drop=True)
    return frame
