"""Which row of mini-batches goes to which place, and which nodes get none any more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from daskbatch.engine.backlog import Backlog
from daskbatch.engine.places import Place, Places
from daskbatch.engine.under_way import Task
from daskbatch.policy import NodeGate
from daskbatch.types import MiniBatch

__all__ = ["Allotment"]

_MOST_OF_A_JOB = 0.9


class Allotment:
    """Bring the backlog and the places together.

    What failed on a node is tried on another one while there is another.

    Parameters
    ----------
    places : Places
    backlog : Backlog
    """

    def __init__(self, places: Places, backlog: Backlog) -> None:
        self._places = places
        self._backlog = backlog
        self._gate = NodeGate()
        self._last_error: dict[str, str] = {}

    def next(self, idle: bool) -> tuple[list[MiniBatch], Place] | None:
        """Take a row off the backlog, for a place that has room for it.

        Parameters
        ----------
        idle : bool
            Nothing is under way.

        Returns
        -------
        row, place
            None: nothing is left, or what is left waits for another place.
        """
        nodes = {place.node for place in self._places.all} if self._gate.wrong else set()
        besides = self._gate.held(nodes)
        while (place := self._places.least_loaded(besides)) is not None:
            row = self._backlog.next_row(self._places.slots, self._avoided(place, nodes))
            if row:
                return row, place
            if not self._backlog.returned:
                return None
            besides.add(place.node)
        while idle and (place := self._places.least_loaded()) is not None:
            # What nobody else can be waited for goes anywhere, but not where it would be cut again.
            row = self._backlog.next_row(self._places.slots, self._too_long(place))
            if row:
                return row, place
            if not self._backlog.returned:
                return None
            place.leaving = True
        return None

    def _too_long(self, place: Place) -> Callable[[MiniBatch], bool]:
        """Tell what was cut by the end of a job once, and would not end before that of this place."""
        left = place.until - time.monotonic()
        return lambda batch: self._backlog.needs(batch) > left

    def _avoided(self, place: Place, nodes: Collection[str]) -> Callable[[MiniBatch], bool] | None:
        """Tell what is not for `place`: too long for it; or failed on its node, and not yet on each of `nodes`."""
        wrong, node = self._gate.wrong, place.node
        if not wrong:
            return self._too_long(place) if place.until < math.inf else None
        too_long = self._too_long(place)

        def avoided(batch: MiniBatch) -> bool:
            where = wrong.get(batch.key, ())
            return too_long(batch) or (node in where and any(other not in where for other in nodes))

        return avoided

    def learn(
        self, task: Task, report: Mapping[str, Any], rest: Sequence[MiniBatch], again: Sequence[MiniBatch]
    ) -> None:
        """Take note of a report: `rest` was not begun, `again` is to be tried again."""
        gate, node = self._gate, task.place.node
        if report["cut"] is not None:
            file, index, seconds = report["cut"]
            self._backlog.note_cut((file, index), min(2 * seconds, _MOST_OF_A_JOB * task.place.given))
        task.place.leaving |= report["leaving"]
        to_retry = {batch.key for batch in again}
        unsettled = {batch.key for batch in rest} if gate.wrong else set()
        for failure in report["failures"]:
            key = tuple(failure["key"])
            unsettled.add(key)
            gate.failed(node, key, final=key not in to_retry)
            self._last_error[node] = f"{failure['error']}: {failure['message']}"
        gate.succeeded(node, report["mini_batches"])
        if gate.wrong:
            for batch in task.row:
                if batch.key in gate.wrong and batch.key not in unsettled:
                    gate.recovered(node, batch.key)

    def wrong_nodes(self) -> Iterator[tuple[str, str]]:
        """Yield nodes to be left out, and why; never the last one."""
        for node, count in self._gate.to_leave_out().items():
            if any(place.node != node for place in self._places.all):
                self._gate.forget(node)
                why = f"{count} mini-batches failed there and then succeeded on another node"
                yield node, f"{why}; the last error there: {self._last_error[node]}"
