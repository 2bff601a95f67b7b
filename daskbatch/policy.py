"""When to retry, when to give up, how long a task should be: pure functions and a pure state."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = [
    "FIRST_MINI_BATCHES",
    "FirstMiniBatches",
    "InitGate",
    "Limits",
    "NodeGate",
    "crowd_seconds",
    "is_final",
    "row_length",
]

FIRST_MINI_BATCHES = 20
"""Unless thresholds are given, a run whose first mini-batches all fail is taken to be wrong as a whole."""

_FIRST_KNOWN = 10_000  # keys kept in case most of the first ranges hold no record
_ROWS_PER_SLOT_LEFT = 3
_LEAST_SECONDS = 0.05  # several times the way of a row to a worker and back
_MOST_OF_A_SHARE = 0.75
_UNMEASURED_ROW = 32
_LONGEST_ROW = 10_000
_COMFORTABLE = 300  # slots that each send a task's report and a word of progress in a second: two thirds of Dask's time
_KILLED_BY_CHANCE = 2  # times that a process may be killed while it starts: by the kernel for want of memory, say
_LEAST_EVIDENCE = 3  # mini-batches
_UNLIKELY = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may fail. None: not given; -1: all."""

    error_threshold: int | None
    """Items of the whole input."""
    allowed_failed_count: int | None
    """Mini-batches."""
    allowed_failed_percent: float | None
    """Percent of all mini-batches."""

    @property
    def given(self) -> bool:
        """Whether the user set any of them."""
        limits = (self.error_threshold, self.allowed_failed_count, self.allowed_failed_percent)
        return limits != (None, None, None)

    def exceeded(self, items_failed: int, mini_batches_failed: int, mini_batches_total: int | None) -> str | None:
        """The sentence that says which limit was crossed, or None.

        Parameters
        ----------
        items_failed, mini_batches_failed : int
            Final failures so far.
        mini_batches_total : int or None
            None while the total is not known: then a percentage cannot be crossed yet.
        """
        if self.error_threshold is not None and 0 <= self.error_threshold < items_failed:
            return f"{items_failed} items failed, error_threshold={self.error_threshold} allows {self.error_threshold}"
        count = self.allowed_failed_count
        if count is not None and 0 <= count < mini_batches_failed:
            return f"{mini_batches_failed} mini-batches failed, allowed_failed_count={count} allows {count}"
        percent = self.allowed_failed_percent
        if percent is not None and percent >= 0 and mini_batches_total:
            share = 100.0 * mini_batches_failed / mini_batches_total
            if share > percent:
                return (
                    f"{mini_batches_failed} of {mini_batches_total} mini-batches failed ({share:.3g} %), "
                    f"allowed_failed_percent={percent:g} allows {percent:g} %"
                )
        return None


@dataclass(slots=True)
class FirstMiniBatches:
    """Have the mini-batches of lowest index all failed, whatever the others did?"""

    order: list[tuple[int, int]] = field(default_factory=list)
    """The input's first keys, in its order."""
    outcome: dict[tuple[int, int], bool | None] = field(default_factory=dict)
    """Key to True (succeeded), False (finally failed) or None (no record in it)."""
    decided: bool = False
    """Nothing can change the answer any more: one of the first has succeeded."""

    def expect(self, key: tuple[int, int]) -> None:
        """`key` is next in the input's order."""
        if not self.decided and len(self.order) < _FIRST_KNOWN:
            self.order.append(key)

    def settle(self, key: tuple[int, int], outcome: bool | None) -> None:
        """The final outcome of `key` is known."""
        if self.decided:
            return
        place = bisect_left(self.order, key)
        if place == len(self.order) or self.order[place] != key:
            if key[1] == 0 or len(self.order) >= _FIRST_KNOWN:
                return  # too far back to be one of the first
            self.order.insert(place, key)  # the mini-batches of a stream are first heard of here
        self.outcome[key] = outcome
        if outcome and self._rank(place) < FIRST_MINI_BATCHES:
            self._decide()

    def _rank(self, place: int) -> int:
        """How many mini-batches with records, as far as is known, come before `place`."""
        return place - sum(1 for key in self.order[:place] if self.outcome.get(key, True) is None)

    def _decide(self) -> None:
        self.decided = True
        self.order.clear()
        self.outcome.clear()

    def all_failed(self, exhausted: bool) -> bool:
        """Whether the first `FIRST_MINI_BATCHES` (all if fewer and `exhausted`) have finally failed."""
        failed = 0
        for key in self.order:
            outcome = self.outcome.get(key, "open")
            if outcome == "open":
                return False
            if outcome:
                self._decide()
                return False
            failed += outcome is False
            if failed == FIRST_MINI_BATCHES:
                return True
        return exhausted and failed > 0


@dataclass(slots=True)
class InitGate:
    """What a failed ``init()`` means: a wrong script, or a wrong node?"""

    succeeded: bool = False
    """It has succeeded somewhere."""
    failures: dict[str, int] = field(default_factory=dict)
    """Slot to how often it failed there."""
    killed: dict[str, int] = field(default_factory=dict)
    """Slot to how often its process was killed there, nobody knows by whom."""

    def failed(self, slot: str, slots: int, killed: bool = False) -> str:
        """It has failed on `slot`, one of `slots`.

        Parameters
        ----------
        killed : bool
            The process was killed meanwhile, nobody knows by whom: it may not be the script's fault, and is passed
            over twice.

        Returns
        -------
        str
            ``"stop"``: two slots (all if fewer) have failed and none has succeeded. ``"leave out"``: it succeeds
            elsewhere, and this slot has had its second chance. Else ``"go on"``.
        """
        if killed:
            self.killed[slot] = self.killed.get(slot, 0) + 1
            if self.killed[slot] <= _KILLED_BY_CHANCE:
                return "go on"
        self.failures[slot] = self.failures.get(slot, 0) + 1
        if self.succeeded:
            return "leave out" if self.failures[slot] > 1 else "go on"
        # The same slot twice says as much where it is the only one to be had work.
        return "stop" if len(self.failures) >= min(2, slots) or self.failures[slot] > 2 else "go on"


