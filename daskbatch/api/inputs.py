"""What users pass as ``inputs``: paths, a dataset, a Dask dataframe."""

from __future__ import annotations

from typing import Any

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.errors import UsageError
from daskbatch.options.names import RunOptions

__all__ = ["resolve_inputs"]


def resolve_inputs(inputs: object, options: RunOptions) -> tuple[Any, Any]:
    """Paths, or a Dask dataframe; a dataset's own options join the others.

    Returns
    -------
    paths, collection
        One of them is None.
    """
    if isinstance(inputs, (FileDataset, TabularDataset)):
        for name, value in inputs.options().items():
            given = options.get(name, value)
            if given != value:
                raise UsageError(f"{name}={given!r} differs from the dataset's own {name}={value!r}. Leave one out.")
            options[name] = value  # type: ignore[literal-required]
        paths = inputs.run_paths()
        collection = getattr(inputs, "collection", None)
        return (None, collection) if collection is not None else (paths, None)
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
