"""The combined file, begun while the run goes on: its beginning is written as soon as nothing can come before it.

What it holds is what `daskbatch.store.combine.combine` would write, byte for byte, for it is written by the same code.
Where it could be anything else (a column that comes later, a chunk that is not there any more, a disk that fills) it is
dropped, and combining starts anew at the end of the run.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from daskbatch.failpoints import failpoint
from daskbatch.store.combine import Combined, write_result
from daskbatch.store.payloads import Payloads
from daskbatch.store.publishing import Unpublished
from daskbatch.store.segments import Segments
from daskbatch.types import Chunk

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Draft"]

ENOUGH = 4 * 2**20
"""Bytes of results from which on it is worth while; so a small run has no draft."""
LEAST_EACH = 1024
"""Bytes of a mini-batch's result, on average, from which on it is: with smaller ones the interpreter is what takes the
time, and the run needs that."""
LEAST_FREE = 2**30
"""Bytes of the disk that are left to the results which are still to come: with less, the draft makes room."""

_PORTION = 32 * 2**20  # bytes, between two looks at whether it is dropped
_DIGESTED = 65536  # records

Key = tuple[int, int]


class Draft:
    """The beginning of the combined file. It has a thread of its own once there is something to write.

    Parameters
    ----------
    segments
        Where results are read from.
    folder
        For the file while it is written, on the filesystem of what it will be.
    name
        What it will be called: the suffix chooses the format.
    """

    def __init__(self, segments: Segments, folder: Path, name: str) -> None:
        self._segments = segments
        self._folder = folder
        self._name = name
        self._seen = 0
        self._new: list[Chunk] = []
        self._bytes = self._records = 0
        self._enough = ENOUGH
        self._wanted: SimpleQueue[tuple[Sequence[Chunk], Key] | Payloads | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asked = 0
        self._dropped = False
        self._over = threading.Event()
        """The thread does nothing more. A join that a signal interrupts takes the thread for one that has ended."""
        # Of the thread, until then
        self._done = 0
        self._file: Unpublished | None = None
        self._whole = False
        self._written = 0
        self._digest = hashlib.sha256()
        self._known: set[str] | None = None

    def look(self, chunks: Sequence[Chunk], settled: Callable[[], Key]) -> None:
        """Go on, if there is enough to do.

        Parameters
        ----------
        chunks
            All that count; each time those of before, and some more.
        settled
            Tells a mini-batch before which nothing is left to do.
        """
        new = chunks[self._seen :]
        self._seen = len(chunks)
        if self._dropped:
            return
        self._new += new
        self._bytes += sum(chunk.index - chunk.offset for chunk in new)
        self._records += sum(chunk.count for chunk in new)
        if self._bytes < max(self._enough, LEAST_EACH * self._records) or not self._idle:
            return
        if self._over.is_set() or _free(self._folder) < LEAST_FREE or not self._started():
            self._give_up()
            return
        self._asked += 1
        self._wanted.put((self._new, settled()))
        self._new, self._bytes, self._records = [], 0, 0

    def _started(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._write, name="daskbatch-draft", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more of them; combining at the end needs none
                return False
            self._thread = thread
        return True

    @property
    def _idle(self) -> bool:
        return self._done == self._asked or self._over.is_set()

    def publish(self, payloads: Payloads, target: Path, confirm: Callable[[], None]) -> Combined | None:
        """Write the rest and give the file its name, as `combine` does.

        Parameters
        ----------
        payloads
            All that count.
        target, confirm
            See `combine`.

        Returns
        -------
        Combined or None
            None: it cannot be used; then it is gone.
        """
        if self._thread is None or self._dropped:
            return None
        self._wanted.put(payloads)
        try:
            self._over.wait()
        except BaseException:
            self._give_up()
            raise
        if self._file is None or not self._whole or not self._file.in_place:
            self.drop()
            return None
        self._file.publish(target, confirm)
        self._dropped = True
        return Combined(target.name, payloads.rows, self._file.sink.bytes, self._file.sha256)

    def drop(self) -> None:
        """Delete it, unless it was published. A second call does nothing."""
        self._give_up()
        if self._thread is not None:
            self._over.wait()
            self._thread.join()
            if self._file is not None:
                self._file.delete()  # of what was published there is nothing left to delete

    def _give_up(self) -> None:
        """Have the thread delete it as soon as it can."""
        self._dropped = True
        self._new = []
        self._wanted.put(None)

    # In its thread

    def _write(self) -> None:
        try:
            failpoint("draft.write.before")
            self._file = Unpublished(self._folder)
            write_result(self._portions(), self._name, self._file.sink)
            self._whole = True
        except BaseException:  # combining anew tells of it, if it is still so
            if self._file is not None:
                self._file.delete()
        finally:
            self._over.set()

    def _portions(self) -> Iterator[Payloads]:
        """What may be written, as it comes; ends after the rest."""
        waiting = Payloads(self._segments, [])
        while True:
            wanted = self._wanted.get()
            if wanted is None:
                raise _NotUsed("dropped")
            if isinstance(wanted, Payloads):
                yield from self._cut(self._rest_of(wanted))
                return
            chunks, settled = wanted
            waiting.add(chunks)
            ready = waiting.take(settled)
            self._enough = max(ENOUGH, waiting.bytes // 4)  # what waits is gone through each time
            yield from self._cut(ready, LEAST_FREE)
            self._done += 1

    def _cut(self, payloads: Payloads, least_free: int = 0) -> Iterator[Payloads]:
        """Some at a time, for as long as that much of the disk is free."""
        ends = payloads.records["length"].cumsum()
        start = 0
        while start < len(payloads.records):
            if self._dropped or _free(self._folder) < least_free:
                raise _NotUsed("dropped, or the disk fills")
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(ends.searchsorted(before + _PORTION, "right")))
            part = payloads.part(start, stop)
            _digest(part.records, self._digest)
            self._written += len(part.records)
            if self._is_like_before(part):
                yield part
                failpoint("draft.write.after")
            start = stop

    def _is_like_before(self, payloads: Payloads) -> bool:
        """Whether there is anything in it; all of it has columns that were there in the first portion."""
        signatures = {payloads.signatures[number] for number, _ in payloads.first_uses()}
        self._known = self._known or signatures
        if not signatures <= self._known:
            raise _NotUsed("there are columns that the beginning does not have")
        return bool(signatures)

    def _rest_of(self, payloads: Payloads) -> Payloads:
        """What comes after what was written, which must be the beginning of them."""
        begun = hashlib.sha256()
        _digest(payloads.records[: self._written], begun)
        if begun.digest() != self._digest.digest():
            raise _NotUsed("what was written is not the beginning of the result")
        if not self._known:
            raise _NotUsed("nothing was written")
        rest = payloads.part(self._written)
        self._is_like_before(rest)  # all of it: before the most is written in vain
        return rest


class _NotUsed(Exception):
    """Raised where the draft is of no use, to leave the code that writes it."""


def _digest(records: npt.NDArray[Any], into: Any) -> None:
    """Which mini-batches these are, and which results they have."""
    import numpy as np

    names = ("file", "index", "checksum", "length")
    packed = np.empty(min(len(records), _DIGESTED), [(name, records.dtype[name]) for name in names])
    for start in range(0, len(records), _DIGESTED):
        part = records[start : start + _DIGESTED]
        for name in names:
            packed[name][: len(part)] = part[name]
        into.update(packed[: len(part)].tobytes())


def _free(folder: Path) -> int:
    """Bytes that may be written to the disk; 0 where nobody can say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
