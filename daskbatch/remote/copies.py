"""Local copies of what a mini-batch needs of a store's objects, for scripts and readers that know files alone.

Of a table only the bytes of the mini-batch are fetched: its copy is a sparse file as long as the object, with every
byte at its own place, so one reader serves disks and stores.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from daskbatch.errors import MiniBatchError
from daskbatch.remote.copy_places import places_below
from daskbatch.remote.edges import Edges
from daskbatch.remote.errors import StorageError, is_of_one
from daskbatch.remote.fetch import Wanted, fetch_many, fetch_ranges
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.store.inputs_text import is_scanned
from daskbatch.store.selection import is_of
from daskbatch.types import OPEN_END, WHOLE_FILES, MiniBatch, TableFormat

__all__ = ["Copies", "Copy"]

_AHEAD = 64 * 1024
"""Bytes read past a range of text: the last record mostly ends there."""

_ROW_GROUP = 64 * 2**20
"""Bytes: a guess at a row group, until it is there."""

_GAP = 2**20
"""Bytes between two ranges that are fetched with them: another request would take as long."""

_KEPT_BYTES = 64 * 2**20
"""Bytes of shared copies of one slot that are held though nobody has them."""

_Placed = list[tuple[MiniBatch, tuple[str, ...]]]
"""Mini-batches, and the paths of their copies."""
_Outcome = tuple[int, list[Exception | None]]
"""Bytes that were fetched, and the error of each mini-batch."""
_Fetch = Callable[[_Placed], _Outcome]


@dataclass(slots=True)
class _Lot:
    """A copy that several mini-batches have at the same time."""

    key: Any
    users: int = 0
    made: Future[Copy] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Copy:
    """Mini-batches whose paths are those of local copies."""

    batches: tuple[MiniBatch | Exception, ...]
    """Each as it was asked for, or the error that is its own."""
    root: str
    """Folder of the copies."""
    bytes: int
    """That were fetched."""
    lot: _Lot | None = None
    """Who else has it."""

    @property
    def batch(self) -> MiniBatch:
        """The only one.

        Raises
        ------
        StorageError, MiniBatchError
            Its own error.
        """
        (found,) = self.batches
        if isinstance(found, Exception):
            raise found
        return found


class Copies:
    """Makes copies, and removes them. Any thread.

    Parameters
    ----------
    folder
        For copies alone; it is made with the first. See `daskbatch.store.copy_names.CopyNames`.
    table
        None: mini-batches of whole objects.
    options
    limit
        Of each request.
    users
        How many slots share them.
    """

    def __init__(
        self,
        folder: str,
        table: TableFormat | None,
        options: StorageOptions = (),
        limit: Limit = USUAL,
        users: int = 1,
    ) -> None:
        self.folder = folder
        self._table = table
        self._options = options
        self._limit = limit
        self._users = users
        self._numbers = count()
        self._lock = threading.Lock()
        self._lots: dict[Any, _Lot] = {}
        self._kept: deque[Copy] = deque()
        self._edges = Edges(table, options, limit)

    def make(self, *batches: MiniBatch) -> Copy:
        """Fetch what the mini-batches need: several of whole objects at once, or one.

        Mini-batches of one stream or row group share one copy for as long as one of them is there.

        Raises
        ------
        StorageError
            Where the store does not answer, or refuses. What is wrong with one object is in the place of its
            mini-batch: it has changed, is gone, or can have no copy.
        OSError
            The disk is full, for one.
        """
        if self.is_whole(batches[0]):
            return self._fetched(self._whole, batches)
        (batch,) = batches
        if batch.stop != OPEN_END and not _is_parquet(self._table):
            return self._fetched(self._range, batches)
        key = (batch.paths, batch.mtime_ns, batch.stop == OPEN_END, batch.unit)
        with self._lock:
            lot = self._lots.setdefault(key, _Lot(key))
            first = not lot.users
            lot.users += 1
        if first:
            try:
                fetch = self._whole if batch.stop == OPEN_END else self._row_groups
                lot.made.set_result(self._fetched(fetch, batches))
            except BaseException as error:
                with self._lock:
                    del self._lots[key]  # who comes later tries it anew
                lot.made.set_exception(error)
        copy = lot.made.result()
        found = copy.batches[0]
        if first and not isinstance(found, Exception):
            self._keep(Copy((), copy.root, copy.bytes, lot), lot)
        own = found if isinstance(found, Exception) else _at(batch, found.paths)
        return Copy((own,), copy.root, copy.bytes if first else 0, lot)

    def _keep(self, copy: Copy, lot: _Lot) -> None:
        """Hold the last shared copies beside who has them: two of each user, and more of them where they are small.

        The next task may go on with the last one; and what a task hands back may be of one some way before it.
        """
        with self._lock:
            lot.users += 1
            self._kept.append(copy)
        self._let_go(2 * self._users, _KEPT_BYTES * self._users)

    def _let_go(self, kept: int, size: int) -> None:
        """Hold no more shared copies than so many, or those of so many bytes, whatever is more."""
        old = []
        with self._lock:
            there = sum(copy.bytes for copy in self._kept)
            while len(self._kept) > kept and there > size:
                old.append(self._kept.popleft())
                there -= old[-1].bytes
        for copy in old:
            self.drop(copy)

    def is_whole(self, batch: MiniBatch) -> bool:
        """Whether a mini-batch is of whole objects, so that several may be asked for at once."""
        return self._table is None or batch.stop == WHOLE_FILES

    def weight(self, batch: MiniBatch) -> int:
        """Bytes that a mini-batch's copies will take, roughly."""
        if batch.stamps:
            return int(sum(batch.stamps[::2]))
        if batch.stop == OPEN_END:
            return batch.size
        return min(batch.size, _ROW_GROUP if _is_parquet(self._table) else batch.stop - batch.start)

    def drop(self, copy: Copy) -> None:
        """The mini-batches are done: their copies go, unless another has them too."""
        lot = copy.lot
        if lot is not None:
            with self._lock:
                lot.users -= 1
                if lot.users:
                    return
                del self._lots[lot.key]
        shutil.rmtree(copy.root, ignore_errors=True)

    @staticmethod
    def stops(error: BaseException) -> bool:
        """Whether an error that came up here is the store's, and not one mini-batch's."""
        return isinstance(error, StorageError) and not is_of_one(error)

    def close(self) -> None:
        """Remove all that is there."""
        self._let_go(0, -1)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fetched(self, fetch: _Fetch, batches: tuple[MiniBatch, ...]) -> Copy:
        """Copies in a folder of their own, which goes where they fail."""
        root = os.path.join(self.folder, str(next(self._numbers)))
        placed = places_below(root, [batch.paths for batch in batches])
        wanted = [
            (batch, paths) for batch, paths in zip(batches, placed, strict=True) if not isinstance(paths, Exception)
        ]
        size = 0
        errors: Iterator[Exception | None] = iter(())
        try:
            for folder in {os.path.dirname(path) for _, paths in wanted for path in paths}:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            if wanted:
                size, outcomes = fetch(wanted)
                errors = iter(outcomes)
        except BaseException as error:
            shutil.rmtree(root, ignore_errors=True)
            if len(wanted) > 1 or not isinstance(error, Exception) or not is_of_one(error):
                raise
            errors = iter([error])
        found = [
            paths if isinstance(paths, Exception) else next(errors) or _at(batch, paths)
            for batch, paths in zip(batches, placed, strict=True)
        ]
        return Copy(tuple(found), root, size)

    def _whole(self, placed: _Placed) -> _Outcome:
        """Whole objects, those of all mini-batches at the same time."""
        wanted: list[Wanted] = []
        for batch, paths in placed:
            stamps = batch.stamps if self.is_whole(batch) and batch.stamps else (batch.size, batch.mtime_ns)
            wanted += [
                Wanted(url, path, size, str(token))
                for url, path, size, token in zip(batch.paths, paths, stamps[::2], stamps[1::2], strict=True)
            ]
        outcomes = iter(fetch_many(wanted, self._options, limit=self._limit))
        errors: list[Exception | None] = []
        for batch, _ in placed:
            own = [error for error in islice(outcomes, len(batch.paths)) if error is not None]
            fatal = next((error for error in own if not is_of_one(error)), None)
            if fatal is not None:
                raise fatal
            errors.append(own[0] if own else None)
        return sum(one.size or 0 for one in wanted), errors

    def _range(self, placed: _Placed) -> _Outcome:
        """The bytes of one range of text, the header's, and those up to the end of the last record."""
        assert self._table is not None
        batch, (path,) = placed[0]
        wanted = Wanted(batch.paths[0], path, batch.size, str(batch.mtime_ns))
        head = self._edges.header(wanted)
        size, begin, end = batch.size, max(0, batch.start - 1), batch.stop
        exact = is_scanned(self._table)
        end = end if exact else min(size, end + _AHEAD)
        with open(path, "w+b") as file:
            file.truncate(size)
            file.write(head)
            file.flush()
            there = max(begin, len(head))
            if there < end:
                fetch_ranges(wanted, [(there, end)], self._options, limit=self._limit)
            # A record that starts in the range ends at a newline behind it, and only there: until then the zeros of
            # the sparse file must not be taken for text.
            place, ahead = max(begin, batch.stop - 1), _AHEAD
            while not exact and end < size:
                file.seek(place)
                if b"\n" in file.read(end - place):
                    break
                place, ahead = end, ahead * 4
                end = min(size, end + ahead)
                fetch_ranges(wanted, [(place, end)], self._options, limit=self._limit)
        return end - begin, [None]

    def _row_groups(self, placed: _Placed) -> _Outcome:
        """A Parquet file's footer, and the row groups of the mini-batch; of a large one all of its slices."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        assert self._table is not None
        batch, (path,) = placed[0]
        wanted = Wanted(batch.paths[0], path, batch.size, str(batch.mtime_ns))
        footer = self._edges.footer(wanted)
        with open(path, "wb") as file:
            file.truncate(batch.size)
            file.seek(batch.size - len(footer))
            file.write(footer)
        try:
            metadata = pq.read_metadata(path)
        except pa.ArrowException as error:
            raise MiniBatchError(f"{batch.paths[0]}: its Parquet footer cannot be read: {error}") from error
        rows, chunks, counts = 0, [], is_of(self._table)
        for unit in range(batch.unit, metadata.num_row_groups):
            chunks += _extents(metadata.row_group(unit), counts)
            rows += metadata.row_group(unit).num_rows
            if rows >= batch.stop:
                break
        ranges = _joined(chunks, batch.size - len(footer))
        fetch_ranges(wanted, ranges, self._options, limit=self._limit)
        return sum(end - start for start, end in ranges) + len(footer), [None]


def _extents(group: Any, counts: Callable[[str], bool]) -> list[tuple[int, int]]:
    """First byte of the pages of each column of a row group that is read, and the one after the last."""
    found = []
    for number in range(group.num_columns):
        column = group.column(number)
        if not counts(column.path_in_schema):
            continue
        start = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset:
            start = min(start, column.dictionary_page_offset)
        found.append((int(start), int(start + column.total_compressed_size)))
    return found


def _joined(ranges: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The same bytes below `size` in fewer requests: what lies close together is one range."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        end = min(end, size)
        if joined and start - joined[-1][1] <= _GAP:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined


def _is_parquet(table: TableFormat | None) -> bool:
    return table is not None and table.format == "parquet"


def _at(batch: MiniBatch, paths: tuple[str, ...]) -> MiniBatch:
    """The same mini-batch, of copies: whether the objects are those of the plan was seen when they were fetched."""
    return batch._replace(paths=paths, size=-1, mtime_ns=-1, stamps=())
