from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from daskbatch.store.made_ahead import made_ahead


def test_all_items_come_in_order() -> None:
    assert list(made_ahead(iter(range(100)), lambda number: number % 3 > 0)) == list(range(100))
    assert list(made_ahead(iter([]), bool)) == []


def test_the_next_one_is_made_while_a_light_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    found = made_ahead(items(), lambda number: number == 0)
    assert next(found) == 0
    made[1].wait()
    # But not beside a heavy one
    assert next(found) == 1
    assert not made[2].is_set()
    assert next(found) == 2


def test_an_error_comes_in_its_turn_and_ends_the_thread() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    found = made_ahead(items(), bool)
    assert next(found) == 1
    with pytest.raises(KeyError, match="no more"):
        next(found)
    for thread in threading.enumerate():
        if thread.name == "daskbatch-ahead":
            thread.join()


def test_nothing_more_is_made_once_it_is_closed() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    found = made_ahead(items(), lambda number: False)
    next(found)
    found.close()
    for thread in threading.enumerate():
        if thread.name == "daskbatch-ahead":
            thread.join()
    assert made == [0]
