"""One run from its options to its summary."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from daskbatch import errors
from daskbatch.engine.begin import Beginning, Begun, begin
from daskbatch.engine.books import Books
from daskbatch.engine.changes import note_files_at_end
from daskbatch.engine.epoch import Epoch
from daskbatch.engine.finish import publish, stop_of, summarise
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.opening import opened
from daskbatch.engine.phase import Phase
from daskbatch.engine.planning import Prepared, digest_of_inputs, plan_run, planned_before
from daskbatch.engine.resume import damaged_results, restore
from daskbatch.engine.serial import progress_of, run_serially
from daskbatch.engine.signals import Interrupts
from daskbatch.engine.stop import Stop
from daskbatch.events import (
    Event,
    FolderListener,
    Listener,
    Planned,
    Progress,
    RunFinished,
    RunReused,
    RunStarted,
    RunTakenOver,
)
from daskbatch.failpoints import failpoint
from daskbatch.options.public import public_options
from daskbatch.policy import Limits
from daskbatch.remote.errors import StorageError
from daskbatch.spec import RunSpec
from daskbatch.store.combine import Combined
from daskbatch.store.refusal import refusal
from daskbatch.store.replay import Replay
from daskbatch.types import MiniBatch

if TYPE_CHECKING:
    from distributed import Client

    from daskbatch.cluster.supply import Supply

__all__ = ["execute"]

_REPAIRS = 3  # rounds of doing damaged results again; a disk that damages more than that must be told of


def execute(
    spec: RunSpec,
    listeners: Sequence[Listener],
    client: Client | None = None,
    collection: Any = None,
    how: Beginning | None = None,
) -> dict[str, Any]:
    """Run, go on with a run, or find that its result serves.

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
    how : Beginning
        What to do about a run that is in the output folder already.

    Returns
    -------
    dict
        The summary of a completed run.

    Raises
    ------
    UsageError
        The input cannot be planned, or the folder holds another run; nothing was started and the output folder is
        as it was.
    RunFailed, RunCanceled
        With the user's traceback first in the message, and the summary as ``summary``.
    """
    with opened(spec.output, spec.output_storage_options) as folder:
        if str(folder.output) != spec.output:
            for listener in listeners:
                if isinstance(listener, FolderListener):
                    listener.write_to(str(folder.output))
        return _Run(spec, folder, listeners, client, collection).execute(how or Beginning())


class _Run:
    """The run's phases and what they hand on."""

    epoch: Epoch
    books: Books
    prepared: Prepared
    batches: Iterator[MiniBatch]
    cluster: contextlib.ExitStack
    """What is entered in it lasts until the result is there; jobs are not kept that long, unless they combine it."""

    def __init__(
        self, spec: RunSpec, folder: RunFolder, listeners: Sequence[Listener], client: Client | None, collection: Any
    ) -> None:
        self.spec = spec
        self.listeners = listeners
        self.client = client
        self.collection = collection
        self.folder = folder
        self.run_id = ""
        self.round = 0
        """How often damaged results were done again."""
        self.began = time.monotonic()
        self.phases: dict[str, float] = {}
        self.first_run: float | None = None
        self.client_there: Client | None = None  # while there is a cluster
        self.jobs: Supply | None = None
        """Of a queue."""

    @property
    def name(self) -> str:
        """Unique for the run, this engine's life in it and the round."""
        return f"daskbatch-{self.run_id}-{self.epoch.number}" + (f"-{self.round}" if self.round else "")

    def tell(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.epoch.show(event)
        for listener in self.listeners:
            listener(event)

    def execute(self, how: Beginning) -> dict[str, Any]:
        with Interrupts() as self.interrupts:
            self.had_logs = self.folder.logs.exists()
            begun = self._begin(how)
            planned = False
            if begun.epoch is None:
                summary = begun.summary or {}
                self.tell(RunReused(time.time(), self.spec.output, summary))
                return {**summary, "reused": True}
            self.epoch, self.run_id = begun.epoch, begun.run_id
            status: str | None = "Failed"
            whole = False
            try:
                with self.folder.shown():
                    self._prepare(begun)
                    planned = True
                    stop, combined = self._work_and_combine(begun.found)
                summary, stop = self._sum_up(stop, combined)
                status = None if stop is not None and stop.taken_over else summary["status"]
                if status == "Completed":
                    note_files_at_end(self.folder)
                whole = stop is None and not self.books.failed  # else retry-failed builds on the segments
            except (errors.UsageError, StorageError):
                if begun.record is None and not (planned and self.books.tries):
                    self._take_back()
                raise
            except KeyboardInterrupt:
                if begun.record is None and not planned:
                    self._take_back()
                status = "Canceled"
                raise self._canceled(planned) from None
            except OSError as error:
                raise errors.RunFailed(refusal(error)) from error
            finally:
                self._end_listing()
                self.epoch.close(status, drop_segments=whole)
            return self._end(summary, stop)

    def _begin(self, how: Beginning) -> Begun:
        try:
            with self.phase("plan"):
                return begin(self.spec, self.folder, how, digest_of_inputs(self.spec, self.collection), self.tell)
        except KeyboardInterrupt:
            raise self._canceled(planned=False) from None
        except OSError as error:
            raise errors.RunFailed(refusal(error)) from error

    def _canceled(self, planned: bool) -> errors.RunCanceled:
        error = errors.RunCanceled(f"interrupted {'at the end' if planned else 'before anything was started'}")
        error.exit_code = self.interrupts.exit_code
        return error

    def _take_back(self) -> None:
        """Nothing was run: leave the output folder without a trace of a run."""
        self._end_listing()
        if self.epoch.look() is not None:
            return  # another engine has taken it over
        self.folder.take_back(self.epoch.number)  # first, and only then let go: else who waits would go on with it
        self.epoch.close(None)
        if not self.had_logs:
            shutil.rmtree(self.folder.logs, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.output.rmdir()  # only if it is empty: then it was made for this run

    def _prepare(self, begun: Begun) -> None:
        """Plan, or read the plan back; tell of it."""
        with self.phase("plan"):
            if begun.record is None:
                self.prepared = plan_run(self.spec, self.folder, self.run_id, self.collection, self.epoch.look)
            else:
                listed = begun.found.listed if begun.found else None
                self.prepared = planned_before(self.spec, self.folder, begun.record, self.epoch.look, listed)
        # From here on the entry script is the one in the copy of the source directory.
        entry = dataclasses.replace(self.spec.entry, script=self.prepared.script)
        self.spec = dataclasses.replace(self.spec, entry=entry)
        self.tell(RunStarted(time.time(), self.run_id, self.spec.output, public_options(self.spec)))
        plan = self.prepared.plan
        counts = (plan.files, plan.mini_batches, plan.estimate, plan.input_bytes)
        columns = plan.table.columns if plan.table else ()
        self.tell(Planned(time.time(), *counts, plan.description, columns, plan.skipped, bool(self.prepared.stream)))

    def _work_and_combine(self, found: Replay | None) -> tuple[Stop | None, Combined | None]:
        """Work and combine; what turns out to be damaged is done again."""
        while True:
            self._open_books(found)
            combined = None
            try:
                with contextlib.ExitStack() as self.cluster:
                    self.cluster.callback(setattr, self, "client_there", None)
                    stop = self._settle(self._work())
                    if self.jobs is not None and not self.folder.combines_on_workers:
                        self._leave_cluster()  # nobody else's time is spent on what this process does
                    with self.phase("combine"):
                        self.epoch.enter("combine")
                        combined, stop = publish(
                            self.spec, self.folder, self.books, stop, self.epoch, self.interrupts, self.client_there
                        )
                    self._leave_cluster()
                    return stop, combined
            except KeyboardInterrupt:
                if combined is not None:  # it is there, and counts
                    return stop, combined
                return Stop(errors.RunCanceled, "interrupted while the results were combined"), None
            except errors.SegmentDamaged as error:
                self.round += 1
                if self.round > _REPAIRS:
                    return stop_of(error), None
                found = damaged_results(self, error)

    def _leave_cluster(self) -> None:
        """Wait until runners have ended, and end what is ours of the cluster."""
        with self.phase("shutdown"):
            self.cluster.close()

    def _settle(self, stop: Stop | None) -> Stop | None:
        """All that was committed is durable, or the run has failed."""
        try:
            self.epoch.ledger.settle()
        except errors.RunFailed as error:
            return stop or stop_of(error)
        return stop

    def _open_books(self, found: Replay | None) -> None:
        """Books and what is left of the plan: all of it, or what earlier engines have not settled."""
        spec, plan = self.spec, self.prepared.plan
        limits = Limits(spec.error_threshold, spec.allowed_failed_count, spec.allowed_failed_percent)
        ledger = self.epoch.ledger
        self.books = Books(limits, spec.run_max_try, ledger, self.tell, plan.mini_batches, self.epoch.displaced)
        self.batches = self.prepared.mini_batches()
        self.estimate = plan.estimate
        if found is not None:
            restore(self, found)
        self.epoch.on_stop(self.ask_to_stop)

    def ask_to_stop(self, stop: Stop) -> None:
        """Called from other threads: the heartbeat's, and that which lists the input."""
        if self.books.stop is None or stop.taken_over:
            self.books.stop = stop
        self.interrupts.inbox.put({})  # wakes whoever waits there

    def _work(self) -> Stop | None:
        before = 0 if self.round else self.books.tries  # those of earlier lives
        try:
            self.epoch.enter("run")
            if self.spec.compute.type == "serial":
                self._run_serially()
            else:
                from daskbatch.engine.over_dask import run_over_dask

                run_over_dask(self)
            return self.books.close()
        except KeyboardInterrupt:
            return Stop(errors.RunCanceled, "interrupted")
        except StorageError as error:  # in the middle nobody has used anything wrongly: it goes on when that is mended
            return Stop(errors.RunFailed, str(error))
        except errors.UsageError as error:
            if self.books.tries == (0 if isinstance(error, errors.InputError) else before):  # nothing was started
                raise
            return Stop(errors.RunFailed, str(error), cause=error)  # of the plan, say, which is read meanwhile
        except Exception as error:  # the scheduler is gone, say: what was committed counts all the same
            return stop_of(error)
        finally:
            self.batches = iter(())  # an error that is kept must not keep the plan's files open
            self._end_listing()

    def _end_listing(self) -> None:
        if hasattr(self, "prepared") and self.prepared.stream is not None:
            self.prepared.stream.close()

    def _run_serially(self) -> None:
        with self.phase("run"):
            run_serially(self.spec, self.prepared, self.folder, self.books, self.batches, progress_of(self))

    def phase(self, name: str) -> Phase:
        """Measure what happens within."""
        return Phase(self.phases, name)

    def _sum_up(self, stop: Stop | None, combined: Combined | None) -> tuple[dict[str, Any], Stop | None]:
        """The summary, told to all who listen, unless the run is another engine's by now."""
        first = None if self.first_run is None else self.first_run - self.began
        stop = self.epoch.look() or stop
        seconds = time.monotonic() - self.began
        summary = summarise(
            self.spec, self.run_id, self.epoch.number, self.books, stop, combined, seconds, self.phases, first
        )
        if self.jobs is not None:
            summary[self.jobs.word] = self.jobs.counts()
        if stop is not None and stop.taken_over:
            self.tell(RunTakenOver(time.time(), stop.message))
            return summary, stop
        try:
            failpoint("summary.write.before")
            ending = (None, None) if stop is None else (stop.message, stop.traceback)
            self.tell(RunFinished(time.time(), summary, *ending))
            self.folder.push()
        except (OSError, StorageError) as error:
            why = f"the results are safe, but the summary cannot be written. {stop_of(error).message}"
            stop = stop or Stop(errors.RunFailed, why, cause=error)
            summary["status"] = "Failed" if summary["status"] == "Completed" else summary["status"]
        failpoint("summary.write.after")
        return summary, stop

    def _end(self, summary: dict[str, Any], stop: Stop | None) -> dict[str, Any]:
        """Raise what stopped the run."""
        if stop is None:
            return summary
        raised = stop.error(f"{stop.traceback.rstrip()}\n\n{stop.message}" if stop.traceback else stop.message)
        if isinstance(raised, (errors.RunFailed, errors.RunCanceled)):
            raised.summary = summary
        if isinstance(raised, errors.RunCanceled):
            raised.exit_code = self.interrupts.exit_code
        raise raised from stop.cause
