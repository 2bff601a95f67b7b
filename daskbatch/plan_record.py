"""What planning has found, as a value that can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskbatch.plan_inputs import InputState
from daskbatch.plan_listing import Storage
from daskbatch.types import MiniBatchSize, TableFormat
from daskbatch.worker.wire import table_format

__all__ = ["Plan", "plan_from_json"]


@dataclass(frozen=True, slots=True)
class Plan:
    """An input that has been cut."""

    path: Path
    """The plan file: JSON lines ``[path, size, mtime_ns]``, with Parquet's row groups behind as
    ``[rows, estimated bytes]``. With `keys` a line for each mini-batch: a list of such."""
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
    datasets: tuple[tuple[str, int], ...] = ()
    """Name of each dataset, and how many of `files` are its own, in order. Empty: one without a name."""
    keys: tuple[str, ...] = ()
    """Each combination of their values is one mini-batch. Empty: cut by `size`."""
    partition_format: str = ""
    """What paths say of the keys."""
    storage: Storage = ()
    """How the store of an input of objects is reached, now: it is not stored."""

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
            **self.origins(),
        }

    def origins(self) -> dict[str, Any]:
        """What `daskbatch.worker.origins.Origins` takes, as JSON values."""
        return {
            "datasets": [list(pair) for pair in self.datasets],
            "keys": list(self.keys),
            "partition_format": self.partition_format,
        }


def _table_json(table: TableFormat) -> dict[str, Any]:
    pairs = {name: [list(pair) for pair in getattr(table, name)] for name in ("columns", "dtype")}
    return {**table._asdict(), **pairs, "size": list(table.size), "selection": list(table.selection)}


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
            "datasets": tuple((name, files) for name, files in values["datasets"]),
            "keys": tuple(values["keys"]),
        }
    )
