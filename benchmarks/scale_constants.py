"""What the engine's own steps cost, measured on this machine with its own code, for `simulation`.

Seconds are those of the processor, unless it says otherwise, so that a busy machine says the same.
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import data
from scale_over_dask import over_dask
from scale_trials import best

__all__ = ["Constants", "measured"]

PLACES = 1_000


@dataclass(frozen=True)
class Constants:
    """Seconds and bytes. Each can be given as an option in place of being measured."""

    plan: float
    """Listing and planning, a file."""
    row: float
    """Taking a row off the plan and encoding it, without what follows."""
    mini_batch: float
    """The same for each mini-batch in it."""
    place: float
    """Finding the place for a row, for each place that there is."""
    book: float
    """Booking a report and its line in the ledger."""
    sync: float
    """The ledger's fsync, which the engine waits for; of the clock, not of the processor."""
    client: float
    """Dask's part of a task in the client."""
    scheduler: float
    """Dask's part of a task in the scheduler."""
    client_event: float
    """A word of progress, in the client."""
    scheduler_event: float
    """A word of progress, in the scheduler."""
    call: float
    """A call to a worker and back, by the clock: each worker is dealt its slots by one."""
    combine: float
    """Sorting and reading back, a mini-batch of a few bytes."""
    chunk_bytes: float
    """Memory of a task that is done, until the end."""
    waiting_bytes: float
    """Memory of a mini-batch that is sent and not done."""
    combine_bytes: float
    """Memory of a mini-batch while results are combined."""


def planned(scratch: Path, count: int) -> Any:
    """Plan that many files, each a mini-batch."""
    from daskbatch.plan import make_plan
    from daskbatch.spec import InputSpec
    from daskbatch.types import MiniBatchSize

    spec = InputSpec((str(data.empty_files(count)),), "files", MiniBatchSize("files", 1))
    return make_plan(spec, scratch / "plan.jsonl")


def planning(scratch: Path, count: int) -> tuple[float, list[Any]]:
    """Return seconds a file, and the mini-batches of the plan."""
    from daskbatch.plan import read_plan

    batches = list(read_plan(planned(scratch, count)))  # the files are made now, and not in what is timed
    return best(lambda: planned(scratch, count)) / count, batches


