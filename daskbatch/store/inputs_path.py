"""Columns that a file's path adds to its rows: the path itself, and the keys of a partition format.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from daskbatch.errors import InputError
from daskbatch.store.partition_format import parse_format
from daskbatch.types import TableFormat

__all__ = ["PATH_COLUMN", "PathColumns"]

PATH_COLUMN = "Path"
"""Name of the column that ``include_path`` adds, in front."""

TIME = "timestamp[us]"


class PathColumns:
    """Adds to the rows of a file what its path says: ``Path`` in front, the keys behind.

    Parameters
    ----------
    table
        The format, with ``include_path`` and ``partition_format``.
    """

    def __init__(self, table: TableFormat) -> None:
        self._include_path = table.include_path
        self._format = parse_format(table.partition_format) if table.partition_format else None
        self._path = ""
        self._values: dict[str, Any] = {}

    @property
    def front(self) -> tuple[tuple[str, str], ...]:
        """(name, type) of the columns in front."""
        return ((PATH_COLUMN, "string"),) if self._include_path else ()

    @property
    def behind(self) -> tuple[tuple[str, str], ...]:
        """(name, type) of the columns behind."""
        if self._format is None:
            return ()
        return tuple((name, TIME if name in self._format.times else "string") for name in self._format.names)

    def refuse_taken(self, columns: Iterable[str], path: str) -> None:
        """Raise where the files have columns of these names themselves.

        Raises
        ------
        InputError
        """
        columns = set(columns)
        for option, added in (("include_path", self.front), ("partition_format", self.behind)):
            for name, _ in added:
                if name in columns:
                    raise InputError(
                        f"{option} adds a column {name!r}, but {path} has one of that name. Next: leave {option} out"
                        f"{', or give the key another name' if option == 'partition_format' else ''}."
                    )

    def add(self, rows: Any, path: str) -> Any:
        """These rows of a file, with the columns that its path says."""
        import pyarrow as pa

        from daskbatch.store.inputs_types import arrow_type

        if path != self._path:
            self._path, self._values = path, {} if self._format is None else self._format.values(path)
        for name, kind in self.front:
            rows = rows.add_column(0, name, pa.repeat(pa.scalar(_clean(path), arrow_type(kind)), rows.num_rows))
        for name, kind in self.behind:
            value = pa.scalar(_clean(self._values[name]), arrow_type(kind))
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        return rows


def _clean(value: Any) -> Any:
    """Arrow's texts are UTF-8; names of files need not be."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