@dataclass(slots=True)
class NodeGate:
    """What failed tries mean: hard mini-batches, or a wrong node?

    A node on which all fails is the quickest of all: left alone, it would spend a try of everything.
    """

    wrong: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    """Mini-batch to the nodes where it failed; only of those that are to be tried again."""
    _failed: dict[str, set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    """Node to what has failed there since its last success."""
    _open: dict[str, set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    """Those of `_failed` of which no other node has given a verdict yet."""
    _refuted: dict[str, set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    """Those that have then succeeded on another node."""
    _successes: int = 0
    _chance_failures: int = 0
    """Failed tries on nodes that have succeeded since: what happens on good nodes too."""

    def failed(self, node: str, key: tuple[int, int], final: bool) -> None:
        """A try of `key` has failed on `node`; `final`: there will be no other."""
        nodes = self.wrong.pop(key, set())
        for other in nodes:
            self._open[other].discard(key)
        if final:
            for other in nodes:
                self._failed[other].discard(key)
            return
        if not nodes:
            self._open[node].add(key)
        self._failed[node].add(key)
        self.wrong[key] = nodes | {node}

    def succeeded(self, node: str, count: int) -> None:
        """That many mini-batches have succeeded on `node`: all that failed there before speaks no longer against it."""
        if count:
            self._successes += count
            self._open.pop(node, None)
            for failures in (self._failed, self._refuted):
                self._chance_failures += len(failures.pop(node, ()))

    def recovered(self, node: str, key: tuple[int, int]) -> None:
        """`key`, which had failed before, has succeeded on `node`."""
        for other in self.wrong.pop(key, ()):
            self._open[other].discard(key)
            if other != node and key in self._failed[other]:
                self._failed[other].discard(key)
                self._refuted[other].add(key)

    def to_leave_out(self) -> dict[str, int]:
        """Nodes where so many mini-batches failed, and then succeeded elsewhere, that it is no chance; how many."""
        return {node: len(keys) for node, keys in self._refuted.items() if len(keys) >= self._evidence()}

    def _evidence(self) -> int:
        """How many in a row are no chance: a script that fails now and then does so on good nodes too."""
        if not self._chance_failures:
            return _LEAST_EVIDENCE
        chance = self._chance_failures / (self._chance_failures + self._successes)
        return max(_LEAST_EVIDENCE, math.ceil(math.log(_UNLIKELY) / math.log(chance)))

    def forget(self, node: str) -> None:
        """`node` is left out."""
        for failures in (self._failed, self._open, self._refuted):
            failures.pop(node, None)

    def held(self, nodes: Collection[str]) -> set[str]:
        """Those of `nodes` that get nothing until other nodes have given their verdict on what failed there.

        Never more than half of them: where most are in doubt, it is the script or the input that is wrong.
        """
        doubted = {node for node in nodes if len(self._open.get(node, ())) >= _LEAST_EVIDENCE}
        return doubted if 2 * len(doubted) <= len(nodes) else set()


def row_length(budget: float, seconds_each: float | None, left: int, slots: int, longest: int = _LONGEST_ROW) -> int:
    """How many mini-batches the next task should hold.

    Parameters
    ----------
    budget : float
        Seconds a task should take.
    seconds_each : float or None
        What one mini-batch was seen to take; None before the first report.
    left : int
        Mini-batches not yet handed out, as far as is known.
    slots : int
        Slots that share them.
    longest : int
        Upper bound, for the size of a message.

    Notes
    -----
    Towards the end rows get shorter, so that slots finish together (guided self-scheduling), but hardly shorter than
    what handing one out takes: such rows would be waited for by idle slots. A row that turns out too long costs
    nothing: past its budget the rest is handed back.
    """
    share = left / max(1, slots)
    fair = math.ceil(share / _ROWS_PER_SLOT_LEFT)
    if seconds_each is None:
        return max(1, min(fair, _UNMEASURED_ROW, longest))
    each = max(seconds_each, 1e-7)
    worthwhile = min(int(_LEAST_SECONDS / each), int(share * _MOST_OF_A_SHARE))
    return max(1, min(max(fair, worthwhile), int(budget / each), longest))


def crowd_seconds(slots: int) -> float:
    """Seconds that a task should take at least, and that should pass between two messages of a slot.

    A message takes the scheduler about a millisecond, however many mini-batches it is about: of a thousand slots with
    one in a second each, most would stand idle. 0 for a cluster of usual size. See the scale on paper in
    ``benchmarks/RESULTS.md``.
    """
    return slots / _COMFORTABLE if slots > _COMFORTABLE else 0.0


def is_final(tries: int, run_max_try: int, retry: bool) -> bool:
    """Whether a mini-batch that has failed `tries` times is given up."""
    return not retry or tries >= run_max_try
