"""What is done of the reduction while mini-batches are still run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from daskbatch.engine.backlog import Backlog
from daskbatch.engine.books import Books
from daskbatch.engine.under_way import Task, UnderWay
from daskbatch.store.draft import Draft

__all__ = ["Drafting", "Reduction"]


class Reduction(Protocol):
    """Is told of each task that was booked: `Drafting` on a disk, `Gathering` on a store."""

    def take(self, task: Task, report: Mapping[str, Any], tasks: UnderWay, backlog: Backlog) -> None:
        """A task was booked; perhaps there is something to do.

        Parameters
        ----------
        task : Task
        report : mapping
            See `TaskReport`.
        tasks : UnderWay
            All other tasks that Dask has.
        backlog : Backlog

        Raises
        ------
        RunFailed
            The ledger cannot be written.
        """

    def finish(self) -> None:
        """All mini-batches are settled.

        Raises
        ------
        RunFailed
            The ledger cannot be written.
        """

    def close(self) -> None:
        """Leave nothing with Dask, be the scheduler there or not."""


class Drafting:
    """Has the combined file written as far as the input is settled from its beginning on.

    Parameters
    ----------
    draft : Draft
    books : Books
    """

    def __init__(self, draft: Draft, books: Books) -> None:
        self._draft = draft
        self._books = books

    def take(self, task: Task, report: Mapping[str, Any], tasks: UnderWay, backlog: Backlog) -> None:
        """See `Reduction`."""
        # Without a chunk there is nothing new; and where a worker is lost, not all of its rows are back yet.
        if report["chunk"] is not None and self._books.stop is None:
            self._draft.look(self._books.chunks, lambda: backlog.settled_before(tasks.rows()))

    def finish(self) -> None:
        """Combining goes on with it."""

    def close(self) -> None:
        """It has nothing with Dask."""
