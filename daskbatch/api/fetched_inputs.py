"""Data of a store that a script is told the path of: which local copies the nodes have to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.errors import UsageError
from daskbatch.plan_inputs import state_of_inputs
from daskbatch.remote.listing import list_objects
from daskbatch.remote.retrying import AT_START
from daskbatch.spec import Fetched

__all__ = ["fetched_of", "inputs_told"]

Data = FileDataset | TabularDataset


def inputs_told(arguments: Sequence[Any]) -> Iterator[str]:
    """Names of the inputs whose paths are among a step's arguments."""
    for given in arguments:
        if isinstance(given, Mapping):
            ((kind, value),) = given.items()
            if kind == "input":
                yield value
            elif kind == "join":
                yield from inputs_told(value)


def fetched_of(data: Mapping[str, Data], names: Sequence[str]) -> dict[str, Fetched]:
    """What of these inputs lies in a store, by their names.

    Raises
    ------
    UsageError
        One is not one place.
    InputError
        There is nothing.
    StorageError
        A store cannot be read from here.
    """
    return {name: _fetched(name, data[name]) for name in dict.fromkeys(names) if _is_fetched(data[name])}


def _is_fetched(dataset: Data) -> bool:
    # Rows that take() and skip() leave are written down as a local file.
    return dataset.is_remote() and not (dataset.is_part and isinstance(dataset, TabularDataset))


def _fetched(name: str, dataset: Data) -> Fetched:
    places, options = dataset.places(), dataset.store_options()
    if len(places) > 1 or dataset.is_part:
        raise UsageError(
            f"The input {name!r}, whose path the script is told, must be one object, folder or glob of its store,"
            f" without take() and skip(), got {list(places)}. Next: put the objects below one folder, or give each as"
            " an input of its own."
        )
    url = places[0].rstrip("/")
    first = next(list_objects(places, options, AT_START))
    if first.url == url:
        return Fetched(url, "object", first.token, options)
    return Fetched(url, "prefix", state_of_inputs(FileDataset(url, storage_options=options).spec()).digest, options)
