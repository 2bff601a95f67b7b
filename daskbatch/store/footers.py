"""Plan Parquet from its footers alone: schema, row groups, and where to cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from daskbatch.errors import InputError
from daskbatch.store.inputs_csv import names_differ
from daskbatch.store.inputs_parquet import is_damage
from daskbatch.store.inputs_types import name_of
from daskbatch.store.selection import is_of, refuse_missing_columns
from daskbatch.types import MiniBatchSize, TableFormat

__all__ = ["Cut", "Group", "ParquetSchema", "count_cuts", "cut_row_groups"]

Group = tuple[int, int]
"""Rows of a row group, and its estimated size as Arrow in bytes."""

EXACT_IN_FLOAT = 2**53
_BUFFER = 64 * 1024
_TRIED = 10
"""Row groups of a file from which on rows are asked for, one after the other where it is damaged."""


class Cut(NamedTuple):
    """A stretch of a file: whole row groups in one mini-batch, or slices of one row group."""

    unit: int
    """The first row group."""
    rows: int
    """Of the stretch."""
    step: int
    """Rows of each mini-batch but the last; equal to `rows` for whole row groups."""


def cut_row_groups(groups: Iterable[Group], size: MiniBatchSize) -> Iterator[Cut]:
    """Join small row groups up to `size`; slice larger ones."""
    first, rows, weight = 0, 0, 0
    for unit, (group_rows, group_bytes) in enumerate(groups):
        cost = group_rows if size.kind == "rows" else group_bytes
        if rows and weight + cost > size.value:
            yield Cut(first, rows, rows)
            rows = weight = 0
        if cost > size.value and group_rows:
            yield Cut(unit, group_rows, max(1, group_rows * size.value // cost))
            continue
        if not rows:
            first, weight = unit, 0
        rows += group_rows
        weight += cost
    if rows:
        yield Cut(first, rows, rows)


def count_cuts(groups: Iterable[Group], size: MiniBatchSize) -> int:
    """Number of mini-batches of one file."""
    return sum(-(-cut.rows // cut.step) for cut in cut_row_groups(groups, size))


class ParquetSchema:
    """Takes footer after footer; has one schema for all of them.

    pandas has no integers with gaps: a column of integers in which any row group counts a null is
    float64 in every mini-batch, or string where float64 would not keep its values. Booleans become nullable.

    Parameters
    ----------
    table
        Its ``selection``: the columns that count, in their order. A row is as long as these.
    """

    def __init__(self, table: TableFormat) -> None:
        self._selection = table.selection
        self._counts = is_of(table)
        self.names: tuple[str, ...] = ()
        self._fields: dict[str, Any] = {}
        self._schema: Any = None
        self._row_bytes = 0.0
        self._gaps: set[str] = set()
        self._large: set[str] = set()
        self.first = ""

    def add(self, path: str, metadata: Any, source: Callable[[], Any] | None = None) -> list[Group]:
        """Take a file's footer; return its row groups.

        Parameters
        ----------
        path
        metadata
        source
            Gives what pyarrow opens to read the first rows, where that is not `path`.

        Raises
        ------
        InputError
            Where its columns or their types do not go with those of the files before, or two have one name.
        """
        schema = self._selected(metadata.schema.to_arrow_schema().remove_metadata(), path)
        if self._schema is None:
            self._schema, self.first = schema, path
            self._fields = {field.name: field for field in schema}
        elif not schema.equals(self._schema):
            self._unify(schema, path)
        if not self._row_bytes and metadata.num_rows:  # of the first file that can be read
            self._row_bytes = _arrow_row_bytes(path if source is None else source(), self._selection)
        self._look_for_gaps(schema, metadata)
        groups = []
        for place in range(metadata.num_row_groups):
            group = metadata.row_group(place)
            # The footer knows only encoded sizes: a dictionary of ten words takes a hundredth of the strings it
            # stands for. The first rows of the input say what a row takes as Arrow; encoded bytes are a floor.
            groups.append((group.num_rows, max(self._encoded(group), int(group.num_rows * self._row_bytes))))
        return groups

    def _selected(self, schema: Any, path: str) -> Any:
        """The columns that count."""
        import pyarrow as pa

        _refuse_same_names(self._selection or schema.names, schema.names, path)
        self.names = self.names or tuple(schema.names)
        if not self._selection:
            return schema
        refuse_missing_columns(self._selection, schema.names, path, self.first)
        return pa.schema([schema.field(name) for name in self._selection])

    def _encoded(self, group: Any) -> int:
        """Bytes of the columns that count, unzipped."""
        if not self._selection:
            return int(group.total_byte_size)
        chunks = [group.column(place) for place in range(group.num_columns)]
        return sum(int(chunk.total_uncompressed_size) for chunk in chunks if self._counts(chunk.path_in_schema))

    def columns(self) -> tuple[tuple[str, str], ...]:
        """(name, type name) in the first file's order."""
        return tuple((name, self._type_name(name, field.type)) for name, field in self._fields.items())

    def _type_name(self, name: str, kind: Any) -> str:
        import pyarrow as pa

        kind = _decoded(kind)
        if pa.types.is_null(kind):
            return "string"
        if name in self._gaps and pa.types.is_boolean(kind):
            return "boolean"
        if name in self._gaps and pa.types.is_integer(kind):
            return "string" if name in self._large else "float64"
        return name_of(kind)

    def _unify(self, schema: Any, path: str) -> None:
        import pyarrow as pa

        names = tuple(self._fields)
        if set(schema.names) != set(names):
            raise InputError(names_differ(tuple(schema.names), path, names, self.first))
        for field in schema:
            known = self._fields[field.name]
            if known.type == field.type:
                continue
            try:
                both = pa.unify_schemas([pa.schema([known]), pa.schema([field])], promote_options="permissive")
            except pa.ArrowException:
                raise InputError(
                    f"inputs: column {field.name!r} is {known.type} in {self.first} and {field.type} in {path}."
                    f" Next: run again with dtype={ {field.name: 'string'}!r}, or write the files with one type."
                ) from None
            self._fields[field.name] = both.field(0)

    def _look_for_gaps(self, schema: Any, metadata: Any) -> None:
        """Note the columns with nothing but nulls, integers and booleans with some, and integers past a float's."""
        import pyarrow as pa

        # Other files may have integers or booleans there: where all of a column is None, pandas writes no type.
        if metadata.num_rows:
            self._gaps.update(field.name for field in schema if pa.types.is_null(field.type))
        kinds = [(name, _decoded(field.type)) for name, field in self._fields.items()]
        watched = {name for name, kind in kinds if pa.types.is_integer(kind) or pa.types.is_boolean(kind)}
        if not watched:
            return
        for place in range(metadata.num_columns):
            name = metadata.schema.column(place).path
            if name not in watched:
                continue
            for group in range(metadata.num_row_groups):
                statistics = metadata.row_group(group).column(place).statistics
                if statistics is None:
                    continue  # a null there fails its mini-batch, with the dtype to give
                if statistics.null_count:
                    self._gaps.add(name)
                low, high = (statistics.min, statistics.max) if statistics.has_min_max else (0, 0)
                if max(abs(low), abs(high)) > EXACT_IN_FLOAT:
                    self._large.add(name)


