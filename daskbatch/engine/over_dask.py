"""A run over Dask: connect, ask the workers, dispatch. Imported only where Dask is used."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from daskbatch.cluster import connect
from daskbatch.cluster.dashboard import link, tunnel
from daskbatch.engine.ask import ask_workers
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.dispatch import Dispatcher
from daskbatch.engine.gathering import Gathering
from daskbatch.engine.listing import follow
from daskbatch.engine.persisted import refuse_persisted_elsewhere
from daskbatch.engine.places import SCHEDULER_GONE
from daskbatch.engine.presence import LEASE
from daskbatch.engine.reach import needed_folders
from daskbatch.engine.reduction import Drafting, Reduction
from daskbatch.errors import RunFailed
from daskbatch.events import Notice
from daskbatch.options.scheduler import is_plain
from daskbatch.plan_listing import scheme_of
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.segments import SegmentObjects
from daskbatch.spec import Fetched, RunSpec
from daskbatch.store.draft import Draft
from daskbatch.store.formats import suffix_of
from daskbatch.worker.plugin_settings import PluginSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from daskbatch.engine.planning import Prepared
    from daskbatch.engine.run import _Run

__all__ = ["run_over_dask"]

_PLAIN = (
    "the scheduler on loopback has no TLS: other users of this machine, if there are any, can run code in your name"
    " there. tls:// is safe; --insecure (insecure=True) accepts it and silences this."
)


def run_over_dask(run: _Run) -> None:
    """Do the run's work on Dask workers; the outcome is in its books."""
    spec = run.spec
    plan = run.prepared.plan
    began = time.monotonic()
    logs = run.folder.logs / "jobs"
    client, run.jobs = run.cluster.enter_context(connect(spec, run.client, run.collection is not None, logs))
    run.client_there = client
    if run.collection is not None:
        refuse_persisted_elsewhere(run.collection, client)
    if run.client is not None or spec.scheduler is not None:
        ask_workers(client, spec, plan)
    if spec.scheduler is not None and not spec.insecure and is_plain(spec.scheduler):
        run.tell(Notice(time.time(), _PLAIN))
    if spec.dashboard:
        url = link(client)
        elsewhere = f" (from another machine: {tunnel(url)})" if "?token=" in url else ""
        run.tell(Notice(time.time(), f"Dask's dashboard: {url}{elsewhere}"))
    partitions = _submit(client, run)
    settings = PluginSettings(
        output=spec.output,
        state=run.folder.state_place,
        setup=_runner_setup(spec, run.prepared),
        environment=dict(spec.environment_variables),
        timeouts={
            "start": spec.init_timeout,
            "read": spec.read_timeout,
            "run": spec.run_invocation_timeout,
            "shutdown": spec.shutdown_timeout,
        },
        memory_limit=spec.runner_memory_limit,
        pickled=spec.entry.pickled,
        script_output=spec.script_folder,
        python=spec.python,
        prefix=spec.command_prefix,
        folders=needed_folders(spec, run.prepared.source) if spec.command_prefix else (),
        logging_level=spec.logging_level,
        folder=spec.folder,
        copies=scheme_of(spec.input.paths),
        storage=spec.input.storage_options,
        fetched=spec.fetched,
        lease=LEASE,
        output_storage=spec.output_storage_options,
        models=run.folder.models_used(),
        source=_source(run),
    )
    stream = run.prepared.stream
    batches = run.batches if stream is None else follow(run, stream)
    reduction = _reduction(client, run)
    dispatcher = Dispatcher(
        client,
        spec,
        settings,
        run.books,
        Backlog(batches, run.estimate, plan.mini_batches is not None, spec.task_seconds, run.books, stream),
        run.name,
        run.tell,
        partitions,
        run.interrupts.inbox,
        run.jobs,
        reduction,
    )
    run.phases["start"] = round(time.monotonic() - began, 6)
    run.interrupts.listening = True
    try:
        with run.phase("run"):
            dispatcher.run(run.cluster)
        run.interrupts.listening = False
        if reduction is not None and run.books.stop is None:
            with run.phase("combine"):
                reduction.finish()
    except Exception:
        if client.status in ("closing", "closed"):  # it has looked for its scheduler long enough
            raise RunFailed(SCHEDULER_GONE) from None
        raise
    finally:
        run.interrupts.listening = False
        run.first_run = dispatcher.first_start
        if reduction is not None:
            reduction.close()
        for future in partitions.values():
            future.release()


def _reduction(client: Client, run: _Run) -> Reduction | None:
    """What can be done of it during the run. Nothing of a result on a store that could not copy it together."""
    spec, results = run.spec, run.folder.results
    if spec.output_action == "summary_only":
        return None
    if not isinstance(results, SegmentObjects):
        run.epoch.begin_draft(draft := Draft(results, run.folder.scratch, spec.append_row_file_name))
        return Drafting(draft, run.books)
    if suffix_of(spec.append_row_file_name) == ".parquet" or not is_s3(filesystem(results.url, results.options)):
        return None
    return Gathering(client, results, run.books, run.name)


def _runner_setup(spec: RunSpec, prepared: Prepared) -> dict[str, Any]:
    """The first message to a runner, without what only its node knows."""
    table = prepared.plan.table
    return {
        "script": spec.entry.script,
        "script_digest": prepared.script_digest,
        "arguments": list(spec.arguments),
        "source_directory": prepared.source,
        "path": [] if spec.entry.pickled is None else _module_path(spec),
        "tensorflow1": spec.tensorflow1,
        "suffix": suffix_of(spec.append_row_file_name),
        "action": spec.output_action,
        "table": None if table is None else table._asdict(),
        "origins": prepared.plan.origins(),
    }


def _source(run: _Run) -> Fetched | None:
    """The source directory for nodes that make a copy on local scratch; None: our own workers read it in its place."""
    ours = run.client is None and run.spec.scheduler is None and not run.spec.compute.brings_workers
    copy = run.prepared.source if run.spec.entry.pickled is None else None  # an object does not look into it
    return None if copy is None or ours else run.folder.source_for_nodes(copy)


def _module_path(spec: RunSpec) -> list[str]:
    """Where this process finds modules; for another interpreter, without this one's packages."""
    parts = [os.path.abspath(part) for part in sys.path]
    if spec.python is None:
        return parts
    return [part for part in parts if not part.startswith((sys.prefix, sys.base_prefix))]


def _submit(client: Client, run: _Run) -> dict[int, Future[Any]]:
    """Submit a Dask dataframe's graph at once, but for partitions that earlier engines have settled.

    Cut into windows a shuffle would read its input many times over. Its memory is Dask's affair.
    """
    if run.collection is None:
        return {}
    left = list(run.batches)
    run.batches = iter(left)
    numbers = sorted({batch.file for batch in left})
    partitions = run.collection.to_delayed()
    futures = client.compute([partitions[number] for number in numbers])
    return dict(zip(numbers, futures, strict=True))
