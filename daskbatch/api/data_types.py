"""DataType and PromoteHeadersBehavior: what the columns of a table are, and where their names stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from daskbatch.errors import UsageError
from daskbatch.store.inputs_types import FORMAT_MARK, with_formats

__all__ = ["DataType", "PromoteHeadersBehavior", "dtype_of", "header_of"]


@dataclass(frozen=True, slots=True)
class DataType:
    """The type of a column, for ``set_column_types``.

    Examples
    --------
    >>> Dataset.Tabular.from_delimited_files(
    ...     "sales/", set_column_types={"id": DataType.to_string(), "day": DataType.to_datetime("%d.%m.%Y")}
    ... )  # doctest: +SKIP
    """

    name: str
    """As ``dtype`` of `TabularDataset` takes it."""

    @staticmethod
    def to_string() -> DataType:
        """Text as it is written: ``01234`` stays so."""
        return DataType("string")

    @staticmethod
    def to_long() -> DataType:
        """Whole numbers of 64 bits. A missing value fails its mini-batch: `to_float` can say so."""
        return DataType("int64")

    @staticmethod
    def to_float() -> DataType:
        """Numbers of 64 bits; a missing one is NaN."""
        return DataType("float64")

    @staticmethod
    def to_bool() -> DataType:
        """``true`` or ``false``, in pandas' nullable type: values may be missing."""
        return DataType("boolean")

    @staticmethod
    def to_datetime(formats: str | Sequence[str] | None = None) -> DataType:
        """Points in time without a zone, in microseconds.

        Parameters
        ----------
        formats : str or sequence of str, optional
            Of delimited text, as for `time.strptime`, such as ``"%d/%m/%Y %H:%M"``; the first that fits counts. By
            default ISO 8601, with fractions of a second.

        Raises
        ------
        UsageError
            One is no such format.
        """
        if formats is None:
            return DataType("timestamp[us]")
        texts: list[str] = list(formats) if isinstance(formats, (list, tuple)) else [formats]  # type: ignore[list-item]
        if not texts or not all(
            isinstance(text, str) and "%" in text and "%f" not in text and FORMAT_MARK not in text for text in texts
        ):
            raise UsageError(
                f"formats must be one or more such as '%d/%m/%Y %H:%M', without %f and {FORMAT_MARK!r}, got"
                f" {formats!r}. Leave it out for times as ISO 8601 writes them."
            )
        return DataType(with_formats("us", texts))


class PromoteHeadersBehavior(Enum):
    """Where the names of a delimited text's columns stand."""

    NO_HEADERS = 0
    """Nowhere: they are ``"0"``, ``"1"``, ..."""
    ONLY_FIRST_FILE_HAS_HEADERS = 1
    """Refused: each file is read by itself."""
    COMBINE_ALL_FILES_HEADERS = 2
    """In each file, in any order. Here all files need the same names."""
    ALL_FILES_HAVE_SAME_HEADERS = 3
    """In each file."""


def header_of(value: object) -> str:
    """``"first_row"`` or ``"none"``.

    Raises
    ------
    UsageError
        It is neither a bool nor a `PromoteHeadersBehavior` that can be had here.
    """
    if value is True or value in (
        PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS,
        PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS,
    ):
        return "first_row"
    if value is False or value is PromoteHeadersBehavior.NO_HEADERS:
        return "none"
    if value is PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS:
        raise UsageError(
            "header must not be ONLY_FIRST_FILE_HAS_HEADERS: files are read by themselves, each by another process."
            " Give the other files the same first line, and use ALL_FILES_HAVE_SAME_HEADERS."
        )
    raise UsageError(f"header must be True, False or a PromoteHeadersBehavior, got {value!r}.")


def dtype_of(types: object) -> dict[str, str] | None:
    """``set_column_types`` as ``dtype``.

    Raises
    ------
    UsageError
        It is no mapping from columns to a `DataType`.
    """
    if types is None:
        return None
    if not isinstance(types, Mapping) or not all(isinstance(kind, DataType) for kind in types.values()):
        raise UsageError(
            "set_column_types must be a dict such as {'id': DataType.to_string(), 'n': DataType.to_long()}, got"
            f" {types!r}."
        )
    return {str(column): kind.name for column, kind in types.items()} or None
