"""``MLTable`` files: how jobs of Azure's version 2 say what a table is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from daskbatch.api.data_types import DataType, PromoteHeadersBehavior
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_factory import Dataset
from daskbatch.api.yaml_files import read_yaml
from daskbatch.errors import UsageError
from daskbatch.options.values import choice, nearest

__all__ = ["MLTABLE", "read_mltable"]

MLTABLE = "MLTable"
"""Name of the file, in the folder that stands for the table."""

_HEADERS = {
    "no_header": PromoteHeadersBehavior.NO_HEADERS,
    "from_first_file": PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS,
    "all_files_different_headers": PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS,
    "all_files_same_headers": PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS,
}
_TYPES: Mapping[str, Callable[[], DataType]] = {
    "int": DataType.to_long,
    "float": DataType.to_float,
    "string": DataType.to_string,
    "boolean": DataType.to_bool,
    "datetime": DataType.to_datetime,
}
_READERS: Mapping[str, tuple[Callable[..., TabularDataset], Mapping[str, str]]] = {
    "read_delimited": (
        Dataset.Tabular.from_delimited_files,
        {
            "delimiter": "separator",
            "encoding": "encoding",
            "header": "header",
            "empty_as_string": "empty_as_string",
            "include_path_column": "include_path",
            "infer_column_types": "infer_column_types",
            "support_multi_line": "support_multi_line",
        },
    ),
    "read_parquet": (Dataset.Tabular.from_parquet_files, {"include_path_column": "include_path"}),
    "read_json_lines": (
        Dataset.Tabular.from_json_lines_files,
        {"encoding": "encoding", "include_path_column": "include_path", "invalid_lines": "invalid_lines"},
    ),
}
"""Functions that make the dataset, and what their arguments are called in the file."""
_OTHERS = ("convert_column_types", "extract_columns_from_partition_format", "keep_columns", "skip", "take")


def read_mltable(file: Path, place: Callable[[str], Any]) -> FileDataset | TabularDataset:
    """The dataset that an ``MLTable`` file describes; of files, where it says of no reader.

    Parameters
    ----------
    file : Path
    place : callable
        Returns what a path in it means, for ``path=`` of datasets.

    Raises
    ------
    UsageError
        It is no such file, or asks for what cannot be had here.
    """
    content, file = read_yaml(file, MLTABLE)
    try:
        paths = [place(path) for path in _paths(content.get("paths"))]
        made = _dataset(paths, dict(_transformations(content.get("transformations"))))
    except UsageError as error:
        raise type(error)(f"{str(file)!r}: {error}") from None
    return made


def _paths(given: object) -> Iterator[str]:
    if not isinstance(given, list) or not given:
        raise UsageError(f"paths must be a list such as [{{file: a.csv}}, {{pattern: '*.csv'}}], got {given!r}.")
    for one in given:
        found = next(iter(one.items())) if isinstance(one, dict) and len(one) == 1 else (None, None)
        if found[0] not in ("file", "folder", "pattern") or not isinstance(found[1], str):
            raise UsageError(f"Each of paths must be a file, a folder or a pattern, such as file: a.csv, got {one!r}.")
        yield found[1]


def _transformations(given: object) -> Iterator[tuple[str, Any]]:
    """(name, arguments) pairs."""
    if given is not None and not isinstance(given, list):
        raise UsageError(f"transformations must be a list, got {given!r}.")
    for one in given or []:
        name, value = next(iter(one.items())) if isinstance(one, dict) and len(one) == 1 else (one, None)
        known = (*_READERS, *_OTHERS)
        if name not in known:
            raise UsageError(
                f"the transformation {name!r} cannot be had here.{nearest(str(name), known)} These can:"
                f" {', '.join(known)}. Do the others in run()."
            )
        yield name, value


def _dataset(paths: list[Any], steps: Mapping[str, Any]) -> FileDataset | TabularDataset:
    reader = next((name for name in steps if name in _READERS), None)
    form = _partition_format(steps.get("extract_columns_from_partition_format"))
    made: FileDataset | TabularDataset
    if reader is None:
        made = Dataset.File.from_files(paths, validate=False, partition_format=form)
    else:
        make, names = _READERS[reader]
        given = _arguments(reader, steps[reader] or {}, names)
        types = dict(_column_types(steps.get("convert_column_types") or []))
        if types:
            given["set_column_types"] = types
        made = make(paths, validate=False, partition_format=form, **given)
    if steps.get("keep_columns") is not None:
        if not isinstance(made, TabularDataset):
            raise UsageError(f"keep_columns is for tables, and none of {', '.join(_READERS)} says that these are some.")
        made = made.keep_columns(steps["keep_columns"])
    if steps.get("skip") is not None:
        made = made.skip(steps["skip"])
    if steps.get("take") is not None:
        made = made.take(steps["take"])
    return made


def _arguments(reader: str, given: Any, names: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{reader} must be followed by a mapping, got {given!r}.")
    for name in given:
        if name not in names:
            raise UsageError(f"{reader} has no {name!r}.{nearest(str(name), names)} It has {', '.join(names)}.")
    made = {names[name]: value for name, value in given.items()}
    if "header" in made:
        made["header"] = _HEADERS[choice("header", made["header"], tuple(_HEADERS))]
    return made


def _partition_format(given: object) -> str | None:
    """As text; unquoted in YAML, ``{day:yyyy/MM/dd}`` is a mapping."""
    if isinstance(given, dict) and len(given) == 1 and next(iter(given.values())) is None:
        return f"{{{next(iter(given))}}}"
    if given is None or isinstance(given, str):
        return given
    raise UsageError(f"extract_columns_from_partition_format must be a text in quotes, got {given!r}.")


def _column_types(given: object) -> Iterator[tuple[str, DataType]]:
    if not isinstance(given, list):
        raise UsageError(f"convert_column_types must be a list, got {given!r}.")
    for one in given:
        if not isinstance(one, dict) or set(one) != {"columns", "column_type"}:
            raise UsageError(f"Each of convert_column_types must have columns and column_type, got {one!r}.")
        kind = _type(one["column_type"])
        for column in one["columns"] if isinstance(one["columns"], list) else [one["columns"]]:
            yield str(column), kind


def _type(given: Any) -> DataType:
    if isinstance(given, dict) and list(given) == ["datetime"]:
        return DataType.to_datetime((given["datetime"] or {}).get("formats"))
    if isinstance(given, dict):
        raise UsageError(f"column_type must be one of {', '.join(_TYPES)}, or datetime with formats, got {given!r}.")
    return _TYPES[choice("column_type", given, tuple(_TYPES))]()
