"""A Dask scheduler in this process, over TLS, for workers that are started elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import dask
from distributed import Scheduler
from distributed.deploy.spec import SpecCluster

from daskbatch.cluster.local import STARTING
from daskbatch.cluster.worker_config import OUR_CONFIG

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["own_scheduler"]


def own_scheduler(security: Security, options: Mapping[str, Any], dashboard: bool) -> SpecCluster:
    """A cluster that has a scheduler alone; as a context it ends, and tells its workers to go.

    Parameters
    ----------
    security : Security
    options : mapping
        Of the scheduler, such as ``host``, ``interface`` and ``port``.
    dashboard : bool
        Without, it answers no HTTP.
    """
    fixed = {"protocol": "tls://", "dashboard_address": "127.0.0.1:0", "security": security}
    with STARTING, dask.config.set(OUR_CONFIG):
        cluster = SpecCluster(
            workers={},
            scheduler={"cls": Scheduler, "options": {**options, **fixed}},
            security=security,
            silence_logs=False,
        )
    if not dashboard:
        cast(Any, cluster.scheduler).http_server.stop()
    return cluster
