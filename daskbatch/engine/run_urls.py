"""What of a run lies where on a store.

::

    PREFIX/predictions.csv, run_summary.json, failed_items.jsonl, logs/     for people
    PREFIX/.daskbatch/epoch-N.json            claims the run for engine N: the first line of its ledger
    PREFIX/.daskbatch/engine-N.json           its heartbeat
    PREFIX/.daskbatch/cancel                  asks for an end
    PREFIX/.daskbatch/RUN/run-N.json          what the run is, as engine N has written it down
    PREFIX/.daskbatch/RUN/plan-DIGEST.gz      its plan
    PREFIX/.daskbatch/RUN/ledger-N-TOKEN/     the other lines of that ledger
    PREFIX/.daskbatch/RUN/segments/           results

All of a run lies below its id, and claims are never deleted: an engine of a run that was discarded, and wakes, writes
where nobody looks. Nothing is listed to find out what counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from daskbatch.layout import STATE_FOLDER
from daskbatch.remote.urls import join

__all__ = ["RunUrls"]


@dataclass(frozen=True, slots=True)
class RunUrls:
    """URLs of one output."""

    output: str
    """Without a slash at its end."""

    def named(self, name: str) -> str:
        """Something for people."""
        return join(self.output, name)

    def claim(self, number: int) -> str:
        """The claim of an epoch."""
        return join(self.output, STATE_FOLDER, f"epoch-{number}.json")

    def beat(self, number: int) -> str:
        """The heartbeat of an epoch's engine."""
        return join(self.output, STATE_FOLDER, f"engine-{number}.json")

    @property
    def cancel(self) -> str:
        """Asks for an end."""
        return join(self.output, STATE_FOLDER, "cancel")

    def run(self, run_id: str, *names: str) -> str:
        """What belongs to one run."""
        return join(self.output, STATE_FOLDER, run_id, *names)
