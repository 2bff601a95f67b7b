"""FileDataset and TabularDataset: inputs, declared once, without a run around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from daskbatch.api.dataset_base import Path, ReferencedDataset
from daskbatch.errors import UsageError
from daskbatch.options import INPUT_FORMATS
from daskbatch.options.tables import column_names, column_types, separator_character, text_encoding
from daskbatch.options.values import choice
from daskbatch.options.values import mini_batch_size as parsed_size
from daskbatch.spec import InputSpec

if TYPE_CHECKING:
    import dask.bag
    import dask.dataframe
    import pandas as pd

    from daskbatch.api.data_path import DataPath
    from daskbatch.api.datastore import Datastore

__all__ = ["FileDataset", "TabularDataset"]


@dataclass(frozen=True)
class FileDataset(ReferencedDataset):
    """Files, a list of paths for each mini-batch.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, folders (walked) and globs (``**`` too), in the order they shall have. Made absolute.

    Examples
    --------
    >>> FileDataset("photos/*.png").to_dask(mini_batch_size=10)  # doctest: +SKIP
    dask.bag<from_sequence, npartitions=180>
    """

    paths: Path | Sequence[Path] = ()

    def __post_init__(self) -> None:
        self._settle()

    def options(self) -> dict[str, Any]:
        """What this dataset says about how it is read, as options of ``daskbatch.run``."""
        given: dict[str, Any] = {
            "partition_format": self.partition_format,
            "storage_options": dict(self.store_options()) or None,
        }
        return {"input_format": "files", **{name: value for name, value in given.items() if value is not None}}

    def run_paths(self) -> tuple[str, ...]:
        """What ``daskbatch.run`` takes as its inputs; the files themselves after `take` or `skip`.

        Raises
        ------
        UsageError
            No file is left.
        """
        if not self.is_part:
            return self.places()
        from daskbatch.api.dataset_files import listed

        return tuple(listed(self))

    def spec(
        self, mini_batch_size: int | str | None = None, partition_keys: Sequence[str] | str | None = None
    ) -> InputSpec:
        """The input in the planner's words; see `to_dask`."""
        return InputSpec(
            paths=self.run_paths(),
            input_format="files",
            mini_batch_size=None if mini_batch_size is None else parsed_size(mini_batch_size),
            partition_format=self.partition_format,
            partition_keys=self._keys(partition_keys, mini_batch_size),
            storage_options=self.store_options(),
        )

    def to_dask(
        self, mini_batch_size: int | str | None = None, partition_keys: Sequence[str] | str | None = None
    ) -> dask.bag.Bag:
        """A Dask bag: partition *i* holds one element, the list of paths of mini-batch *i*.

        Parameters
        ----------
        mini_batch_size : int, optional
            Files in a mini-batch; by default 10.
        partition_keys : sequence of str, optional
            In its place: each combination of their values is one mini-batch.

        Raises
        ------
        InputError
            Where a path does not exist, a glob matches nothing or a folder is empty.
        """
        from daskbatch.graph import as_bag

        bag: dask.bag.Bag = as_bag(self.spec(mini_batch_size, partition_keys))
        return bag


