"""How the parts of a combined object are dealt to tasks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daskbatch.engine.combining import _in_rows
from daskbatch.remote.compose import Part, Piece

MIB = 2**20


def parts(copied: int, sent: int) -> list[Part]:
    sizes = [32 * MIB] * copied + [MIB] * sent
    return [Part(number, (Piece("s3://b/k", 0, size),)) for number, size in enumerate(sizes, 1)]


@given(copied=st.integers(0, 300), sent=st.integers(0, 100), threads=st.integers(1, 9))
def test_each_part_is_dealt_once_and_evenly(copied: int, sent: int, threads: int) -> None:
    given = parts(copied, sent)
    rows = _in_rows(given, threads)
    assert sorted(part.number for row in rows for part in row) == [part.number for part in given]
    for kind in (True, False):
        counts = [sum(part.copied is kind for part in row) for row in rows] or [0]
        assert max(counts) - min(counts) <= 1


def test_no_thread_looks_on_while_another_has_a_task_more() -> None:
    assert [len(row) for row in _in_rows(parts(66, 0), 2)] == [33, 33]
    assert [len(row) for row in _in_rows(parts(128, 0), 2)] == [32] * 4


def test_few_parts_are_few_tasks() -> None:
    assert [len(row) for row in _in_rows(parts(6, 2), 16)] == [8]
