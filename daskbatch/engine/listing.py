"""A run that is at work while its input is still being listed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from daskbatch.engine.finish import stop_of
from daskbatch.engine.stop import Stop
from daskbatch.errors import RunFailed
from daskbatch.events import Planned
from daskbatch.plan_inputs import InputState
from daskbatch.plan_stream import PlanStream
from daskbatch.types import MiniBatch

if TYPE_CHECKING:
    from daskbatch.engine.run import _Run

__all__ = ["follow"]


def follow(run: _Run, stream: PlanStream) -> Iterator[MiniBatch | None]:
    """The run's mini-batches, in order, as they become known; None where the next is not known yet.

    Who waits at the run's inbox is woken then. A listing that fails stops the run.
    """

    def look() -> None:
        if stream.error is None:
            run.interrupts.inbox.put(partial(_take_over, run))
        else:
            run.ask_to_stop(_stop_of(stream, stream.error))

    stream.watch(look)
    return _batches(run, stream)


def _stop_of(stream: PlanStream, error: Exception) -> Stop:
    if isinstance(error, (RunFailed, OSError)):  # taken over, or the disk is full
        return stop_of(error)
    found = f"{stream.known.files:,} files had been found"
    return Stop(RunFailed, f"the input cannot be listed to its end; {found}. {error}", cause=error)


def _batches(run: _Run, stream: PlanStream) -> Iterator[MiniBatch | None]:
    def note(known: InputState) -> None:
        run.epoch.ledger.listed(known.files, known.digest)

    yield from stream.batches(note)
    _take_over(run)


def _take_over(run: _Run) -> None:
    """Where all is listed: from now on the run is as one that was planned before. In the engine's own thread."""
    stream = run.prepared.stream
    if stream is None or stream.plan is None:
        return
    plan = stream.plan
    run.prepared = dataclasses.replace(run.prepared, plan=plan, stream=None)
    run.books.total = plan.mini_batches
    counts = (plan.files, plan.mini_batches, plan.estimate, plan.input_bytes)
    run.tell(Planned(time.time(), *counts, plan.description, (), plan.skipped))
