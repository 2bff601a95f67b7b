"""Which small results are gathered: neighbours, in the input's order, where that is worth an object."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daskbatch.engine.books import Books
from daskbatch.engine.gathering import ENOUGH, Small, next_group
from daskbatch.policy import Limits
from daskbatch.remote.multipart import MIN_PART_SIZE
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import replay
from daskbatch.store.segments import SegmentFolder, SegmentWriter
from daskbatch.store.settled import Settled
from daskbatch.types import Chunk, Record

MIB = 2**20


def small(number: int, size: int, count: int = 1) -> Small:
    return Small((number, 0), Chunk(f"{number}.seg", 0, size, size + 100, count, 0))


def numbers(group: list[Small]) -> list[int]:
    return [one.first[0] for one in group]


def keys(*found: int) -> list[tuple[int, int]]:
    return [(number, 0) for number in found]


def test_enough_neighbours_are_taken_and_no_more() -> None:
    row = [small(number, 4 * MIB) for number in range(10)]
    assert numbers(next_group(row, [], keys(10))) == list(range(8))
    assert next_group(row[:7], [], keys(10)) == []


def test_many_tiny_results_fill_an_object_too() -> None:
    row = [small(number, MIB, 10_000) for number in range(20)]
    assert numbers(next_group(row, [], keys(20))) == list(range(5))
    assert next_group(row[:4], [], keys(20)) == []
    assert next_group([small(number, 1000, 10_000) for number in range(20)], [], keys(20)) == []  # no part of an upload


def test_nothing_is_gathered_across_what_is_under_way() -> None:
    row = [small(number, 4 * MIB) for number in range(20) if number != 5]
    assert numbers(next_group(row, [], keys(5, 20))) == list(range(6, 14))
    assert next_group(row[:10], [], keys(5, 11)) == []


def test_some_that_can_get_no_other_neighbours_are_enough() -> None:
    pair = [small(1, 4 * MIB), small(2, 4 * MIB)]
    assert numbers(next_group(pair, keys(3), keys(4))) == [1, 2]
    assert numbers(next_group(pair, keys(0, 3), keys(4))) == [1, 2]
    assert next_group(pair, keys(3), keys(0, 4)) == []  # what is under way before them may belong to them
    assert next_group(pair, keys(4), keys(3)) == []
    assert next_group(pair[:1], keys(3), []) == []  # by itself it becomes no larger
    assert next_group([small(1, MIB), small(2, MIB)], keys(3), []) == []  # and these are no part of an upload


@given(
    sizes=st.dictionaries(st.integers(0, 60), st.integers(0, MIN_PART_SIZE - 1), max_size=60),
    apart=st.sets(st.integers(0, 60)),
    under_way=st.sets(st.integers(0, 60)),
)
def test_a_group_has_nothing_between_and_is_a_part(sizes: dict[int, int], apart: set[int], under_way: set[int]) -> None:
    row = [small(number, sizes[number]) for number in sorted(sizes)]
    group = next_group(row, keys(*sorted(apart)), keys(*sorted(under_way)))
    if not group:
        return
    found = numbers(group)
    assert found == [number for number in sorted(sizes) if found[0] <= number <= found[-1]]
    assert not [number for number in apart | under_way if found[0] < number <= found[-1]]
    assert len(group) > 1
    assert MIN_PART_SIZE <= sum(one.size for one in group) < ENOUGH + MIN_PART_SIZE


def test_what_an_earlier_life_has_left_is_gathered_too(tmp_path: Path) -> None:
    # Given three chunks of an earlier life
    writer = SegmentWriter(tmp_path, "slot")
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    chunks = []
    for first in (4, 0, 2):
        for index in (first, first + 1):
            writer.append(Record(3, index, 1, 1, 1, 0, 0, 0, 0.1), b"x\n", "[]")
        chunk = writer.commit()
        assert chunk is not None
        chunks.append(chunk)
        ledger.commit(chunk)
    writer.close()
    # When books go on with them
    books = Books(Limits(-1, None, None), 2, ledger, lambda _: None)
    books.restore(Settled(SegmentFolder(tmp_path), replay(ledger.path)), {}, 0)
    # Then they know where each begins, and take what holds two of them in their place, as the next life does
    assert books.begins == dict(zip(chunks, [(3, 4), (3, 0), (3, 2)], strict=True))
    whole = Chunk("gathered.seg", 0, 8, 300, 4, 0)
    books.gather(chunks[1:], whole)
    ledger.close()
    assert books.chunks == replay(ledger.path).chunks == [chunks[0], whole]
