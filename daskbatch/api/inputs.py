"""What users pass as ``inputs``: paths, a dataset, a Dask dataframe; or several of them, each with a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from daskbatch.api.consumption import DatasetConsumptionConfig
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_base import refuse_different_stores
from daskbatch.errors import UsageError
from daskbatch.options.names import RunOptions

__all__ = ["refuse_different", "resolve_inputs"]


def resolve_inputs(inputs: object, options: RunOptions) -> tuple[Any, Any]:
    """Paths, or a Dask dataframe; a dataset's own options join the others.

    Returns
    -------
    paths, collection
        `paths` are of one input, or a mapping of names to those of each. With a `collection` there are none: None, or
        ``{name: None}``.

    Raises
    ------
    UsageError
        It is no input, or several that do not go together.
    """
    named = _named(inputs)
    if named is None:
        return _resolved(inputs, options)
    refuse_different([one for one in named.values() if isinstance(one, (FileDataset, TabularDataset))])
    found = {name: _resolved(one, options) for name, one in named.items()}
    collections = [collection for _, collection in found.values() if collection is not None]
    if len(found) > 1 and collections:
        raise UsageError(
            "A Dask dataframe must be the only input of a run. Next: dask.dataframe.concat makes one of several."
        )
    return {name: paths for name, (paths, _) in found.items()}, collections[0] if collections else None


def refuse_different(datasets: Sequence[FileDataset | TabularDataset]) -> None:
    """See that datasets can be inputs of one run.

    Raises
    ------
    UsageError
        They are not read in the same way.
    """
    if len(datasets) > 1:
        files = [one for one in datasets if getattr(one, "collection", None) is None]
        refuse_different_stores({one.store_options(): one.places()[0] for one in files if one.is_remote()})
    plain = [replace(one, sources=(), paths=".", taken=None, skipped=0, storage_options=()) for one in datasets]
    live = any(getattr(one, "collection", None) is not None for one in datasets)
    if len(datasets) > 1 and (live or any(one != plain[0] for one in plain)):
        raise UsageError(
            "Several inputs of one step must be read in the same way (format, separator, types, partition_format), and"
            " be files. Next: make a step, or a run, for each."
        )


def _named(inputs: object) -> dict[Any, object] | None:
    """Each input by its name; None where there is one without a name."""
    if isinstance(inputs, Mapping):
        return {name: _data(one) for name, one in inputs.items()}
    if _name_of(inputs) is not None:
        return {_name_of(inputs): _data(inputs)}
    several = isinstance(inputs, (list, tuple)) and any(_is_declared(one) for one in inputs)
    if not several:
        return None
    assert isinstance(inputs, (list, tuple))
    found: dict[str, object] = {}
    for place, one in enumerate(inputs):
        name = _name_of(one) or f"input{place}"
        if name in found:
            raise UsageError(
                f"inputs must have different names, got {name!r} twice. Next: give a mapping of names to datasets,"
                " or dataset.as_named_input('name')."
            )
        found[name] = _data(one)
    return found


def _is_declared(given: object) -> bool:
    return isinstance(given, (FileDataset, TabularDataset, DatasetConsumptionConfig))


def _name_of(given: object) -> str | None:
    """Of a named input; that under which a dataset is registered."""
    return given.name if isinstance(given, (FileDataset, TabularDataset, DatasetConsumptionConfig)) else None


def _data(given: object) -> object:
    if not isinstance(given, DatasetConsumptionConfig):
        return given
    if not isinstance(given.dataset, (FileDataset, TabularDataset)):
        raise UsageError(
            f"The input {given.name!r} is a {type(given.dataset).__name__}, which only a pipeline gives a value. Give"
            " a dataset or paths."
        )
    return given.dataset


def _resolved(inputs: object, options: RunOptions) -> tuple[Any, Any]:
    """Paths, or a Dask dataframe."""
    if isinstance(inputs, (FileDataset, TabularDataset)):
        for name, value in inputs.options().items():
            given = options.get(name, value)
            if given != value:
                raise UsageError(f"{name}={given!r} differs from the dataset's own {name}={value!r}. Leave one out.")
            options[name] = value  # type: ignore[literal-required]
        collection = getattr(inputs, "collection", None)
        return (None, collection) if collection is not None else (inputs.run_paths(), None)
    if inputs is None or (hasattr(inputs, "columns") and not hasattr(inputs, "__dask_graph__")):
        got = "None" if inputs is None else "a pandas dataframe"
        raise UsageError(
            f"inputs must be paths, a dataset or a Dask dataframe, got {got}. A pandas dataframe becomes one by "
            "dask.dataframe.from_pandas(frame, npartitions=4)."
        )
    if hasattr(inputs, "__dask_graph__"):
        if not hasattr(inputs, "to_delayed") or not hasattr(inputs, "columns"):
            raise UsageError(
                f"inputs must be paths or a Dask dataframe, got a Dask {type(inputs).__name__}. Turn it into a "
                "dataframe, or write it to files first."
            )
        return None, inputs
    return inputs, None
