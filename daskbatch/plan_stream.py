"""A plan whose first mini-batches are known, and run, while the rest of its input is still being listed.

A thread of its own lists. What it finds goes to the plan file alone, so that memory stays the same however far the
listing is ahead of the work.
"""

from __future__ import annotations

import dataclasses
import glob
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from daskbatch.plan import make_plan
from daskbatch.plan_cuts import cut_files
from daskbatch.plan_format import format_of
from daskbatch.plan_inputs import InputState
from daskbatch.plan_listing import is_object
from daskbatch.plan_record import Plan
from daskbatch.remote.requests import Calls
from daskbatch.spec import DEFAULT_FILES, InputSpec
from daskbatch.types import MiniBatch

__all__ = ["PlanStream", "is_streamed"]

_CUT_AT_ONCE = 4096
"""Files between two looks at how far the listing is."""

_STAND_STILL = 5.0
"""Seconds that the listing waits, at most, for those who do the work.

Python runs one thread at a time: beside a listing at full speed, what starts the cluster took five seconds instead of
one. Where workers come late, as from a queue, the listing goes on before them.
"""

_END_PATIENCE = 10.0
"""Seconds that the thread gets to end: one that lists by a client whose requests cannot be cancelled is left alone."""


def is_streamed(spec: InputSpec) -> bool:
    """Whether no name that is found later can change how an input is taken, so that work may begin before.

    That is where one URL names whole objects: by ``input_format="files"``, or because it is a glob that ends in a
    suffix that is no table's. What else is looked at as a whole first: several URLs, as one of them may name nothing;
    several datasets, whose sizes the workers are told at the start; keys that each path must have; tables.
    """
    plain = len(spec.paths) == 1 and is_object(spec.paths[0]) and len(spec.datasets) < 2
    if not plain or spec.partition_format is not None:
        return False
    if spec.mini_batch_size is not None and spec.mini_batch_size.kind != "files":
        return False
    return spec.input_format == "files" or (spec.input_format == "auto" and _has_plain_suffix(spec.paths[0]))


def _has_plain_suffix(url: str) -> bool:
    """Whether all objects that a glob matches have a suffix, the same, that is no table's."""
    last = url.rpartition("/")[2]
    suffix = last.rpartition(".")[2]
    ends = last.endswith(f".{suffix}") and suffix and not glob.has_magic(suffix) and glob.has_magic(last)
    return bool(ends) and suffix.lower() != "gz" and format_of(f"name.{suffix}".encode()) == "files"


class PlanStream:
    """Make a plan in a thread; give its mini-batches as soon as they are known.

    Parameters
    ----------
    spec
        The input as declared, one that `is_streamed`.
    path
        The plan file; it may be given another name meanwhile.
    finish
        Called in the thread with the plan, when all is listed; returns what is kept as `plan`.
    """

    def __init__(self, spec: InputSpec, path: Path, finish: Callable[[Plan], Plan]) -> None:
        self.path = path
        """Where the plan file is."""
        self.known = InputState(0, 0, "")
        """What is listed, and in the plan file."""
        self.plan: Plan | None = None
        """None until all is listed."""
        self.error: Exception | None = None
        """Why it never will be."""
        self._spec = spec
        self._size = spec.mini_batch_size or DEFAULT_FILES
        self._finish = finish
        self._calls = Calls()
        self._lock = threading.Condition()
        self._tell: Callable[[], None] = lambda: None
        self._closed = self._hungry = self._given_early = False
        self._watched = threading.Event()
        self._thread = threading.Thread(target=self._list, name="daskbatch-listing", daemon=True)

    @property
    def mini_batches(self) -> int:
        """How many are known by now."""
        return -(-self.known.files // self._size.value)

    @property
    def whole(self) -> bool:
        """Whether these are all."""
        return self.plan is not None

    def begin(self, first: Callable[[Plan], None]) -> Plan:
        """List until a mini-batch is known, or all of a smaller input.

        Parameters
        ----------
        first
            Called with the plan, where it is not whole yet. Until it returns nothing more is listed, and the plan
            is not finished.

        Returns
        -------
        Plan
            As far as it is known: without the number of mini-batches, unless it is whole.

        Raises
        ------
        InputError, StorageError
            What is wrong with the input, as far as was seen.
        """
        self._thread.start()
        with self._lock:
            while not (self.plan or self.error or self.known.files >= self._size.value):
                self._hungry = True
                self._lock.wait()
            if self.error is not None:
                raise self.error
            if self.plan is not None:
                return self.plan
            plan = self._so_far()
            first(plan)
            self._given_early = True
            return dataclasses.replace(plan, path=self.path)

    def _so_far(self) -> Plan:
        size, known = self._size, self.known
        each = f"{size.value:,} file{'' if size.value == 1 else 's'}"
        return Plan(
            path=self.path,
            format="files",
            table=None,
            size=size,
            files=known.files,
            mini_batches=None,
            estimate=self.mini_batches,
            input_bytes=known.bytes,
            description=f"{self._spec.paths[0]}, which is being listed, mini-batches of {each}",
            datasets=tuple((name, known.files) for name, _ in self._spec.datasets),
            storage=self._spec.storage_options,
        )

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, from the thread, when there is something new that was waited for; and once now."""
        self._tell = tell
        self._watched.set()
        tell()

    def batches(self, note: Callable[[InputState], None]) -> Iterator[MiniBatch | None]:
        """The mini-batches in order; None where the next is not known yet.

        Parameters
        ----------
        note
            Told what is listed, before any mini-batch of it that was not in what was told before is given.
        """
        taken = noted = 0
        with open(self.path, encoding="ascii") as file:
            while True:
                # Looked at first: what is known then is all there is.
                whole, known = self.whole, self.known
                files = min(known.files - taken, _CUT_AT_ONCE * self._size.value)
                if files < known.files - taken or not whole:
                    files -= files % self._size.value
                if files:
                    if taken + files > noted:
                        note(known)
                        noted = known.files
                    yield from cut_files(file, self._size.value, files, taken)
                    taken += files
                elif whole:
                    return
                else:
                    self._hungry = True
                    yield None

    def close(self) -> None:
        """End the listing, if it is not over. Nothing is written after that."""
        with self._lock:
            self._closed = True
        self._watched.set()
        self._calls.end()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_END_PATIENCE)

    def _list(self) -> None:
        self._calls.adopt()
        try:
            made = make_plan(self._spec, self.path, advance=self._advance)
            with self._lock:
                self._refuse_closed()
                self.plan = self._finish(made)
        except Exception as error:
            self.error = error
        self._wake()

    def _advance(self, state: InputState) -> None:
        with self._lock:
            self._refuse_closed()
            self.known = state
        if self._hungry:
            self._hungry = False
            self._wake()
        elif self._given_early:
            self._watched.wait(_STAND_STILL)
            self._given_early = False

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InterruptedError("the run is over")

    def _wake(self) -> None:
        with self._lock:
            self._lock.notify_all()
        if not self._closed:
            self._tell()
