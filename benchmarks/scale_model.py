"""Discrete events of daskbatch's engine, a task (a row of mini-batches) each and not a mini-batch.

Rows are as long as the engine's own rule makes them (`daskbatch.policy.row_length`). Engine and scheduler are a server
each, which does one thing at a time. A task: the engine finds a place, encodes the row, sends it; the scheduler hands
it to the worker; it waits there for a slot, two tasks a slot; the slot works, and tells of progress now and then; the
report passes the scheduler; the engine fetches and books it, with the ledger's fsync, and sends the next. Not
modelled: the network's bandwidth, the input's store, and workers that are lost.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

from scale_constants import Constants

from daskbatch.policy import row_length

__all__ = ["GB", "Outcome", "Scenario", "Simulation"]

TASKS_PER_SLOT = 2
MOST_TASKS, FEW_TASKS = 1_000_000, 200_000
"""A run of more tasks than the first goes on after the second at the pace of the second half of them."""
SPREAD = 0.3
"""Of a task's time; of the logarithm."""
GB = 1e9


@dataclass(frozen=True)
class Scenario:
    """A run on paper."""

    name: str
    nodes: int
    slots: int
    """Of a node, which has one Dask worker."""
    mini_batches: int
    seconds: float
    """A mini-batch takes."""
    task_seconds: float
    costs: Constants
    progress_every: float = 1.0
    """Seconds between two words of progress of a slot."""

    @property
    def all_slots(self) -> int:
        """Of all nodes."""
        return self.nodes * self.slots

    @property
    def engine_each(self) -> float:
        """Seconds of the engine a task, for a row of one mini-batch."""
        c = self.costs
        return c.client + c.book + c.sync + c.row + c.mini_batch + c.place * self.nodes

    @property
    def crowd_tasks(self) -> float:
        """Tasks a second, where all slots are busy."""
        return self.all_slots / max(self.task_seconds, self.seconds)

    def words(self, seconds: float) -> int:
        """Return how many words of progress a task of so many seconds sends."""
        return math.floor(seconds / self.progress_every)


@dataclass
class Outcome:
    """What came out."""

    scenario: Scenario
    run: float = 0.0
    """Seconds of the run phase."""
    tasks: float = 0.0
    done: int = 0
    engine: float = 0.0
    """Seconds at work."""
    scheduler: float = 0.0
    worked: float = 0.0
    """Seconds of all slots."""
    waiting: int = 0
    """Mini-batches sent and not done, at most."""
    tail: float | None = None
    """Seconds from when the plan was all sent to the end; None where the end was not simulated."""

    @property
    def planning(self) -> float:
        """Seconds before the first task: planning, and dealing slots to workers one after the other."""
        c = self.scenario.costs
        return c.plan * self.scenario.mini_batches + c.call * self.scenario.nodes

    @property
    def client_bytes(self) -> float:
        """Memory of the client at the end of the run phase."""
        c = self.scenario.costs
        return c.chunk_bytes * self.tasks + c.waiting_bytes * self.waiting

    @property
    def combining(self) -> tuple[float, float]:
        """Seconds and bytes of the reduction, results of a few bytes."""
        c = self.scenario.costs
        return c.combine * self.scenario.mini_batches, c.combine_bytes * self.scenario.mini_batches

    def busy(self) -> dict[str, float]:
        """Return the share of the run phase for which each was at work."""
        slots = self.worked / self.scenario.all_slots
        return {
            name: min(1.0, seconds / self.run)  # what is under way at the end of a part has been counted whole
            for name, seconds in (("slots", slots), ("engine", self.engine), ("scheduler", self.scheduler))
        }

    def row(self) -> dict[str, str]:
        """Return what is told of it."""
        share = {name: f"{busy:.1%}" for name, busy in self.busy().items()}
        seconds, size = self.combining
        return {
            "": self.scenario.name,
            "task_seconds": f"{self.scenario.task_seconds:.3g}",
            "progress every s": f"{self.scenario.progress_every:.3g}",
            "plan h": f"{self.planning / 3600:.2f}",
            "run h": f"{self.run / 3600:.2f}",
            "ideal h": f"{self.scenario.seconds * self.scenario.mini_batches / self.scenario.all_slots / 3600:.2f}",
            **{f"{name} busy": text for name, text in share.items()},
            "tasks": f"{self.tasks:,.0f}",
            "tasks/s": f"{self.tasks / self.run:,.0f}",
            "tail s": "" if self.tail is None else f"{self.tail:.0f}",
            "client GB": f"{self.client_bytes / GB:.2f}",
            "combine h": f"{seconds / 3600:.2f}",
            "combine GB": f"{size / GB:.2f}",
        }