def sending(scratch: Path, batches: list[Any]) -> tuple[float, float, float]:
    """Return seconds a row, a mini-batch of it, and a place."""
    one = _rows_sent(scratch, batches, 1, 1)
    many = _rows_sent(scratch, batches, 1, len(batches) // 20)
    among = _rows_sent(scratch, batches, PLACES, 1)
    each = max(0.0, (many - one) / (len(batches) // 20 - 1))
    return max(0.0, one - each), each, max(0.0, (among - one) / (PLACES - 1))


def _rows_sent(scratch: Path, batches: list[Any], places: int, length: int) -> float:
    """Return seconds a row of `length` mini-batches, for `places` places."""
    from daskbatch.engine.allot import Allotment
    from daskbatch.engine.backlog import Backlog
    from daskbatch.engine.places import Place, Places
    from daskbatch.policy import crowd_seconds
    from daskbatch.worker.wire import encode_row

    rows = 20
    with _books(scratch) as books:

        def step() -> None:
            endless = chain.from_iterable(repeat(batches))
            # Long ones, as for many slots tasks of a second would be made longer.
            backlog = Backlog(endless, 10**9, True, 100.0 * length, books)
            backlog.learn(batches[:1], 1, 100.0)
            there: Any = Places.__new__(Places)
            there.all = [Place(f"tcp://10.0.{n >> 8}.{n & 255}:1", str(n), 1, (0,), str(n)) for n in range(places)]
            allotment = Allotment(there, backlog)
            for _ in range(rows):
                found = allotment.next(idle=False)
                assert found is not None
                row, place = found
                assert len(row) == length
                encode_row(row, max(2.0, crowd_seconds(there.slots)), books.retries_of(row))
                place.tasks += 1 if places > 1 else 0

        return best(step) / rows


@contextmanager
def _books(scratch: Path) -> Iterator[Any]:
    from daskbatch.engine.books import Books
    from daskbatch.policy import Limits
    from daskbatch.store.ledger import Ledger

    path = scratch / f"ledger-{time.monotonic_ns()}.jsonl"
    ledger = Ledger.create(path, "scale")
    try:
        yield Books(Limits(-1, None, None), 3, ledger, lambda _: None)
    finally:
        ledger.close()


def booking(scratch: Path, batches: list[Any], count: int = 200) -> tuple[float, float, float]:
    """Return seconds a report, those of its fsync, and bytes that stay of it."""
    from daskbatch.types import Chunk
    from daskbatch.worker.task_report import TaskReport

    row = batches[:20]

    def reports(first: int) -> Iterator[dict[str, Any]]:
        for number in range(first, first + count):
            report = TaskReport("node", "process000")
            for batch in row:
                report.succeed(batch.file, batch.index, 1, 1, 0.1)
            report.whole = True
            yield report.as_dict(Chunk(f"node-1-{number}-0.seg", 0, 800 + number, 1600 + number, len(row), number), 2.0)

    with _books(scratch) as books:

        def enter() -> None:
            for report in reports(0):
                books.enter(row, report)

        seconds = best(enter) / count
        sync = max(0.0, best(enter, time.perf_counter) / count - seconds)
        tracemalloc.start()
        for report in reports(10_000):
            books.enter(row, report)
        size = tracemalloc.get_traced_memory()[0] / count
        tracemalloc.stop()
    return seconds, sync, size


def waiting(scratch: Path, count: int) -> float:
    """Return bytes of a mini-batch that was taken off the plan."""
    from daskbatch.plan import read_plan

    plan = planned(scratch, count)
    tracemalloc.start()
    kept = list(read_plan(plan))
    size = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    return size


def combining(scratch: Path, count: int) -> tuple[float, float]:
    """Return seconds and bytes a mini-batch whose result is a few bytes."""
    from daskbatch.store.combine import combine
    from daskbatch.store.segments import SegmentFolder, SegmentWriter
    from daskbatch.types import Record

    folder = scratch / "segments"
    folder.mkdir()
    writers = [SegmentWriter(folder, name) for name in ("one", "two")]
    chunks = []
    for start in range(0, count, 20):
        writer = writers[start // 20 % 2]
        for index in range(start, start + 20):
            writer.append(Record(index, 0, 1, 1, 1, 0, 0, 0, 0.1), b"0\n", '[["result","int64"]]')
        chunk = writer.commit()
        assert chunk is not None
        chunks.append(chunk)
    for writer in writers:
        writer.close()
    seconds = best(lambda: combine(SegmentFolder(folder), scratch, chunks, scratch / "out.txt")) / count
    tracemalloc.start()
    combine(SegmentFolder(folder), scratch, chunks, scratch / "out.txt")
    size = tracemalloc.get_traced_memory()[1] / count
    tracemalloc.stop()
    return seconds, size


def measured(small: bool) -> Constants:
    """Measure all of them; some seconds."""
    count = 1_000 if small else 20_000
    data.DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="daskbatch-scale-", dir=data.DATA) as folder:
        scratch = Path(folder)
        plan, batches = planning(scratch, count)
        row, mini_batch, place = sending(scratch, batches)
        book, sync, chunk_bytes = booking(scratch, batches)
        dask = over_dask(scratch, batches, 100 if small else 2_000)
        combine, combine_bytes = combining(scratch, count)
        each = waiting(scratch, count)
        values = (plan, row, mini_batch, place, book, sync, *dask, combine, chunk_bytes, each, combine_bytes)
    return Constants(**dict(zip((field.name for field in fields(Constants)), values, strict=True)))
