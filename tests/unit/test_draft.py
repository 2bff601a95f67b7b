"""The combined file that is begun during the run is the one that combining at the end would make."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import append

from daskbatch.errors import SegmentDamaged
from daskbatch.store import combine_parquet, draft, early_sync
from daskbatch.store.combine import Combined, combine
from daskbatch.store.draft import Draft
from daskbatch.store.segments import SegmentFolder, SegmentWriter
from daskbatch.types import Chunk


@pytest.fixture(autouse=True)
def however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "ENOUGH", 1)
    monkeypatch.setattr(draft, "LEAST_EACH", 0)
    monkeypatch.setattr(draft, "LEAST_FREE", 0)


class HeldDisk:
    """Writing to it takes until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()


@pytest.fixture
def held_disk(monkeypatch: pytest.MonkeyPatch) -> HeldDisk:
    disk, write_all = HeldDisk(), early_sync.write_all

    def write(fd: int, data: memoryview) -> None:
        disk.reached.set()
        disk.go_on.wait()
        write_all(fd, data)

    monkeypatch.setattr(early_sync, "write_all", write)
    return disk


def commit(folder: Path, results: Sequence[Any], suffix: str, tasks: Sequence[Sequence[int]]) -> list[Chunk]:
    """Write result number i as mini-batch (i // 3, i % 3), each task's into a segment of its own."""
    chunks = []
    for task, numbers in enumerate(tasks):
        writer = SegmentWriter(folder, f"{suffix[1:]}-{task}")
        for i in numbers:
            append(writer, i, results[i], suffix)
        chunk = writer.commit()
        assert chunk is not None
        chunks.append(chunk)
        writer.close()
    return chunks


