"""Open what an input names while it is planned: files, and objects of a store."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

from daskbatch.errors import InputError
from daskbatch.plan_listing import Entry, Storage, is_object
from daskbatch.store.inputs_text import open_file

__all__ = ["open_entry", "parquet_source", "read_parquet_footer"]

_PIECE = 64 * 1024
"""Bytes that are read at once where a reader goes to and fro."""


def open_entry(entry: Sequence[Any], storage: Storage = ()) -> BinaryIO:
    """Open a file, or an object as it was listed, to read bytes.

    Raises
    ------
    OSError
        It is a file that cannot be opened.
    """
    path, size, token = entry[:3]
    if not is_object(path):
        return open_file(path)
    from daskbatch.remote.reader import ObjectReader

    return cast("BinaryIO", ObjectReader(path, storage, size=size, token=str(token)))


def parquet_source(entry: Entry, storage: Storage = ()) -> Any:
    """What pyarrow opens to read rows: a path, or an object as a file."""
    path, size, token = entry[:3]
    if not is_object(path):
        return path
    from daskbatch.remote.reader import ObjectReader

    return io.BufferedReader(ObjectReader(path, storage, size=size, token=str(token), most=_PIECE), _PIECE)


def read_parquet_footer(entry: Entry, storage: Storage = ()) -> Any:
    """The metadata of a Parquet file; of an object the last bytes alone are fetched.

    Raises
    ------
    InputError
        It is none.
    StorageError
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, size, token = entry[:3]
    try:
        if not is_object(path):
            return pq.read_metadata(path)
        from daskbatch.remote.edges import read_footer
        from daskbatch.remote.fetch import Wanted

        with tempfile.TemporaryFile() as file:
            footer = read_footer(Wanted(path, "", size, str(token)), storage)
            file.truncate(size)
            file.seek(size - len(footer))
            file.write(footer)
            return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"inputs: {path} is no Parquet file that can be read: {error}.") from error
