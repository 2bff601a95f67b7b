"""Go on from what earlier engines have left, without what is damaged of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from daskbatch.errors import SegmentDamaged
from daskbatch.events import Notice, RunResumed
from daskbatch.store.replay import Replay, replay
from daskbatch.store.settled import Settled, damaged_chunks

if TYPE_CHECKING:
    from daskbatch.engine.run import _Run

__all__ = ["damaged_results", "restore"]


def restore(run: _Run, found: Replay) -> None:
    """Take over what is settled into the run's books, and leave it out of what is to be done."""
    settled = Settled(run.folder.results, found)
    damage = found.damage
    if settled.damaged or damage:  # written down: the next engine to read these ledgers sees no damage any more
        run.epoch.ledger.void(settled.damaged)
    if settled.damaged:
        damage = [*damage, f"{len(settled.damaged)} chunks of results are not those that were committed"]
    for text in damage:
        run.tell(Notice(time.time(), f"{text}; these mini-batches run again", "WARNING"))
    run.books.restore(settled, found.tries, found.tried)
    run.batches = settled.remaining(run.batches, run.books.pass_over)
    run.estimate = max(0, run.estimate - len(settled))
    entries = (*settled.failed.values(), *settled.short.values())
    run.tell(RunResumed(time.time(), run.epoch.number, run.books.succeeded, entries))


def damaged_results(run: _Run, error: SegmentDamaged) -> Replay:
    """Take back all results that are damaged; return what is left."""
    run.tell(Notice(time.time(), f"{error}; what is damaged runs again", "WARNING"))
    run.epoch.ledger.void(damaged_chunks(run.folder.results, run.books.chunks))
    return replay(run.epoch.ledger.path)
