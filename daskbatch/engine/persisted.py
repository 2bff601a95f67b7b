"""A Dask dataframe whose partitions are on a cluster already: no other cluster can compute it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from daskbatch.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["refuse_persisted_elsewhere"]


def refuse_persisted_elsewhere(collection: Any, client: Client | None) -> None:
    """See that the cluster of a run holds what is persisted of its input: else it would wait for that for ever.

    Parameters
    ----------
    collection : Dask dataframe
    client : Client or None
        Of the run; None: it is going to have a cluster of its own.

    Raises
    ------
    UsageError
    """
    if "distributed" not in sys.modules:  # then nothing is persisted; importing it takes half a second
        return
    from distributed import futures_of

    for owner in {future.client for future in futures_of(collection)}:
        if owner.status != "running":
            raise UsageError(
                "The dataframe was persisted on a cluster whose Client is closed: its data is gone. Next: make it"
                " again, and keep that Client open, or leave persist() out."
            )
        if client is None or owner.scheduler_info()["id"] != client.scheduler_info()["id"]:
            where = owner.scheduler.address
            raise UsageError(
                f"The dataframe is persisted on the cluster of the scheduler {where}, and the run is on another one,"
                " which does not have its data. Next: give that cluster's client=, or in a pipeline a compute target"
                f" with scheduler={where!r}; or give the dataframe as it was before persist()."
            )
