"""What need not run again, by the ledgers and the segments that they name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import Replay, replay
from daskbatch.store.segments import SegmentFolder, SegmentWriter
from daskbatch.store.settled import Settled, damaged_chunks
from daskbatch.types import OPEN_END, Chunk, MiniBatch, Record

Key = tuple[int, int]


def entry(key: Key, **more: Any) -> dict[str, Any]:
    return {"mini_batch": f"{key[0]}-{key[1]}", "item_count": 2, "traceback": "", **more}


class Life:
    """An engine's life, as far as the disk knows of it."""

    def __init__(self, folder: Path, epoch: int = 1, earlier: Sequence[tuple[str, int]] = ()) -> None:
        self.folder = folder
        self.ledger = Ledger.create(folder / f"ledger-{epoch}.jsonl", "r", epoch=epoch, earlier=earlier)
        self._writer = SegmentWriter(folder, f"slot{epoch}")

    def chunk(self, *keys: Key, items: int = 2, missing: int = 0, streams: Sequence[int] = ()) -> Chunk:
        """Commit mini-batches in one chunk."""
        for key in keys:
            self._writer.append(
                Record(*key, items, items - missing, items - missing, 0, 0, 0, 0.5), f"{key}\n".encode(), "c"
            )
        chunk = self._writer.commit()
        assert chunk is not None
        self.ledger.commit(chunk, streams=streams)
        return chunk

    def fail(self, key: Key, **more: Any) -> None:
        self.ledger.attempt_failed(key, 1, "ValueError")
        self.ledger.failed(key, "ValueError", entry(key, **more))

    def end(self) -> Replay:
        self._writer.close()
        self.ledger.close()
        return replay(self.ledger.path)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    yield life
    life.end()


def settled(life: Life) -> Settled:
    return Settled(SegmentFolder(life.folder), life.end())


def file(number: int, index: int = 0) -> MiniBatch:
    return MiniBatch(number, index, (f"/in/{number}",))


def stream(number: int) -> MiniBatch:
    return MiniBatch(number, 0, (f"/in/{number}.csv.gz",), stop=OPEN_END, size=10)


def left(found: Settled, *plan: MiniBatch) -> tuple[list[Key | str], list[Key]]:
    """What is left of a plan, with "0-3..." for all of a stream from there on, and what was passed over."""
    passed: list[Key] = []
    rest: list[Key | str] = []
    for batch in found.remaining(iter(plan), lambda batch: passed.append(batch.key)):
        whole = batch.stop == OPEN_END and batch.start == 0
        assert whole or batch.stop != OPEN_END or batch.start == 1
        rest.append(f"{batch.name}..." if whole else batch.key)
    return rest, passed


def test_of_nothing_all_is_left(life: Life) -> None:
    found = settled(life)
    assert len(found) == 0
    assert left(found, file(0), stream(1), file(2)) == ([(0, 0), "1-0...", (2, 0)], [])


def test_what_is_done_is_left_out_and_gaps_are_not(life: Life) -> None:
    # Given a plan of three files, the second with four mini-batches, committed in any order
    life.chunk((2, 0), (1, 3))
    life.chunk((1, 1))
    found = settled(life)
    plan = [file(0), *(file(1, index) for index in range(4)), file(2)]
    assert left(found, *plan) == ([(0, 0), (1, 0), (1, 2)], [(1, 1), (1, 3), (2, 0)])
    assert len(found) == 3


def test_keys_that_the_plan_has_not_are_passed_by(life: Life) -> None:
    life.chunk((0, 5), (3, 0), (9, 0))
    assert left(settled(life), file(3), file(4)) == ([(4, 0)], [(3, 0)])


def test_final_failures_are_settled_too(life: Life) -> None:
    life.chunk((0, 0))
    life.ledger.attempt_failed((1, 0), 1, "ValueError")
    life.fail((2, 0))
    found = settled(life)
    assert left(found, file(0), file(1), file(2)) == ([(1, 0)], [(0, 0), (2, 0)])
    assert list(found.failed) == [(2, 0)]


def test_outcomes(life: Life) -> None:
    life.chunk((0, 0))
    life.chunk((1, 0), items=0)
    life.fail((2, 0))
    found = settled(life)
    assert [found.outcome((number, 0)) for number in range(3)] == [True, None, False]


def test_a_stream_that_has_ended_is_done(life: Life) -> None:
    life.chunk((0, 0), (0, 1), streams=[0])
    assert left(settled(life), stream(0), stream(1)) == (["1-0..."], [(0, 0), (0, 1)])


