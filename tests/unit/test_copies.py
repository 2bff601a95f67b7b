"""Copies of objects: a mini-batch of a store is read as one of a disk, wherever it is cut; nothing stays behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daskbatch.errors import MiniBatchError
from daskbatch.options import make_spec
from daskbatch.plan import make_plan, read_plan
from daskbatch.remote import copies as copying
from daskbatch.remote import edges, fetch
from daskbatch.remote.copies import Copies
from daskbatch.remote.errors import ObjectMissing, StorageUnavailable
from daskbatch.remote.filesystem import filesystem, token_of
from daskbatch.store.copy_names import CopyNames
from daskbatch.store.inputs import TableReader
from daskbatch.types import OPEN_END, MiniBatch
from daskbatch.worker.ahead import Ahead
from daskbatch.worker.upcoming import Upcoming

Put = Callable[[str, bytes], str]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Put an object into a store that is no S3, and a file of the same name below ``disk``; the object's URL."""

    def both(name: str, data: bytes) -> str:
        path = tmp_path / "disk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        url = f"memory://{tmp_path.name}/{name}"
        filesystem(url).pipe_file(url, data)
        return url

    return both


def rows_of(where: str, tmp_path: Path, copies_in: str = "", **options: Any) -> list[tuple[Any, ...]]:
    """Key and rows of each mini-batch."""
    spec = make_spec(lambda batch: batch, where, output=tmp_path / "out", **options).input
    plan = make_plan(spec, tmp_path / "plan")
    assert plan.table is not None
    copies = Copies(copies_in, plan.table)
    reader = TableReader(plan.table)
    found: list[tuple[Any, ...]] = []
    for batch in read_plan(plan):
        at = batch
        copy = copies.make(batch) if copies_in else None
        if copy is not None:
            at = copy.batch
        while (rows := reader.read(at)) is not None:
            found.append((at.key, rows.to_pydict()))
            if at.stop != OPEN_END:
                break
            at = at._replace(index=at.index + 1)
        if copy is not None:
            copies.drop(copy)
    reader.close()
    copies._let_go(0, -1)  # the last shared one
    assert not copies_in or os.listdir(copies_in) == []
    return found


