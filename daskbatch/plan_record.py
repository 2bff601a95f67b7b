"""What planning has found, as a value that can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskbatch.plan_inputs import InputState
from daskbatch.types import MiniBatchSize, TableFormat
from daskbatch.worker.wire import table_format

__all__ = ["Plan", "plan_from_json"]


@dataclass(frozen=True, slots=True)
class Plan:
    """An input that has been cut."""

    path: Path
    """The plan file: JSON lines ``[path, size, mtime_ns]``, with Parquet's row groups behind as
    ``[rows, estimated bytes]``."""
    format: str
    """``"files"``, ``"csv"`` (with any separator), ``"jsonl"`` or ``"parquet"``."""
    table: TableFormat | None
    """None for files. Its columns are filled in."""
    size: MiniBatchSize
    """Of the kind that fits the format."""
    files: int
    """Files that are read; those skipped do not count."""
    mini_batches: int | None
    """None where only reading tells: gzip, row counts, quoted newlines. Ranges without a record count here."""
    estimate: int
    """Mini-batches; a guess where `mini_batches` is None."""
    input_bytes: int
    """Bytes of all files on disk; 0 for a Dask dataframe."""
    description: str
    """What was chosen and why, for people."""
    skipped: tuple[str, ...] = ()
    """Tables of zero bytes."""
    inputs: InputState | None = None
    """The input as it was listed. None for a Dask dataframe."""

    def as_json(self) -> dict[str, Any]:
        """JSON values alone. Where the plan file lies is left out: a folder may move."""
        return {
            "format": self.format,
            "table": None if self.table is None else _table_json(self.table),
            "size": list(self.size),
            "files": self.files,
            "mini_batches": self.mini_batches,
            "estimate": self.estimate,
            "input_bytes": self.input_bytes,
            "description": self.description,
            "skipped": list(self.skipped),
            "inputs": None if self.inputs is None else asdict(self.inputs),
        }


def _table_json(table: TableFormat) -> dict[str, Any]:
    pairs = {name: [list(pair) for pair in getattr(table, name)] for name in ("columns", "dtype")}
    return {**table._asdict(), **pairs, "size": list(table.size)}


def plan_from_json(values: Mapping[str, Any], path: Path) -> Plan:
    """The inverse of `Plan.as_json`.

    Parameters
    ----------
    values
        What it returned.
    path
        The plan file.
    """
    return Plan(
        **{
            **values,
            "path": path,
            "table": None if values["table"] is None else table_format(values["table"]),
            "size": MiniBatchSize(*values["size"]),
            "skipped": tuple(values["skipped"]),
            "inputs": None if values["inputs"] is None else InputState(**values["inputs"]),
        }
    )
