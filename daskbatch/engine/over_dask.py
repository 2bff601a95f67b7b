"""A run over Dask: connect, ask the workers, dispatch. Imported only where Dask is used."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from daskbatch.cluster import connect
from daskbatch.engine.ask import ask_workers
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.dispatch import Dispatcher
from daskbatch.engine.presence import LEASE
from daskbatch.events import Notice
from daskbatch.worker.plugin import PluginSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from daskbatch.engine.run import _Run

__all__ = ["run_over_dask"]


def run_over_dask(run: _Run) -> None:
    """Do the run's work on Dask workers; the outcome is in its books."""
    from daskbatch.engine.run import runner_setup

    spec = run.spec
    began = time.monotonic()
    with connect(spec, run.client, run.collection is not None) as client:
        if run.client is not None or spec.scheduler is not None:
            ask_workers(client, spec, run.plan)
        if spec.dashboard:
            run.tell(Notice(time.time(), f"Dask's dashboard: {client.dashboard_link}"))
        partitions = _submit(client, run.collection)
        settings = PluginSettings(
            output=spec.output,
            state=str(run.folder.state),
            setup=runner_setup(spec, run.plan.table, run.source),
            environment=dict(spec.environment_variables),
            timeouts={
                "start": spec.init_timeout,
                "read": spec.read_timeout,
                "run": spec.run_invocation_timeout,
                "shutdown": spec.shutdown_timeout,
            },
            memory_limit=spec.runner_memory_limit,
            pickled=spec.entry.pickled,
            logging_level=spec.logging_level,
            folder=os.getcwd(),
            lease=LEASE,
        )
        dispatcher = Dispatcher(
            client,
            spec,
            settings,
            run.books,
            Backlog(run.batches, run.plan.estimate, run.plan.mini_batches is not None, spec.task_seconds, run.books),
            f"daskbatch-{run.run_id}-1",
            run.tell,
            partitions,
            run.interrupts.inbox,
        )
        run.phases["start"] = round(time.monotonic() - began, 6)
        run.interrupts.listening = True
        try:
            with run._phase("run"):
                dispatcher.run()
        finally:
            run.interrupts.listening = False
            run.first_run = dispatcher.first_start
            for future in partitions.values():
                future.release()


def _submit(client: Client, collection: Any) -> dict[int, Future[Any]]:
    """Submit a Dask dataframe's graph once, whole.

    Cut into windows a shuffle would read its input many times over. Its memory is Dask's affair.
    """
    if collection is None:
        return {}
    futures = client.compute(collection.to_delayed())
    return dict(enumerate(futures))