def test_a_stream_without_records_may_have_ended_too(life: Life) -> None:
    life.ledger.commit(streams=[0])
    assert left(settled(life), stream(0), stream(1)) == (["1-0..."], [])


def test_a_stream_that_has_not_ended_is_read_on_after_its_last(life: Life) -> None:
    life.chunk((0, 0), (0, 1))
    assert left(settled(life), stream(0)) == (["0-2..."], [(0, 0), (0, 1)])


@pytest.mark.parametrize("streams", [[], [0]])
def test_gaps_of_a_stream_are_done_one_by_one(life: Life, streams: list[int]) -> None:
    life.chunk((0, 1), (0, 4), streams=streams)
    rest, passed = left(settled(life), stream(0))
    assert rest == [(0, 0), (0, 2), (0, 3), *([] if streams else ["0-5..."])]
    assert passed == [(0, 1), (0, 4)]


def test_what_was_only_tried_may_be_the_last_of_a_stream_that_has_ended(life: Life) -> None:
    # Given a stream whose last two mini-batches have failed once
    life.ledger.attempt_failed((0, 1), 1, "ValueError")
    life.ledger.attempt_failed((0, 3), 1, "ValueError")
    life.chunk((0, 0), (0, 2), streams=[0])
    assert left(settled(life), stream(0)) == ([(0, 1), (0, 3)], [(0, 0), (0, 2)])


def test_what_was_only_tried_of_a_stream_that_goes_on_comes_with_the_rest(life: Life) -> None:
    life.ledger.attempt_failed((0, 3), 1, "ValueError")
    life.chunk((0, 0))
    assert left(settled(life), stream(0)) == (["0-1..."], [(0, 0)])


def test_the_rest_of_a_file_that_has_failed_as_one_is_settled(life: Life) -> None:
    # Given a gzip file that is damaged after its second mini-batch
    life.chunk((0, 0))
    life.fail((0, 2), rest_of_file=True)
    found = settled(life)
    assert left(found, stream(0), stream(1)) == ([(0, 1), "1-0..."], [(0, 0), (0, 2)])


def test_only_single_mini_batches_of_a_stream_that_failed_do_not_end_it(life: Life) -> None:
    life.fail((0, 0))
    assert left(settled(life), stream(0)) == (["0-1..."], [(0, 0)])


def test_an_entry_of_a_short_return_counts_with_its_result_alone(life: Life) -> None:
    # Given two entries, of which the chunk with the second's result never came
    for key in ((0, 0), (1, 0)):
        life.ledger.failed(key, "MissingItems", entry(key, missing=1))
    life.chunk((0, 0), missing=1)
    found = settled(life)
    assert list(found.short) == [(0, 0)]
    assert found.failed == {}
    assert left(found, file(0), file(1)) == ([(1, 0)], [(0, 0)])


def test_a_result_is_more_than_a_failure(life: Life) -> None:
    # Given a ledger whose line that failures are forgotten was damaged, so that one of both is there
    life.fail((0, 0))
    life.chunk((0, 0))
    found = settled(life)
    assert (found.failed, found.short, len(found)) == ({}, {}, 1)


def damage(folder: Path, chunk: Chunk, place: int) -> None:
    data = bytearray((folder / chunk.segment).read_bytes())
    data[place] ^= 1
    (folder / chunk.segment).write_bytes(data)


def test_a_chunk_with_a_damaged_index_does_not_count(life: Life) -> None:
    life.chunk((0, 0))
    lost = life.chunk((1, 0), (2, 0))
    kept = life.chunk((3, 0))
    damage(life.folder, lost, lost.index + 3)
    found = settled(life)
    assert found.damaged == [lost]
    assert kept in found.chunks
    assert left(found, *map(file, range(4))) == ([(1, 0), (2, 0)], [(0, 0), (3, 0)])


def test_a_segment_that_is_gone_or_too_short_costs_its_chunks(life: Life, tmp_path: Path) -> None:
    first, second = life.chunk((0, 0)), life.chunk((1, 0))
    life.end()
    path = tmp_path / second.segment
    path.write_bytes(path.read_bytes()[: second.end - 1])
    assert Settled(SegmentFolder(tmp_path), replay(life.ledger.path)).damaged == [second]
    path.unlink()
    assert Settled(SegmentFolder(tmp_path), replay(life.ledger.path)).damaged == [first, second]