def _decoded(kind: Any) -> Any:
    """The type of a column's values: categories differ from row group to row group."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _refuse_same_names(wanted: Iterable[str], names: list[str], path: str) -> None:
    counts = Counter(names)
    twice = next((name for name in wanted if counts[name] > 1), None)
    if twice is not None:
        raise InputError(
            f"inputs: {path} has {counts[twice]} columns named {twice!r}, and each column needs a name of its own."
            " Next: write the file with other names, or give columns= the names of others, which are read alone."
        )


def _arrow_row_bytes(source: Any, columns: tuple[str, ...]) -> float:
    """Bytes that a row of this file takes in memory, from its first rows; 0 where they cannot be read."""
    import pyarrow.parquet as pq

    # A buffer: of a large row group the first pages are enough.
    with pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER) as file:
        count = file.num_row_groups
        for unit in range(min(count, _TRIED)):
            groups = list(range(unit, count))
            some = file.iter_batches(4096, row_groups=groups, columns=list(columns) or None, use_threads=False)
            try:
                rows = next(some, None)
            except Exception as error:
                if not is_damage(error):
                    raise
                continue  # it costs the mini-batches of these rows, and not the run
            if rows is not None and rows.num_rows:
                return float(rows.nbytes / rows.num_rows)
    return 0.0
