"""Where a mini-batch comes from: its dataset's name, and what its paths say of the keys.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from daskbatch.store.partition_format import parse_format
from daskbatch.types import MiniBatch

__all__ = ["Origins"]


class Origins:
    """What the context tells of a mini-batch's input; see `daskbatch.plan_record.Plan.origins`.

    Parameters
    ----------
    datasets
        Name of each dataset and how many of the plan's files are its own, in order. Empty: one without a name.
    keys
        By which the input is cut.
    partition_format
        What paths say of them.
    """

    def __init__(
        self, datasets: Sequence[tuple[str, int]] = (), keys: Sequence[str] = (), partition_format: str = ""
    ) -> None:
        self._names = [name for name, _ in datasets]
        self._firsts = [0, *accumulate(files for _, files in datasets)][: len(self._names)]
        self._keys = keys
        self._format = parse_format(partition_format) if keys else None

    def dataset(self, batch: MiniBatch) -> str | None:
        """The name of its dataset."""
        return self._names[bisect_right(self._firsts, batch.file) - 1] if self._names else None

    def key_values(self, path: str) -> dict[str, Any]:
        """Key to value, a string or a datetime, by the first path of a mini-batch; empty where the input is not cut by
        keys.
        """
        if self._format is None:
            return {}
        values = self._format.values(path)
        return {key: values[key] for key in self._keys}