def settled_before(tasks: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The first of the mini-batches that these tasks are still to do, or one that there is not."""
    first = min((number for numbers in tasks for number in numbers), default=10**6)
    return first // 3, first % 3


def wait(one: Draft) -> None:
    """Until it has written what it was given."""
    while not one._idle:
        assert one._thread is not None
        one._thread.join(0.001)


def disk_size(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def drafted(
    folder: Path, chunks: Sequence[Chunk], tasks: Sequence[Sequence[int]], name: str, looks: Sequence[bool] = ()
) -> tuple[Combined, Draft]:
    """Combine chunks that were committed in this order, with a look after each of them that `looks` says."""
    one = Draft(SegmentFolder(folder), folder, name)
    for number in range(len(chunks)):
        if number >= len(looks) or looks[number]:
            wait(one)
            one.look(chunks[: number + 1], lambda done=number + 1: settled_before(tasks[done:]))  # type: ignore[misc]
    try:
        return combine(SegmentFolder(folder), folder, chunks, folder / name, draft=one), one
    finally:
        one.drop()
        for thread in threading.enumerate():
            if thread.name.startswith("daskbatch"):
                thread.join()  # the one that makes row groups ahead ends by itself
        assert not list(folder.glob("*.tmp"))


ROWS = st.one_of(
    st.lists(st.fixed_dictionaries({"a": st.integers(0, 9), "b": st.sampled_from(["x", 'y"', "z,"])}), max_size=3),
    st.lists(st.dictionaries(st.sampled_from("acd"), st.sampled_from([1, 2, 0.5]), min_size=1), max_size=2),
)


@given(
    results=st.lists(ROWS, min_size=1, max_size=12),
    suffix=st.sampled_from([".csv", ".jsonl", ".txt", ".parquet"]),
    seed=st.integers(0, 99),
    looks=st.lists(st.booleans(), max_size=6),
    portion=st.sampled_from([1, 40, 2**20]),
)
@settings(max_examples=150, deadline=None)
def test_it_is_what_combining_makes(
    results: list[Any], suffix: str, seed: int, looks: list[bool], portion: int
) -> None:
    dice = random.Random(seed)
    numbers = [number for number in range(len(results)) if dice.random() < 0.9]  # the others fail
    if dice.random() < 0.3:
        dice.shuffle(numbers)  # rows of what came back are in any order
    tasks = [numbers[start : start + 2] for start in range(0, len(numbers), 2)]
    dice.shuffle(tasks)
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(draft, "_PORTION", portion)
        patch.setattr(combine_parquet, "ROW_GROUP_ROWS", 3)
        folder = Path(name)
        chunks = commit(folder, results, suffix, tasks)
        whole = combine(SegmentFolder(folder), folder, chunks, folder / f"whole{suffix}")
        done, _ = drafted(folder, chunks, tasks, f"out{suffix}", looks)
        assert (folder / f"out{suffix}").read_bytes() == (folder / f"whole{suffix}").read_bytes()
        assert done._replace(name="") == whole._replace(name="")


RESULTS = [pd.DataFrame({"a": [number] * 3, "b": "x"}) for number in range(9)]
TASKS = [[0, 1], [4, 5], [2, 3], [6], [7, 8]]


def test_most_of_it_is_written_before_the_end(tmp_path: Path) -> None:
    # Given results of which the first are there
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    sizes = []
    # When it looks after each task
    for done in range(1, len(chunks) + 1):
        one.look(chunks[:done], lambda done=done: settled_before(TASKS[done:]))  # type: ignore[misc]
        wait(one)
        sizes.append(one._written)
    # Then it writes all before the first that is not there yet
    assert sizes == [2, 2, 6, 7, 9]
    # And what is left to do is the name
    combined = combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one)
    assert combined.rows == 27
    assert one._file is not None
    assert combined.sha256 == one._file.sha256


@pytest.mark.parametrize("bound", ["ENOUGH", "LEAST_EACH"])
def test_a_small_result_has_none(bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, bound, 10_000)
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    _, one = drafted(tmp_path, chunks, TASKS, "out.csv")
    assert one._thread is None


def test_a_column_that_comes_later_ends_it(tmp_path: Path) -> None:
    results = [[{"a": 1}], [{"a": 2}], [{"b": 3}]]
    tasks = [[0], [1], [2]]
    chunks = commit(tmp_path, results, ".csv", tasks)
    _, one = drafted(tmp_path, chunks, tasks, "out.csv")
    assert not one._whole
    assert (tmp_path / "out.csv").read_bytes() == b"a,b\n1,\n2,\n,3\n"


def test_it_is_of_no_use_where_its_beginning_is_not_that_of_the_result(tmp_path: Path) -> None:
    # Given a draft with a mini-batch that does not count in the end
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    one.look(chunks[:3], lambda: (2, 0))
    wait(one)
    # When the result is made
    combine(SegmentFolder(tmp_path), tmp_path, chunks[1:], tmp_path / "out.csv", draft=one)
    one.drop()
    # Then that is not in it
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 21
    assert not list(tmp_path.glob("*.tmp"))


def test_damage_is_told_by_combining(tmp_path: Path) -> None:
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    path = tmp_path / chunks[0].segment
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    with pytest.raises(SegmentDamaged, match="mini-batch 0-0 at byte 0 is damaged"):
        drafted(tmp_path, chunks, TASKS, "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_disk_that_was_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a disk that refuses what is written of the draft
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")

    def full(fd: int, data: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(early_sync, "write_all", full)
        one.look(chunks, lambda: (3, 0))
        wait(one)
    # Then nothing of it is there, and combining is done without it
    assert not list(tmp_path.glob("*.tmp"))
    combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one)
    one.drop()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 28


def test_it_makes_room_for_results_that_are_still_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a draft on a disk that fills
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    one.look(chunks[:1], lambda: (0, 2))
    wait(one)
    assert len(list(tmp_path.glob("*.tmp"))) == 1
    # When less is free than is left alone
    monkeypatch.setattr(draft, "LEAST_FREE", disk_size(tmp_path) + 1)
    one.look(chunks[:3], lambda: (2, 0))
    one._over.wait()
    # Then it is gone, and stays so
    assert not list(tmp_path.glob("*.tmp"))
    one.look(chunks, lambda: (3, 0))
    assert not list(tmp_path.glob("*.tmp"))
    assert combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one).rows == 27


def test_it_makes_room_in_the_middle_of_a_portion_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given much that can be written at once, on a disk that fills meanwhile
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    monkeypatch.setattr(draft, "_PORTION", 1)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    write_all = early_sync.write_all

    def filling(fd: int, data: memoryview) -> None:
        write_all(fd, data)
        monkeypatch.setattr(draft, "LEAST_FREE", disk_size(tmp_path) + 1)

    monkeypatch.setattr(early_sync, "write_all", filling)
    one.look(chunks[:1], lambda: (0, 2))
    wait(one)
    one.look(chunks, lambda: (3, 0))
    one._over.wait()
    assert one._written < len(RESULTS)
    assert not list(tmp_path.glob("*.tmp"))
    assert combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one).rows == 27


def test_a_draft_that_somebody_has_deleted_is_made_anew(tmp_path: Path) -> None:
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    one.look(chunks, lambda: (3, 0))
    wait(one)
    (path,) = tmp_path.glob("*.tmp")
    path.unlink()
    assert combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one).rows == 27
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 28


def test_a_system_without_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a system that starts no more threads
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        one.look(chunks, lambda: (3, 0))
    # Then the run does without
    assert combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one).rows == 27
    one.drop()


def test_an_interrupt_while_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_disk: HeldDisk
) -> None:
    # Given a result whose rest is being written, for which somebody does not want to wait
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    monkeypatch.setattr(draft, "_PORTION", 1)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    one.look(chunks, lambda: (3, 0))
    held_disk.reached.wait()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupting = threading.Thread(target=interrupt_who_waits_for, args=[one])
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", draft=one)
        interrupting.join()
    finally:
        signal.signal(signal.SIGINT, before)
    # When it is dropped, while the disk takes its time
    dropping = threading.Thread(target=one.drop)
    dropping.start()
    dropping.join(0.05)
    # Then its file is not closed before nobody writes to it any more: another one would get its number
    assert dropping.is_alive()
    assert one._file is not None
    assert one._file._fd >= 0
    held_disk.go_on.set()
    dropping.join()
    assert {path.suffix for path in tmp_path.iterdir()} == {".seg"}


def interrupt_who_waits_for(one: Draft) -> None:
    """Press Ctrl-C once the main thread waits."""
    while one._wanted.empty():
        one._over.wait(0.001)
    os.kill(os.getpid(), signal.SIGINT)


def test_it_is_not_published_where_the_run_is_anothers(tmp_path: Path) -> None:
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    one.look(chunks[:3], lambda: (2, 0))

    def confirm() -> None:
        raise KeyError("taken over")

    with pytest.raises(KeyError):
        combine(SegmentFolder(tmp_path), tmp_path, chunks, tmp_path / "out.csv", confirm, one)
    one.drop()
    assert {path.suffix for path in tmp_path.iterdir()} == {".seg"}


def test_it_keeps_no_process_from_its_end(tmp_path: Path) -> None:
    # Given a program that forgets its draft
    chunks = commit(tmp_path, RESULTS, ".parquet", TASKS)
    program = (
        "from pathlib import Path; from daskbatch.types import Chunk; from daskbatch.store import draft\n"
        "from daskbatch.store.segments import SegmentFolder\n"
        "draft.ENOUGH, draft.LEAST_EACH, draft.LEAST_FREE = 1, 0, 0\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "one = draft.Draft(SegmentFolder(folder), folder, 'out.parquet')\n"
        f"one.look({chunks!r}, lambda: (3, 0))\n"
        "while not one._written: pass\n"
    )
    # Then it ends all the same
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_it_can_be_dropped_while_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_disk: HeldDisk
) -> None:
    # Given a draft in the middle of a portion
    chunks = commit(tmp_path, RESULTS, ".csv", TASKS)
    monkeypatch.setattr(draft, "_PORTION", 1)
    one = Draft(SegmentFolder(tmp_path), tmp_path, "out.csv")
    one.look(chunks, lambda: (3, 0))
    held_disk.reached.wait()
    # When it is dropped
    dropping = threading.Thread(target=one.drop)
    dropping.start()
    while not one._dropped:
        dropping.join(0.001)
    held_disk.go_on.set()
    dropping.join()
    # Then it does not write it to its end, and nothing is left
    assert one._written < len(RESULTS)
    assert {path.suffix for path in tmp_path.iterdir()} == {".seg"}
