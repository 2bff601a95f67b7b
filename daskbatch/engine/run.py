"""One run from its options to its summary."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch import errors
from daskbatch.engine.books import Books, Stop
from daskbatch.engine.finish import publish, stop_of, summarise
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.serial import run_serially
from daskbatch.engine.signals import Interrupts
from daskbatch.events import Event, Listener, Planned, RunFinished, RunStarted
from daskbatch.options import public_options
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.policy import Limits
from daskbatch.spec import RunSpec
from daskbatch.store.formats import suffix_of
from daskbatch.store.ledger import Ledger
from daskbatch.types import OPEN_END, MiniBatch, MiniBatchSize, TableFormat

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["execute"]

_PROGRESS_EVERY = 0.5
_DEFAULT_BYTES = 2**20


def execute(
    spec: RunSpec, listeners: Sequence[Listener], client: Client | None = None, collection: Any = None
) -> dict[str, Any]:
    """Run.

    Parameters
    ----------
    spec : RunSpec
        Checked, its output folder too.
    listeners : sequence of callables
        Told every event.
    client : Client or None
        The user's own.
    collection : dask dataframe or None
        The input, where it is no file.

    Returns
    -------
    dict
        The summary of a completed run.

    Raises
    ------
    UsageError
        The input cannot be planned; nothing was started and the output folder is as it was.
    RunFailed, RunCanceled
        With the user's traceback first in the message, and the summary as ``summary``.
    """
    return _Run(spec, listeners, client, collection).execute()


class _Run:
    """The run's phases and what they hand on."""

    def __init__(self, spec: RunSpec, listeners: Sequence[Listener], client: Client | None, collection: Any) -> None:
        self.spec = spec
        self.listeners = listeners
        self.client = client
        self.collection = collection
        self.folder = RunFolder(Path(spec.output))
        self.run_id = f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
        self.began = time.monotonic()
        self.phases: dict[str, float] = {}
        self.first_run: float | None = None

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def execute(self) -> dict[str, Any]:
        with Interrupts() as self.interrupts:
            self.had_logs = self.folder.logs.exists()
            self.folder.create()
            try:
                with self._phase("plan"):
                    self.source = self._snapshot()
                    self.plan, self.batches = self._plan()
                self.ledger = Ledger.create(self.folder.ledger, self.run_id)
            except KeyboardInterrupt:
                self._take_back()
                raise self._canceled("interrupted before anything was started") from None
            except BaseException:
                self._take_back()
                raise
            limits = Limits(self.spec.error_threshold, self.spec.allowed_failed_count, self.spec.allowed_failed_percent)
            self.books = Books(limits, self.spec.run_max_try, self.ledger, self.tell, self.plan.mini_batches)
            with contextlib.closing(self.ledger):
                try:
                    self._work()
                    stop = self.books.close()
                except KeyboardInterrupt:
                    stop = Stop(errors.RunCanceled, "interrupted")
                except errors.UsageError:
                    self._take_back()
                    raise
                except Exception as error:  # the scheduler is gone, say: what was committed counts all the same
                    stop = stop_of(error)
                finally:
                    self.batches = iter(())  # an error that is kept must not keep the plan's files open
                return self._finish(stop)

    def _canceled(self, message: str) -> errors.RunCanceled:
        error = errors.RunCanceled(message)
        error.exit_code = 128 + (self.interrupts.number or signal.SIGINT)
        return error

    def _take_back(self) -> None:
        """Nothing was run: leave the output folder without a trace of a run."""
        shutil.rmtree(self.folder.state, ignore_errors=True)
        if not self.had_logs:
            shutil.rmtree(self.folder.logs, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.output.rmdir()  # only if it is empty: then it was made for this run

    def _snapshot(self) -> str | None:
        """Copy the source directory; from here on the entry script is the copy's."""
        entry = self.spec.entry
        if entry.source_directory is None:
            return None
        copy = self.folder.snapshot(entry.source_directory)
        script = entry.script and str(copy / os.path.relpath(entry.script, entry.source_directory))
        self.spec = dataclasses.replace(self.spec, entry=dataclasses.replace(entry, script=script))
        return str(copy)

    def _plan(self) -> tuple[Plan, Iterator[MiniBatch]]:
        if self.collection is None:
            plan = make_plan(self.spec.input, self.folder.plan)
            batches = read_plan(plan)
        else:
            plan = _plan_of_collection(self.collection, self.spec.input.mini_batch_size)
            batches = (MiniBatch(number, 0, (), stop=OPEN_END) for number in range(plan.files))
        self.tell(RunStarted(time.time(), self.run_id, self.spec.output, public_options(self.spec)))
        self.tell(
            Planned(
                time.time(),
                plan.files,
                plan.mini_batches,
                plan.estimate,
                plan.input_bytes,
                plan.description,
                plan.table.columns if plan.table else (),
                plan.skipped,
            )
        )
        return plan, batches

    def _work(self) -> None:
        if self.spec.compute == "serial":
            with self._phase("run"):
                run_serially(
                    self.spec,
                    self.plan.table,
                    self.source,
                    self.folder.segments,
                    self.books,
                    self.batches,
                    self._serial_progress(),
                )
            return
        from daskbatch.engine.over_dask import run_over_dask

        run_over_dask(self)

    def _serial_progress(self) -> Callable[[], None]:
        began = told = time.monotonic()

        def progress() -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= _PROGRESS_EVERY:
                told = now
                exact = self.plan.mini_batches is not None
                self.tell(self.books.progress(now - began, self.plan.estimate, exact, 1))

        return progress

    def _phase(self, name: str) -> _Phase:
        return _Phase(self.phases, name)

    def _finish(self, stop: Stop | None) -> dict[str, Any]:
        """Combine, sum up, tell, and raise what stopped the run."""
        with self._phase("combine"):
            try:
                combined, stop = publish(self.spec, self.folder, self.books, stop)
            except KeyboardInterrupt:
                combined, stop = None, Stop(errors.RunCanceled, "interrupted while the results were combined")
        first = None if self.first_run is None else self.first_run - self.began
        summary = summarise(
            self.spec, self.run_id, self.books, stop, combined, time.monotonic() - self.began, self.phases, first
        )
        error = None if stop is None else stop.message
        self.tell(RunFinished(time.time(), summary, error, None if stop is None else stop.traceback))
        if stop is None:
            return summary
        raised = stop.error(f"{stop.traceback.rstrip()}\n\n{stop.message}" if stop.traceback else stop.message)
        if isinstance(raised, (errors.RunFailed, errors.RunCanceled)):
            raised.summary = summary
        if isinstance(raised, errors.RunCanceled):
            raised.exit_code = 128 + (self.interrupts.number or signal.SIGINT)
        raise raised from stop.cause


class _Phase:
    """Measure a phase in seconds."""

    def __init__(self, phases: dict[str, float], name: str) -> None:
        self._phases = phases
        self._name = name

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = round(time.monotonic() - self._began, 6)


def _plan_of_collection(collection: Any, size: MiniBatchSize | None) -> Plan:
    """A plan for a Dask dataframe: each partition is a stream, cut when it is there."""
    count = collection.npartitions
    size = MiniBatchSize("bytes", _DEFAULT_BYTES) if size is None else size
    if size.kind == "files":
        size = MiniBatchSize("bytes", size.value)
    return Plan(
        path=Path(os.devnull),
        format="arrow",
        table=TableFormat("arrow", size),
        size=size,
        files=count,
        mini_batches=None,
        estimate=count,
        input_bytes=0,
        description=f"a Dask dataframe of {count} partitions, mini-batches of {size.value} {size.kind}",
        skipped=(),
    )


def runner_setup(spec: RunSpec, table: TableFormat | None, source: str | None) -> dict[str, Any]:
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
