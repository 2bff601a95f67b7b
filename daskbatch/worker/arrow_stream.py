"""Partitions of Dask dataframes, as runners get them."""

from __future__ import annotations

from typing import Any

__all__ = ["arrow_stream"]


def arrow_stream(partition: Any) -> memoryview:
    """A pandas partition as an Arrow stream."""
    import pyarrow as pa

    table = pa.Table.from_pandas(partition, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())