@dataclass(frozen=True)
class TabularDataset(ReferencedDataset):
    """Rows of tables, a pandas DataFrame for each mini-batch.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, folders (walked) and globs (``**`` too), in the order they shall have. Made absolute.
    format : str
        ``"auto"`` (by suffix), ``"csv"``, ``"tsv"``, ``"jsonl"`` or ``"parquet"``.
    separator : str, optional
        One character; by default a comma for csv and a tab for tsv.
    header : str
        ``"first_row"``: the first line of each file names the columns. ``"none"``: they are ``"0"``, ``"1"``, ...
    encoding : str
        Of text, any that Python knows in which ASCII is one byte a character.
    support_multi_line : bool
        Quoted fields of csv may hold newlines. Costs one pass over the files when they are cut.
    dtype : mapping, optional
        Types of columns that shall not be guessed, such as ``{"id": "string"}``.
    include_path : bool
        Whether rows have a column ``Path`` in front, with their file's path.
    infer_column_types : bool
        False: columns of text without a `dtype` are strings.
    columns : sequence of str, optional
        Columns that are read, in this order; by default all. See `keep_columns`.

    Examples
    --------
    >>> TabularDataset("data/", dtype={"id": "string"}).to_dask("1MB")  # doctest: +SKIP
    """

    _FORMATS: ClassVar = tuple(name for name in INPUT_FORMATS if name != "files")

    paths: Path | Sequence[Path] = ()
    format: str = "auto"
    separator: str | None = None
    header: str = "first_row"
    encoding: str = "utf-8"
    support_multi_line: bool = False
    dtype: Mapping[str, object] | None = None
    collection: Any = field(default=None, repr=False, compare=False)
    """A Dask dataframe in place of paths; set by `from_dask`."""
    include_path: bool = field(default=False, kw_only=True)
    infer_column_types: bool = field(default=True, kw_only=True)
    columns: Sequence[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.collection is None:
            self._settle()
        else:
            object.__setattr__(self, "paths", ())
        choice("format", self.format, self._FORMATS)
        choice("header", self.header, ("first_row", "none"))

    @classmethod
    def from_dask(cls, collection: dask.dataframe.DataFrame) -> TabularDataset:
        """A Dask dataframe as an input. Its partitions are cut by the mini-batch size, never joined.

        Its graph is computed once, whole. Two of the same graph are the same input: `identity`.
        """
        if not hasattr(collection, "__dask_graph__") or not hasattr(collection, "columns"):
            raise UsageError(
                f"from_dask takes a Dask dataframe, got one of type {type(collection).__name__}."
                " A pandas dataframe becomes one by dask.dataframe.from_pandas(frame, npartitions=1)."
            )
        return cls((), collection=collection)

    @property
    def identity(self) -> str | None:
        """Dask's token of the collection: equal for equal graphs. None for files."""
        if self.collection is None:
            return None
        from dask.base import tokenize

        return str(tokenize(self.collection))

    def options(self) -> dict[str, Any]:
        """What this dataset says about how it is read, as options of ``daskbatch.run``; defaults left out."""
        given: dict[str, tuple[Any, Any]] = {
            "input_format": (self.format, "auto"),
            "separator": (self.separator, None),
            "header": (self.header, "first_row"),
            "encoding": (self.encoding, "utf-8"),
            "support_multi_line": (self.support_multi_line, False),
            "dtype": (self._types() or None, None),
            "include_path": (self.include_path, False),
            "columns": (None if self.columns is None else list(self.columns), None),
            "partition_format": (self.partition_format, None),
            "storage_options": ({} if self.collection is not None else dict(self.store_options()), {}),
        }
        return {name: value for name, (value, default) in given.items() if value != default}

    def run_paths(self) -> tuple[str, ...]:
        """What ``daskbatch.run`` takes as its inputs.

        Raises
        ------
        UsageError
            `take` or `skip` leaves rows out, which no path can say.
        """
        if self.is_part:
            raise UsageError(
                "A table after take() or skip() is no whole file, and runs read files. Next: write those rows down,"
                " TabularDataset(dataset.download('folder')), or give it to a ParallelRunStep, which does so."
            )
        return () if self.collection is not None else self.places()

    def _types(self) -> Mapping[str, object]:
        """`dtype`, for all columns where none is to be guessed."""
        if self.infer_column_types or self.collection is not None:
            return self.dtype or {}
        from daskbatch.plan_rows import columns_of

        named = replace(self, infer_column_types=True, taken=None, skipped=0)
        return dict.fromkeys(columns_of(named.spec()), "string") | dict(self.dtype or {})

    def spec(
        self, mini_batch_size: int | str | None = None, partition_keys: Sequence[str] | str | None = None
    ) -> InputSpec:
        """The input in the planner's words; see `to_dask`."""
        return InputSpec(
            paths=self.run_paths(),
            input_format=choice("format", self.format, self._FORMATS),
            mini_batch_size=None if mini_batch_size is None else parsed_size(mini_batch_size),
            separator=None if self.separator is None else separator_character(self.separator),
            header=choice("header", self.header, ("first_row", "none")) == "first_row",
            encoding=text_encoding(self.encoding),
            support_multi_line=self.support_multi_line,
            dtype=column_types(self._types()),
            include_path=self.include_path,
            columns=() if self.columns is None else column_names(self.columns),
            partition_format=self.partition_format,
            partition_keys=self._keys(partition_keys, mini_batch_size),
            storage_options=self.store_options(),
        )

    def keep_columns(self, columns: Sequence[str] | str) -> TabularDataset:
        """The same rows with these columns alone, in this order; of Parquet no others are read.

        Raises
        ------
        UsageError
            For no name, or one given twice; or of `from_dask`, whose dataframe can be asked itself.
        """
        if self.collection is not None:
            raise UsageError("Of a Dask dataframe keep the columns themselves, such as ddf[['id', 'price']].")
        return replace(self, columns=column_names([columns] if isinstance(columns, str) else columns))

    def to_dask(
        self, mini_batch_size: int | str | None = None, partition_keys: Sequence[str] | str | None = None
    ) -> dask.dataframe.DataFrame:
        """A Dask dataframe whose partition *i* is mini-batch *i*; of `from_dask`, the collection itself.

        A gzip file is one partition. A range of text in which no record starts is an empty one.

        Parameters
        ----------
        mini_batch_size : int or str, optional
            ``"1MB"``, bytes, or ``"5000rows"``; by default ``"1MB"``.
        partition_keys : sequence of str, optional
            In its place: each combination of their values is one mini-batch.

        Raises
        ------
        InputError
            Where the input is missing, empty, unreadable, or its files do not go together.
        """
        self._keys(partition_keys, mini_batch_size)
        if self.collection is not None and not self.is_part:
            frame: dask.dataframe.DataFrame = self.collection
            return frame
        from daskbatch.graph import as_dataframe

        made: dask.dataframe.DataFrame = as_dataframe(self.spec(mini_batch_size, partition_keys))
        return made

    def to_pandas_dataframe(self, on_error: str = "fail", out_of_range_datetime: str = "fail") -> pd.DataFrame:
        """All rows, as ``run()`` gets them, in one DataFrame.

        Parameters
        ----------
        on_error, out_of_range_datetime : str
            ``"null"`` or ``"fail"``. What does not fit its column is always an error here: its message ends with the
            ``dtype`` that holds it.

        Raises
        ------
        InputError, MiniBatchError, MultiLineText
            The input is missing or its files do not go together; a value does not fit; quoted newlines.
        """
        for option, value in (("on_error", on_error), ("out_of_range_datetime", out_of_range_datetime)):
            choice(option, value, ("null", "fail"))
        from daskbatch.api.dataset_rows import to_pandas

        return to_pandas(self)

    def partition_by(
        self,
        partition_keys: Sequence[str],
        target: DataPath | Datastore | tuple[Datastore, str] | Path,
        name: str | None = None,
        show_progress: bool = True,
        partition_as_file_dataset: bool = False,
    ) -> TabularDataset | FileDataset:
        """Write the rows again, in a folder for each combination of the keys' values: ``store=7/brand=x/...``.

        The keys become texts (or datetimes) of the paths, and columns behind the others.

        Parameters
        ----------
        partition_keys : sequence of str
            Names of columns.
        target : DataPath, (Datastore, path), Datastore or path
            A folder that is new or empty.
        name : str, optional
            To register the new dataset under, in the datastore's workspace.
        show_progress : bool
            No meaning.
        partition_as_file_dataset : bool
            Whether the new one is a FileDataset.

        Raises
        ------
        UsageError
            There is no such column, a value cannot be a folder's name, or the folder is not empty.
        """
        from daskbatch.api.dataset_partition import partition_by

        return partition_by(self, partition_keys, target, name, partition_as_file_dataset)
