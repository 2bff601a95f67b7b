"""Which input: the paths of each dataset, and the keys that its files are brought together by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import cast

from daskbatch.errors import InputError, UsageError
from daskbatch.options.values import local_path, nearest
from daskbatch.remote.urls import is_remote, local_or_url, split
from daskbatch.store.partition_format import parse_format

__all__ = ["input_paths", "partition_key_names", "path_or_url"]

Datasets = tuple[tuple[str, int], ...]


def input_paths(inputs: object) -> tuple[tuple[str, ...], Datasets]:
    """Absolute paths and globs in the order given; and name and number of paths of each dataset that has a name.

    Parameters
    ----------
    inputs
        Paths; or a mapping of names to paths. None and a Dask dataframe, in the place of paths, have none.

    Raises
    ------
    InputError, UsageError
    """
    if not isinstance(inputs, Mapping):
        return _paths("inputs", inputs), ()
    if not inputs:
        raise InputError("inputs must name at least one dataset, got an empty mapping.")
    found = {}
    for name, one in inputs.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"inputs: the name of a dataset must be a text, got {name!r}.")
        found[name] = _paths(f"inputs[{name!r}]", one)
    return tuple(path for paths in found.values() for path in paths), tuple((n, len(p)) for n, p in found.items())


def _paths(what: str, inputs: object) -> tuple[str, ...]:
    if inputs is None or hasattr(inputs, "__dask_graph__"):
        return ()
    if isinstance(inputs, (str, bytes, os.PathLike)):
        return (path_or_url(what, inputs),)
    if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
        raise InputError(
            f"{what} must be a path, a glob, a list of them or a Dask dataframe, got one of type"
            f" {type(inputs).__name__}. A pandas dataframe can be given as"
            " dask.dataframe.from_pandas(frame, npartitions=1)."
        )
    paths = tuple(path_or_url(what, path) for path in cast("Iterable[object]", inputs))
    if not paths:
        raise InputError(f"{what} must name at least one file, folder or glob, got an empty list.")
    return paths


def path_or_url(what: str, path: object) -> str:
    """An absolute path, or the URL of objects.

    Raises
    ------
    UsageError
        It is neither, or has a secret in it.
    """
    if isinstance(path, str) and is_remote(path):
        url = local_or_url(path)
        split(url)
        return url
    return local_path(what, path)


def partition_key_names(value: object, *, form: str | None, size: object, has_files: bool) -> tuple[str, ...]:
    """The keys by which an input is cut, from a list or from ``"store,day"``; none for None.

    Parameters
    ----------
    value
    form
        The ``partition_format``, parsed already.
    size
        The ``mini_batch_size`` as it was given.
    has_files
        Whether the input is files: a Dask dataframe is none.

    Raises
    ------
    UsageError
    """
    if value is None:
        return ()
    given = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    keys = tuple(given) if isinstance(given, (list, tuple)) else ()
    if not keys or not all(isinstance(key, str) and key for key in keys) or len(set(keys)) < len(keys):
        raise UsageError(f"partition_keys must be a list of different names such as ['store', 'day'], got {value!r}.")
    if not has_files:
        raise UsageError(
            f"partition_keys {list(keys)} are told by the paths of files, which a Dask dataframe has none of. Next:"
            f" TabularDataset.from_dask(ddf).partition_by({list(keys)}, folder), and give what that returns as inputs;"
            f" or do it in Dask: ddf.groupby({list(keys)}).apply(...)."
        )
    if size is not None:
        raise UsageError(
            f"partition_keys {list(keys)} and mini_batch_size, {size!r}, both say how the input is cut. Leave one out:"
            " with partition_keys each combination of values is one mini-batch."
        )
    if form is None:
        raise UsageError(
            f"partition_keys {list(keys)} are names in partition_format, which is not given. Next: say what the paths"
            f" look like, such as partition_format='/{'/'.join(f'{{{key}}}' for key in keys)}/*'"
            " (--partition-format)."
        )
    known = parse_format(form).names
    for key in keys:
        if key not in known:
            raise UsageError(
                f"partition_keys must be some of {', '.join(known)}, the keys of partition_format={form!r}, got"
                f" {key!r}.{nearest(key, known)}"
            )
    return keys
