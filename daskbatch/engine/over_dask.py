"""A run over Dask: connect, ask the workers, dispatch. Imported only where Dask is used."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from daskbatch.cluster import connect
from daskbatch.engine.ask import ask_workers
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.dispatch import Dispatcher
from daskbatch.engine.presence import LEASE
from daskbatch.events import Notice
from daskbatch.spec import RunSpec
from daskbatch.store.formats import suffix_of
from daskbatch.types import TableFormat
from daskbatch.worker.plugin import PluginSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from daskbatch.engine.run import _Run

__all__ = ["run_over_dask"]


def run_over_dask(run: _Run) -> None:
    """Do the run's work on Dask workers; the outcome is in its books."""
    spec = run.spec
    plan = run.prepared.plan
    began = time.monotonic()
    with connect(spec, run.client, run.collection is not None) as client:
        if run.client is not None or spec.scheduler is not None:
            ask_workers(client, spec, plan)
        if spec.dashboard:
            run.tell(Notice(time.time(), f"Dask's dashboard: {client.dashboard_link}"))
        partitions = _submit(client, run.collection)
        settings = PluginSettings(
            output=spec.output,
            state=str(run.folder.state),
            setup=_runner_setup(spec, plan.table, run.prepared.source),
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
            folder=spec.folder,
            lease=LEASE,
        )
        dispatcher = Dispatcher(
            client,
            spec,
            settings,
            run.books,
            Backlog(run.batches, run.estimate, plan.mini_batches is not None, spec.task_seconds, run.books),
            run.name,
            run.tell,
            partitions,
            run.interrupts.inbox,
        )
        run.phases["start"] = round(time.monotonic() - began, 6)
        run.interrupts.listening = True
        try:
            with run.phase("run"):
                dispatcher.run()
        finally:
            run.interrupts.listening = False
            run.first_run = dispatcher.first_start
            for future in partitions.values():
                future.release()


def _runner_setup(spec: RunSpec, table: TableFormat | None, source: str | None) -> dict[str, Any]:
    """The first message to a runner, without what only its node knows."""
    return {
        "script": spec.entry.script,
        "arguments": list(spec.arguments),
        "source_directory": source,
        "path": [] if spec.entry.pickled is None else [os.path.abspath(part) for part in sys.path],
        "suffix": suffix_of(spec.append_row_file_name),
        "action": spec.output_action,
        "table": None if table is None else table._asdict(),
    }


def _submit(client: Client, collection: Any) -> dict[int, Future[Any]]:
    """Submit a Dask dataframe's graph once, whole.

    Cut into windows a shuffle would read its input many times over. Its memory is Dask's affair.
    """
    if collection is None:
        return {}
    futures = client.compute(collection.to_delayed())
    return dict(enumerate(futures))