class Simulation:
    """One run, event by event."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self.scenario = scenario
        self.outcome = Outcome(scenario)
        self.random = random.Random(seed)
        self.left = scenario.mini_batches
        self.under_way = 0
        self.engine_free = self.scheduler_free = 0.0
        self.each: float | None = None
        self.events: list[tuple[float, int, str, int, int]] = []
        """(when, number, what, place, mini-batches)"""
        self.number = 0
        self.slots = [[0.0] * scenario.slots for _ in range(scenario.nodes)]
        """When each slot of each place is free."""
        self.sent_all: float | None = None

    def run(self) -> Outcome:
        """Run to the end, or for some tasks and on at their pace."""
        outcome, events, s = self.outcome, self.events, self.scenario
        most = MOST_TASKS if s.mini_batches * s.seconds / s.task_seconds < 0.8 * MOST_TASKS else FEW_TASKS
        for _ in range(TASKS_PER_SLOT):
            for place in range(self.scenario.nodes):
                for _ in range(self.scenario.slots):
                    self._send(place, 0.0)
        now, half = 0.0, (0.0, 0)
        while events and outcome.tasks < most:
            now, _, what, place, count = heapq.heappop(events)
            if what == "sent":
                self._start(now, place, count)
            elif what == "worked":
                self._pass_report(now, place, count)
            else:
                self._book(now, place, count)
                if outcome.tasks == most // 2:
                    half = (self.engine_free, outcome.done)
        outcome.run = max(now, self.engine_free)
        if not events:
            outcome.tail = outcome.run - (self.sent_all or 0.0)
        else:
            self._go_on(*half)
        return outcome

    def _go_on(self, then: float, done_then: int) -> None:
        """What is left goes at the pace of the second half."""
        outcome = self.outcome
        pace = (outcome.done - done_then) / (outcome.run - then)
        factor = 1 + (self.scenario.mini_batches - outcome.done) / pace / outcome.run
        for name in ("run", "tasks", "engine", "scheduler", "worked"):
            setattr(outcome, name, getattr(outcome, name) * factor)

    def _push(self, when: float, what: str, place: int, count: int) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, what, place, count))

    def _use_engine(self, now: float, seconds: float) -> float:
        self.engine_free = max(self.engine_free, now) + seconds
        self.outcome.engine += seconds
        return self.engine_free

    def _use_scheduler(self, now: float, seconds: float) -> float:
        self.scheduler_free = max(self.scheduler_free, now) + seconds
        self.outcome.scheduler += seconds
        return self.scheduler_free

    def _send(self, place: int, now: float) -> None:
        """The engine takes a row off the plan for a place, if there is one."""
        if not self.left:
            return
        s, c = self.scenario, self.scenario.costs
        count = min(self.left, row_length(s.task_seconds, self.each, self.left, s.all_slots))
        self.left -= count
        self.under_way += count
        self.outcome.waiting = max(self.outcome.waiting, self.under_way)
        sent = self._use_engine(now, c.row + c.mini_batch * count + c.place * s.nodes + c.client / 2)
        if not self.left:
            self.sent_all = sent
        self._push(sent, "sent", place, count)

    def _start(self, now: float, place: int, count: int) -> None:
        """The scheduler hands it on; it begins when a slot is free."""
        s = self.scenario
        there = self._use_scheduler(now, s.costs.scheduler / 2)
        slots = self.slots[place]
        begin = max(there, slots[0])
        # Past its budget a row is handed back; the mean is right here, so that this is the rest of one mini-batch.
        seconds = count * s.seconds * self.random.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        heapq.heapreplace(slots, begin + seconds)
        self.outcome.worked += seconds
        self._push(begin + seconds, "worked", place, count)

    def _pass_report(self, now: float, place: int, count: int) -> None:
        """The report and the words of progress before it pass the scheduler."""
        s, c = self.scenario, self.scenario.costs
        words = s.words(count * s.seconds)
        told = self._use_scheduler(now, c.scheduler / 2 + words * c.scheduler_event)
        self._push(self._later(told, words), "told", place, count)

    def _later(self, told: float, words: int) -> float:
        self.outcome.engine += words * self.scenario.costs.client_event
        self.engine_free += words * self.scenario.costs.client_event
        return told

    def _book(self, now: float, place: int, count: int) -> None:
        """The engine books a report and sends the next row there."""
        c, outcome = self.scenario.costs, self.outcome
        booked = self._use_engine(now, c.client / 2 + c.book + c.sync)
        outcome.tasks += 1
        outcome.done += count
        self.under_way -= count
        self.each = self.scenario.seconds
        self._send(place, booked)
