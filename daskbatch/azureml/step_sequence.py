"""StepSequence: steps of which each waits for the one before."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from daskbatch.api.step import ParallelRunStep

__all__ = ["StepSequence"]


class StepSequence(list[ParallelRunStep]):
    """Steps for a `Pipeline`, done one after the other.

    Parameters
    ----------
    steps : iterable of ParallelRunStep
        In the place of one step there may be a list of some, which do not wait for each other.

    Raises
    ------
    UsageError
        Something in it is no step.
    """

    def __init__(self, steps: Iterable[ParallelRunStep | list[ParallelRunStep]] = ()) -> None:
        groups = [list(one) if isinstance(one, (list, tuple)) else [one] for one in steps]
        for before, after in itertools.pairwise(groups):
            for step, other in itertools.product(after, before):
                step.run_after(other)
        super().__init__(itertools.chain.from_iterable(groups))
