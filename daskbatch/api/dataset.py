"""FileDataset and TabularDataset: inputs, declared once, without a run around them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from daskbatch.errors import UsageError
from daskbatch.options import INPUT_FORMATS
from daskbatch.options.tables import column_types, separator_character, text_encoding
from daskbatch.options.values import choice, local_path
from daskbatch.options.values import mini_batch_size as parsed_size
from daskbatch.spec import InputSpec

if TYPE_CHECKING:
    import dask.bag
    import dask.dataframe

__all__ = ["FileDataset", "TabularDataset"]

Path = str | os.PathLike[str]


def _absolute(paths: object) -> tuple[str, ...]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not isinstance(paths, Sequence) or not paths:
        raise UsageError(f"paths must be a path, a glob or a list of them, got {paths!r}.")
    return tuple(local_path("paths", path) for path in paths)


@dataclass(frozen=True)
class FileDataset:
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

    paths: Path | Sequence[Path]

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", _absolute(self.paths))

    def options(self) -> dict[str, Any]:
        """What this dataset says about how it is read, as options of ``daskbatch.run``."""
        return {"input_format": "files"}

    def spec(self, mini_batch_size: int | str | None = None) -> InputSpec:
        """The input in the planner's words.

        Parameters
        ----------
        mini_batch_size : int, optional
            Files in a mini-batch; by default 10.
        """
        size = None if mini_batch_size is None else parsed_size(mini_batch_size)
        return InputSpec(_absolute(self.paths), "files", size)

    def to_dask(self, mini_batch_size: int | str | None = None) -> dask.bag.Bag:
        """A Dask bag: partition *i* holds one element, the list of paths of mini-batch *i*.

        Parameters
        ----------
        mini_batch_size : int, optional
            Files in a mini-batch; by default 10.

        Raises
        ------
        InputError
            Where a path does not exist, a glob matches nothing or a folder is empty.
        """
        from daskbatch.graph import as_bag

        bag: dask.bag.Bag = as_bag(self.spec(mini_batch_size))
        return bag


@dataclass(frozen=True)
class TabularDataset:
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

    Examples
    --------
    >>> TabularDataset("data/", dtype={"id": "string"}).to_dask("1MB")  # doctest: +SKIP
    """

    _FORMATS: ClassVar = tuple(name for name in INPUT_FORMATS if name != "files")

    paths: Path | Sequence[Path]
    format: str = "auto"
    separator: str | None = None
    header: str = "first_row"
    encoding: str = "utf-8"
    support_multi_line: bool = False
    dtype: Mapping[str, object] | None = None
    collection: Any = field(default=None, repr=False, compare=False)
    """A Dask dataframe in place of paths; set by `from_dask`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", () if self.collection is not None else _absolute(self.paths))
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
        given = {
            "input_format": (self.format, "auto"),
            "separator": (self.separator, None),
            "header": (self.header, "first_row"),
            "encoding": (self.encoding, "utf-8"),
            "support_multi_line": (self.support_multi_line, False),
            "dtype": (self.dtype or None, None),
        }
        return {name: value for name, (value, default) in given.items() if value != default}

    def spec(self, mini_batch_size: int | str | None = None) -> InputSpec:
        """The input in the planner's words.

        Parameters
        ----------
        mini_batch_size : int or str, optional
            ``"1MB"``, bytes, or ``"5000rows"``; by default ``"1MB"``.
        """
        return InputSpec(
            paths=() if self.collection is not None else _absolute(self.paths),
            input_format=choice("format", self.format, self._FORMATS),
            mini_batch_size=None if mini_batch_size is None else parsed_size(mini_batch_size),
            separator=None if self.separator is None else separator_character(self.separator),
            header=choice("header", self.header, ("first_row", "none")) == "first_row",
            encoding=text_encoding(self.encoding),
            support_multi_line=self.support_multi_line,
            dtype=() if self.dtype is None else column_types(self.dtype),
        )

    def to_dask(self, mini_batch_size: int | str | None = None) -> dask.dataframe.DataFrame:
        """A Dask dataframe whose partition *i* is mini-batch *i*; of `from_dask`, the collection itself.

        A gzip file is one partition. A range of text in which no record starts is an empty one.

        Parameters
        ----------
        mini_batch_size : int or str, optional
            ``"1MB"``, bytes, or ``"5000rows"``; by default ``"1MB"``.

        Raises
        ------
        InputError
            Where the input is missing, empty, unreadable, or its files do not go together.
        """
        if self.collection is not None:
            frame: dask.dataframe.DataFrame = self.collection
            return frame
        from daskbatch.graph import as_dataframe

        made: dask.dataframe.DataFrame = as_dataframe(self.spec(mini_batch_size))
        return made