def test_with_a_damaged_chunk_no_stream_has_ended(life: Life) -> None:
    # Given the last results of a stream in a chunk that is damaged, and its end in the ledger
    life.chunk((0, 0))
    lost = life.chunk((0, 1), streams=[0])
    damage(life.folder, lost, lost.index)
    # Then what comes after the first mini-batch is read again
    assert left(settled(life), stream(0)) == (["0-1..."], [(0, 0)])


def test_a_damaged_payload_is_found_by_reading_all(life: Life) -> None:
    chunks = [life.chunk((number, 0)) for number in range(3)]
    damage(life.folder, chunks[1], chunks[1].offset)
    assert settled(life).damaged == []
    assert damaged_chunks(SegmentFolder(life.folder), chunks) == [chunks[1]]


def test_behind_a_damaged_ledger_no_stream_has_ended(tmp_path: Path) -> None:
    # Given the results of a stream in one ledger, and its end in that of the next engine
    first = Life(tmp_path)
    first.chunk((0, 0))
    whole = first.ledger.path.stat().st_size
    first.chunk((0, 1))
    second = Life(tmp_path, 2, first.end().accepted)
    second.ledger.commit(streams=[0])
    assert left(Settled(SegmentFolder(tmp_path), second.end()), stream(0)) == ([], [(0, 0), (0, 1)])
    # When the line of the last results is lost
    first.ledger.path.write_bytes(first.ledger.path.read_bytes()[:whole])
    found = replay(second.ledger.path)
    # Then they are done again,
    assert left(Settled(SegmentFolder(tmp_path), found), stream(0)) == (["0-1..."], [(0, 0)])
    # and that holds for those who come later, who know nothing of the damage
    third = Life(tmp_path, 3, found.accepted)
    third.ledger.void([])
    later = third.end()
    assert later.damage == []
    assert left(Settled(SegmentFolder(tmp_path), later), stream(0)) == (["0-1..."], [(0, 0)])


STREAM_LENGTHS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=6)
"""Of each file: whether it is a stream, and its mini-batches."""


@given(files=STREAM_LENGTHS, data=st.data())
def test_what_is_settled_and_what_remains_are_the_plan(files: list[tuple[bool, int]], data: st.DataObject) -> None:
    # Given any plan, of which anything has been done, has failed, or was only tried
    keys = [(number, index) for number, (_, length) in enumerate(files) for index in range(length)]
    plan = [
        batch
        for number, (is_stream, length) in enumerate(files)
        for batch in ([stream(number)] if is_stream else [file(number, index) for index in range(length)])
    ]
    fates = {key: data.draw(st.sampled_from(["open", "tried", "failed", "done"])) for key in keys}
    ends = set()
    for number, (is_stream, length) in enumerate(files):
        # A stream's end is told when all of it has been tried.
        tried = all(fates[number, index] != "open" for index in range(length))
        if is_stream and tried and data.draw(st.booleans()):
            ends.add(number)
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder))
        for key, fate in fates.items():
            if fate in ("tried", "failed"):
                life.ledger.attempt_failed(key, 1, "ValueError")
            if fate == "failed":
                life.ledger.failed(key, "ValueError", entry(key))
        done = data.draw(st.permutations([key for key in keys if fates[key] == "done"]))
        while done:
            size = data.draw(st.integers(1, len(done)))
            life.chunk(*done[:size])
            done = done[size:]
        if ends:
            life.ledger.commit(streams=sorted(ends))
        found = settled(life)
        # When the rest is asked for, and each stream read to its end
        passed: list[Key] = []
        rest: list[Key] = []
        for batch in found.remaining(iter(plan), lambda batch: passed.append(batch.key)):
            rest += _parts(batch, files[batch.file][1])
        # Then each mini-batch is in one of the two, once and in order
        assert rest == sorted(set(rest))
        assert passed == sorted(set(passed))
        assert sorted(rest + passed) == keys
        assert passed == [key for key in keys if fates[key] in ("failed", "done")]
        assert len(found) == len(passed)


def _parts(batch: MiniBatch, length: int) -> Iterator[Key]:
    """The mini-batches of a descriptor; a stream has as many as it has."""
    if batch.stop != OPEN_END:
        yield batch.key
        return
    indexes = range(batch.index, batch.index + 1) if batch.start else count(batch.index)
    for index in indexes:
        if index >= length:
            return
        yield (batch.file, index)