TEXTS = {
    "newlines": b"id,text\n" + b"".join(b"%d,%s\n" % (n, b"ab" * (n % 5)) for n in range(9)),
    "no newline at the end": b"id,text\n1,a\n22,bb\n333,ccc",
    "carriage returns and newlines": b"id,text\r\n" + b"".join(b"%d,%s\r\n" % (n, b"ab" * (n % 5)) for n in range(9)),
    "carriage returns alone": b"id,text\r" + b"".join(b"%d,%s\r" % (n, b"ab" * (n % 5)) for n in range(9)),
    "empty lines": b"id,text\n\n1,a\n\n\n2,b\n\n3,c\n\n\n\n",
    "a mark": "\ufeffid,text\n1,ä\n2,😀😀\n3,ü\n".encode(),
    "a long record": b"id,text\n1,a\n2," + b"x" * 90 + b"\n3,c\n",
    "a long header": b"id," + b"t" * 90 + b"\n1,a\n22,bb\n333,ccc\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_is_read_alike_wherever_it_is_cut(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr(edges, "_PIECE", 7)
    monkeypatch.setattr(copying, "_AHEAD", 3)
    url = put("a.csv", text)
    for size in (*range(1, 41), len(text) - 1, len(text), len(text) + 1):
        options = {"mini_batch_size": size, "encoding": "utf-8"}
        assert rows_of(url, tmp_path, str(tmp_path / "copies"), **options) == rows_of(
            str(tmp_path / "disk/a.csv"), tmp_path, **options
        ), size


@pytest.mark.parametrize("size", [1, 30, "1rows", "3rows"])
@pytest.mark.parametrize("multi_line", [False, True])
def test_scanned_texts_too(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | str, multi_line: bool
) -> None:
    monkeypatch.setattr(edges, "_PIECE", 7)
    text = '"a\n""b"""' if multi_line else "ab"
    url = put("a.csv", ("id,text\n" + "".join(f"{n},{text}\n" for n in range(9))).encode())
    options = {"mini_batch_size": size, "support_multi_line": multi_line}
    assert rows_of(url, tmp_path, str(tmp_path / "copies"), **options) == rows_of(
        str(tmp_path / "disk/a.csv"), tmp_path, **options
    )


@pytest.mark.parametrize("size", [100, "5KB", "1MB", "7rows", "130rows"])
@pytest.mark.parametrize("columns", [None, "text", "nested,id", "a"])
def test_row_groups_and_their_slices(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | str, columns: str | None
) -> None:
    monkeypatch.setattr(edges, "_PIECE", 12)
    monkeypatch.setattr(copying, "_GAP", 0)
    names = {"id": range(400), "a.b": range(400), "text": ["x" * (n % 7) for n in range(400)]}
    table = pa.table({**names, "nested": [{"x": n, "y": [n]} for n in range(400)], "a": range(400)})
    pq.write_table(table, tmp_path / "x", row_group_size=60)
    url = put("a.parquet", (tmp_path / "x").read_bytes())
    options = {"mini_batch_size": size, "columns": columns}
    assert rows_of(url, tmp_path, str(tmp_path / "copies"), **options) == rows_of(
        str(tmp_path / "disk/a.parquet"), tmp_path, **options
    )


@pytest.mark.parametrize(
    ("ranges", "joined"),
    [
        ([], []),
        ([(20, 30), (0, 5)], [(0, 5), (20, 30)]),
        ([(0, 5), (7, 9), (12, 13)], [(0, 9), (12, 13)]),
        ([(0, 9), (2, 4), (9, 200)], [(0, 100)]),
        ([(0, 5), (100, 120)], [(0, 5)]),
    ],
)
def test_ranges_that_lie_close_together_are_one(
    ranges: list[tuple[int, int]], joined: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_GAP", 2)
    assert copying._joined(ranges, 100) == joined


def whole(key: int, *urls: str) -> MiniBatch:
    info = [filesystem(url).info(url) for url in urls if filesystem(url).exists(url)]
    stamps = tuple(stamp for one in info for stamp in (one["size"], token_of(one)))
    return MiniBatch(key, 0, urls, stop=0, stamps=stamps if len(info) == len(urls) else (1, "") * len(urls))


def test_odd_keys_get_copies_or_an_error_of_their_own(put: Put, tmp_path: Path) -> None:
    copies = Copies(str(tmp_path / "copies"), None)
    above, below = put("k", b"above"), put("l/below/#% é", b"below")
    long = f"memory://{tmp_path.name}/{'n' * 256}"
    filesystem(long).pipe_file(long, b"long")
    copy = copies.make(whole(0, above, below), whole(2, long), whole(3, above), whole(4, above + "none"))
    first, second, third, fourth = copy.batches
    assert isinstance(first, MiniBatch)
    assert isinstance(third, MiniBatch)
    assert [Path(path).read_bytes() for path in (*first.paths, *third.paths)] == [b"above", b"below", b"above"]
    assert first.paths[0] != third.paths[0]
    assert isinstance(second, MiniBatchError)
    assert isinstance(fourth, ObjectMissing)
    names = CopyNames(str(tmp_path / "copies"), "memory://")
    assert [names.of(path) for path in first.paths] == [above, below]
    assert names.within(f"no {first.paths[1]!r}") == f"no {below!r}"
    copies.drop(copy)
    assert os.listdir(tmp_path / "copies") == []


def test_mini_batches_of_one_row_group_share_one_copy(put: Put, tmp_path: Path, monkeypatch: Any) -> None:
    pq.write_table(pa.table({"id": range(100)}), tmp_path / "x")
    url = put("a.parquet", (tmp_path / "x").read_bytes())
    spec = make_spec(lambda batch: batch, url, output=tmp_path / "out", mini_batch_size="10rows").input
    plan = make_plan(spec, tmp_path / "plan")
    copies = Copies(str(tmp_path / "copies"), plan.table)
    calls: list[object] = []
    gets = fetch.fetch_ranges
    monkeypatch.setattr(copying, "fetch_ranges", lambda *given, **named: calls.append(given) or gets(*given, **named))
    made: list[Any] = []
    threads = [threading.Thread(target=lambda one=one: made.append(copies.make(one))) for one in read_plan(plan)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(calls), len({copy.root for copy in made})) == (10, 1, 1)
    for copy in made[:-1]:
        copies.drop(copy)
        assert os.path.exists(made[-1].batch.paths[0])
    copies.drop(made[-1])
    assert os.path.exists(made[-1].batch.paths[0])  # the next task may begin with it
    copies.close()
    assert not (tmp_path / "copies").exists()
    assert copies._lots == {}


class Held:
    """Stands for `Copies`: each copy is made when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.dropped = 0
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None

    def is_whole(self, _: MiniBatch) -> bool:
        return True

    def weight(self, batch: MiniBatch) -> int:
        return batch.size

    def make(self, *batches: MiniBatch) -> Any:
        self.asked += [batch.file for batch in batches]
        self.gate.acquire()
        if self.error is not None:
            raise self.error
        return copying.Copy(batches, "", sum(batch.size for batch in batches))

    def drop(self, _: Any) -> None:
        self.dropped += 1

    def close(self) -> None:
        pass


def asked_for(held: Held, count: int) -> bool:
    """Whether so many are asked for, sooner or later."""
    done = threading.Event()
    for _ in range(500):
        if len(held.asked) >= count:
            return True
        done.wait(0.01)
    return False


def many(count: int, objects: int, size: int = 1) -> Iterator[MiniBatch]:
    return (MiniBatch(n, 0, tuple(f"s3://b/{n}/{m}" for m in range(objects)), size=size) for n in range(count))


@pytest.mark.parametrize(("objects", "ahead"), [(1, 24), (10, 3), (1000, 1)])
def test_the_next_are_fetched_while_the_present_run(objects: int, ahead: int) -> None:
    held = Held()
    fetching = Ahead(Upcoming(held))  # type: ignore[arg-type]
    row = fetching.row(0, many(200, objects))
    held.gate.release()
    present = len(next(row))
    assert asked_for(held, present + ahead)  # while the present run, nobody asks the row for more
    held.gate.release(1000)
    assert present + sum(map(len, row)) == 200
    fetching.close()
    assert sorted(held.asked) == list(range(200))


def test_what_lies_ahead_is_bounded() -> None:
    held = Held()
    fetching = Ahead(Upcoming(held))  # type: ignore[arg-type]
    held.gate.release(1000)
    row = fetching.row(0, many(20, 1, size=100 * 2**20))
    for number in range(20):
        assert len(next(row)) == 1
        assert len(held.asked) <= number + 1 + 3  # those of 256 MiB, and the present one
    fetching.close()


def test_an_error_of_the_store_ends_a_row_and_leaves_nothing() -> None:
    held = Held()
    fetching = Ahead(Upcoming(held))  # type: ignore[arg-type]
    row = fetching.row(0, many(100, 10))
    held.gate.release(2)
    next(row)
    held.error = StorageUnavailable("it is away")
    held.gate.release(1000)
    with pytest.raises(StorageUnavailable):
        list(row)
    fetching.close()
    assert held.dropped == 2


def test_the_first_of_the_row_that_waits_are_fetched_when_the_present_one_is_asked_for() -> None:
    held = Held()
    upcoming = Upcoming(held)  # type: ignore[arg-type]
    fetching = Ahead(upcoming)
    held.gate.release(1000)
    row = fetching.row(1, many(1, 1))
    next(row)
    # When a task comes while the only mini-batch of the present one runs
    upcoming.add(2, lambda: (batch._replace(file=batch.file + 100) for batch in many(50, 1)))
    assert asked_for(held, 1 + 8)
    assert held.asked[1] == 100
    assert list(row) == []
    before = len(held.asked)
    # Then it begins with what is there, and nothing is fetched twice
    row = fetching.row(2, iter(()))
    next(row)
    assert before > 1
    assert 8 + sum(map(len, row)) == 50
    assert sorted(held.asked) == [0, *range(100, 150)]
    fetching.close()
    upcoming.close()


def test_what_was_fetched_for_a_row_that_goes_elsewhere_is_removed() -> None:
    held = Held()
    upcoming = Upcoming(held)  # type: ignore[arg-type]
    fetching = Ahead(upcoming)
    held.gate.release(1000)
    upcoming.add(7, lambda: many(8, 1))
    assert asked_for(held, 8)
    upcoming.forget(7)
    fetching.close()  # waits for what is under way
    assert held.dropped == 1  # one lot
    assert fetching.next is None


def test_of_two_rows_that_wait_the_one_that_dask_begins_with_is_fetched() -> None:
    held = Held()
    upcoming = Upcoming(held)  # type: ignore[arg-type]
    upcoming.add(1, lambda: many(1, 1), (2,))
    upcoming.add(2, lambda: (batch._replace(file=50) for batch in many(1, 1)), (1,))
    fetching = Ahead(upcoming)
    held.gate.release(1000)
    row = fetching.row(0, many(1, 1))
    next(row)
    assert asked_for(held, 2)
    assert held.asked == [0, 50]
    row.close()
    fetching.close()
    upcoming.close()


def test_stop_ends_a_wait_for_a_store_that_is_silent() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = (("anon", True), ("endpoint_url", f"http://127.0.0.1:{silent.getsockname()[1]}"))
        fetching = Ahead(Upcoming(Copies("/nowhere", None, options, fetch.USUAL)))
        got: list[Any] = []
        waits = threading.Thread(target=lambda: got.extend(fetching.row(0, many(3, 1))))
        waits.start()
        silent.accept()[0].close()
        fetching.stop()
        waits.join(20)
        assert (waits.is_alive(), got) == (False, [])
        fetching.close()
