"""What is to be done with a folder of tables, as a peer is told it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness

__all__ = ["COLUMNS", "TableWork", "by_peer"]

COLUMNS = ("id", *(f"x{i}" for i in range(8)))
"""Columns of the tables: an int64, and float64s."""


@dataclass(frozen=True)
class TableWork:
    """Score all rows of all files of a folder, into a result of the same format."""

    source: Path
    form: str
    """``"csv"`` or ``"parquet"``."""
    model: str
    """A module of ``models``, whose ``run`` takes a DataFrame and returns one with ``id`` and ``score``."""
    rows: int
    """Rows of a batch: about 1 MB."""
    units: int
    """Units of work, for the rate."""

    @property
    def files(self) -> list[Path]:
        """The input's files, in order."""
        return sorted(self.source.glob(f"*.{self.form}"))


def by_peer(score: Callable[[Path, TableWork], float], work: Callable[[bool], TableWork]) -> harness.Contender:
    """Return the contender that has a peer do the work; `score` returns the seconds of its run phase."""

    def contend(out: Path, small: bool) -> harness.Timing:
        given = work(small)
        return harness.Timing(score(out, given), given.units)

    return contend
