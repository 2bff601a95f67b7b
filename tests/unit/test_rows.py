from __future__ import annotations

from typing import Any

import pytest

from daskbatch.engine.rows import answered, ended_streams, find, rest_of
from daskbatch.types import OPEN_END, MiniBatch


def stream(file: int, index: int, wanted: int = 0) -> MiniBatch:
    return MiniBatch(file, index, (f"{file}.csv.gz",), start=wanted, stop=OPEN_END)


def report(last: tuple[int, int] | None, *, whole: bool = False, unreadable: bool = False) -> dict[str, Any]:
    failures = [{"key": last, "rest": True}] if unreadable else []
    return {"last": last, "whole": whole, "failures": failures}


# Tried again: three mini-batches of one stream, then what follows in it, then another stream.
ROW = [stream(0, 33, 1), stream(0, 43, 1), stream(0, 3, 1), stream(0, 50), stream(1, 0)]


@pytest.mark.parametrize(
    ("last", "rest"),
    [
        (None, ROW),
        ((0, 33), ROW[1:]),
        ((0, 43), ROW[2:]),
        ((0, 3), ROW[3:]),
        ((0, 50), [stream(0, 51), ROW[4]]),
        ((0, 57), [stream(0, 58), ROW[4]]),
        ((1, 2), [stream(1, 3)]),
    ],
)
def test_what_is_left_of_parts_of_one_stream(last: tuple[int, int] | None, rest: list[MiniBatch]) -> None:
    # What was answered before `last` must not come again: it would count twice.
    assert rest_of(ROW, report(last)) == rest
    assert rest_of(ROW, report(last, whole=True)) == []


def test_nothing_is_left_of_a_stream_that_cannot_be_read_on() -> None:
    assert rest_of(ROW, report((0, 52), unreadable=True)) == ROW[4:]
    assert ended_streams(ROW, report((0, 52), unreadable=True)) == []
    assert ended_streams(ROW, report((0, 52))) == []
    assert [stream.file for stream in ended_streams(ROW, report((1, 4)))] == [0]


def test_what_was_answered_is_what_was_asked_for() -> None:
    assert list(answered(ROW, report((0, 3)))) == [(0, 33), (0, 43), (0, 3)]
    assert list(answered(ROW, report((0, 51)))) == [(0, 33), (0, 43), (0, 3), (0, 50), (0, 51)]
    assert list(answered(ROW, report(None))) == []
    files = [MiniBatch(number, 0, (str(number),)) for number in range(3)]
    assert list(answered(files, report((1, 0)))) == [(0, 0), (1, 0)]


def test_a_failure_stands_for_the_rest_of_its_own_part_alone() -> None:
    assert find(ROW, (0, 43), rest=True) == stream(0, 43, 1)
    assert find(ROW, (0, 52), rest=True) == stream(0, 52)
    assert find(ROW, (0, 52)) == stream(0, 52, 1)
    with pytest.raises(LookupError, match=r"\(2, 0\) is not in the row"):
        find(ROW, (2, 0))
