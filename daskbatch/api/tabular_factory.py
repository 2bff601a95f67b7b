"""Dataset.Tabular: makes datasets of rows."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daskbatch.api.data_types import DataType, PromoteHeadersBehavior, dtype_of, header_of
from daskbatch.api.dataset import TabularDataset
from daskbatch.api.dataset_files import validate_declared as look_at
from daskbatch.api.dataset_sources import in_datastore, sources_of, target_of
from daskbatch.api.store_transfer import folder_at
from daskbatch.errors import UsageError
from daskbatch.options.tables import separator_character, text_encoding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TabularDatasetFactory"]

_ENCODINGS = {
    "utf8bom": "utf-8-sig",
    "utf8-bom": "utf-8-sig",
    "utf-8-bom": "utf-8-sig",
    "iso88591": "latin-1",
    "windows1252": "cp1252",
}
"""Names of Azure that Python does not know."""

Types = Mapping[str, DataType] | None


class TabularDatasetFactory:
    """Makes datasets of rows: ``Dataset.Tabular``."""

    from_dask = staticmethod(TabularDataset.from_dask)

    @staticmethod
    def from_delimited_files(
        path: object,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Types = None,
        separator: str = ",",
        header: bool | PromoteHeadersBehavior = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """A table of delimited text, as a reference.

        Parameters
        ----------
        path : str, path, DataPath, (Datastore, path) or a list of them
            Files of any suffix, ``.gz`` too, folders (walked), globs, URLs.
        validate : bool
            Whether to read the first file's head, where the place can be read.
        include_path : bool
            Whether rows have a column ``Path`` in front.
        infer_column_types : bool
            False: columns are strings, unless `set_column_types` says otherwise. True: whole numbers, numbers, strings.
        set_column_types : mapping of column to DataType, optional
        separator : str
            One character.
        header : bool or PromoteHeadersBehavior
            Whether the first line of each file names the columns. False: they are ``"0"``, ``"1"``, ...
        partition_format : str, optional
            What the end of each path says; its keys are columns behind the others.
        support_multi_line : bool
            Quoted fields may hold newlines.
        empty_as_string : bool
            False alone: an empty field is a missing value.
        encoding : str
            Any that Python knows, and ``"utf8bom"``, ``"iso88591"``, ``"windows1252"``.

        Raises
        ------
        UsageError
            An argument is wrong, nothing is there, or it is no such table.
        """
        if empty_as_string:
            raise UsageError(
                "empty_as_string=True cannot be had: an empty field is a missing value. Leave it out, and write"
                " mini_batch.fillna('') in run()."
            )
        return _table(
            path,
            validate,
            format="csv",
            separator=None if separator == "," else separator,
            header=header_of(header),
            encoding=text_encoding(_ENCODINGS.get(str(encoding).lower(), encoding)),
            support_multi_line=support_multi_line,
            dtype=dtype_of(set_column_types),
            include_path=include_path,
            infer_column_types=infer_column_types,
            partition_format=partition_format,
        )

    @staticmethod
    def from_parquet_files(
        path: object,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Types = None,
        partition_format: str | None = None,
    ) -> TabularDataset:
        """A table in Parquet files, as a reference.

        Parameters
        ----------
        path, validate, include_path, set_column_types, partition_format
            As for `from_delimited_files`.

        Raises
        ------
        UsageError
            An argument is wrong, nothing is there, or it is no such table.
        """
        return _table(
            path,
            validate,
            format="parquet",
            dtype=dtype_of(set_column_types),
            include_path=include_path,
            partition_format=partition_format,
        )

    @staticmethod
    def from_json_lines_files(
        path: object,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Types = None,
        partition_format: str | None = None,
        invalid_lines: str = "error",
        encoding: str = "utf8",
    ) -> TabularDataset:
        """A table of JSON Lines, as a reference.

        Parameters
        ----------
        path, validate, include_path, set_column_types, partition_format, encoding
            As for `from_delimited_files`.
        invalid_lines : str
            ``"error"`` alone: a line that is no JSON fails its mini-batch.

        Raises
        ------
        UsageError
            An argument is wrong, nothing is there, or it is no such table.
        """
        if invalid_lines != "error":
            raise UsageError(
                f"invalid_lines must be 'error', got {invalid_lines!r}: lines are never dropped unseen. A mini-batch"
                " with such a line fails, and the run's thresholds say how many may."
            )
        return _table(
            path,
            validate,
            format="jsonl",
            encoding=text_encoding(_ENCODINGS.get(str(encoding).lower(), encoding)),
            dtype=dtype_of(set_column_types),
            include_path=include_path,
            partition_format=partition_format,
        )

    @staticmethod
    def from_pandas_dataframe(dataframe: pd.DataFrame, target: object = None) -> TabularDataset:
        """A pandas DataFrame as a table: held in memory, or written down.

        Parameters
        ----------
        dataframe : pandas.DataFrame
        target : DataPath, (Datastore, path), Datastore or path, optional
            Where to write it, as Parquet in a new folder. By default it lives in this program alone.

        Raises
        ------
        UsageError
            It is no DataFrame, or the folder cannot be written.
        """
        import pandas as pd

        if not isinstance(dataframe, pd.DataFrame):
            raise UsageError(f"dataframe must be a pandas DataFrame, got one of type {type(dataframe).__name__}.")
        if target is not None:
            return _written(dataframe, target)
        import dask.dataframe as dd

        return TabularDataset.from_dask(dd.from_pandas(dataframe, npartitions=1))

    @staticmethod
    def register_pandas_dataframe(
        dataframe: pd.DataFrame,
        target: object,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        show_progress: bool = True,  # noqa: ARG004
    ) -> TabularDataset:
        """Write a pandas DataFrame as Parquet into a new folder of a datastore, and register it as the next version.

        Parameters
        ----------
        dataframe : pandas.DataFrame
        target : DataPath, (Datastore, path) or Datastore
        name : str
        description : str, optional
        tags : mapping, optional
        show_progress : bool
            No meaning.

        Raises
        ------
        UsageError
            An argument is wrong, or the datastore cannot be written.
        """
        workspace = in_datastore(target).datastore.workspace
        made = TabularDatasetFactory.from_pandas_dataframe(dataframe, target)
        return made.register(workspace, name, description, tags, create_new_version=True)


def _table(path: object, validate: bool, **given: Any) -> TabularDataset:
    dataset = TabularDataset(sources=sources_of(path), **given)
    _check_text_options(dataset)
    if validate:
        look_at(dataset)
    return dataset


def _check_text_options(dataset: TabularDataset) -> None:
    if dataset.separator is not None:
        separator_character(dataset.separator)
    for name in ("include_path", "infer_column_types", "support_multi_line"):
        if not isinstance(getattr(dataset, name), bool):
            raise UsageError(f"{name} must be True or False, got {getattr(dataset, name)!r}.")


def _written(dataframe: pd.DataFrame, target: object) -> TabularDataset:
    import pyarrow as pa

    from daskbatch.api.dataset_rows import write_parquet

    place, folder = target_of("target", target), uuid.uuid4().hex
    if isinstance(place, str):
        source: Any = os.path.join(place, folder)
        root, options = source, ()
    else:
        source = place.datastore.path(f"{place.relative}/{folder}")
        root, options = source.place(), source.storage_options()
    rows = pa.Table.from_pandas(dataframe, preserve_index=False)
    with folder_at(root, options) as local:
        write_parquet(iter([rows]), local / "part-00000.parquet")
    return TabularDataset(sources=(source,), format="parquet")
