"""Thresholds, the first mini-batches, task lengths."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.policy import (
    FIRST_MINI_BATCHES,
    FirstMiniBatches,
    InitGate,
    Limits,
    NodeGate,
    crowd_seconds,
    is_final,
    row_length,
)


def first(count: int) -> FirstMiniBatches:
    known = FirstMiniBatches()
    for number in range(count):
        known.expect((number, 0))
    return known


def test_limits_are_crossed_by_more_not_by_as_many() -> None:
    assert Limits(3, None, None).exceeded(3, 1, 10) is None
    assert "4 items failed, error_threshold=3" in (Limits(3, None, None).exceeded(4, 1, 10) or "")
    assert Limits(None, 2, None).exceeded(99, 2, 10) is None
    assert "allowed_failed_count=2" in (Limits(None, 2, None).exceeded(0, 3, 10) or "")
    assert Limits(None, None, 20.0).exceeded(0, 2, 10) is None
    assert "30 %" in (Limits(None, None, 20.0).exceeded(0, 3, 10) or "")


def test_minus_one_lets_everything_fail() -> None:
    assert Limits(-1, -1, -1).exceeded(10**9, 10**9, 10**9) is None
    assert Limits(-1, None, None).given


def test_a_percentage_waits_for_the_total() -> None:
    assert Limits(None, None, 1.0).exceeded(0, 50, None) is None


def test_the_first_all_failed_whatever_the_others_did() -> None:
    # Given many mini-batches, of which a later one has succeeded
    known = first(100)
    known.settle((50, 0), True)
    # When the first ones fail one by one
    for number in range(FIRST_MINI_BATCHES):
        assert not known.all_failed(exhausted=False)
        known.settle((number, 0), False)
    # Then the last of them tells
    assert known.all_failed(exhausted=False)


def test_one_success_among_the_first_settles_it() -> None:
    known = first(100)
    known.settle((FIRST_MINI_BATCHES - 1, 0), True)
    assert known.decided
    for number in range(FIRST_MINI_BATCHES - 1):
        known.settle((number, 0), False)
    assert not known.all_failed(exhausted=False)


def test_ranges_without_records_do_not_count() -> None:
    # Given that the first half of what was planned holds no records
    known = first(3 * FIRST_MINI_BATCHES)
    for number in range(FIRST_MINI_BATCHES):
        known.settle((number, 0), None)
    # When those after it fail
    for number in range(FIRST_MINI_BATCHES, 2 * FIRST_MINI_BATCHES):
        known.settle((number, 0), False)
    # Then they are the first
    assert known.all_failed(exhausted=False)


def test_fewer_than_that_must_all_have_failed_and_be_all() -> None:
    known = first(3)
    for number in range(3):
        known.settle((number, 0), False)
    assert not known.all_failed(exhausted=False)
    assert known.all_failed(exhausted=True)


def test_an_input_without_any_failure_has_not_failed() -> None:
    assert not first(0).all_failed(exhausted=True)


def test_mini_batches_of_a_stream_take_their_place() -> None:
    # Given a stream, of whose mini-batches only the first is planned, and another file
    known = FirstMiniBatches()
    known.expect((0, 0))
    known.expect((1, 0))
    # When its second one succeeds
    known.settle((0, 1), True)
    # Then that is one of the first
    assert known.decided


def test_what_was_not_expected_costs_no_memory() -> None:
    known = first(5)
    known.settle((10**6, 0), True)
    assert (10**6, 0) not in known.outcome


@given(
    budget=st.floats(0.01, 100),
    each=st.none() | st.floats(0, 1000),
    left=st.integers(0, 10**9),
    slots=st.integers(0, 10**4),
)
def test_a_row_is_never_empty_and_never_unfair(budget: float, each: float | None, left: int, slots: int) -> None:
    length = row_length(budget, each, left, slots, longest=10_000)
    assert 1 <= length <= 10_000
    assert length == 1 or length <= -(-left // max(1, slots))


def test_rows_grow_with_what_was_measured() -> None:
    assert row_length(2.0, None, 10**6, 2) < row_length(2.0, 0.001, 10**6, 2)
    assert row_length(2.0, 10.0, 10**6, 2) == 1


@given(left=st.integers(1, 96), slots=st.integers(1, 4), each=st.floats(1e-5, 1.0), choose=st.randoms())
def test_two_rows_of_a_slot_are_at_most_two_thirds_of_its_share(
    left: int, slots: int, each: float, choose: random.Random
) -> None:
    # Given so few mini-batches that a first row may hold a third of a slot's share; slots that have two rows each under
    # way for as long as anything is left, and end them in any order
    most = 2 * -(-left // (3 * slots))
    under_way: list[list[int]] = [[] for _ in range(slots)]
    measured = None
    while True:
        while left and min(map(len, under_way)) < 2:
            row = row_length(2.0, measured, left, slots)
            min(under_way, key=len).append(row)
            left -= row
        # Then no slot ever has more than that
        assert max(map(sum, under_way)) <= most
        busy = [rows for rows in under_way if rows]
        if not busy:
            return
        choose.choice(busy).pop(0)
        measured = each


def test_the_last_rows_are_not_shorter_than_handing_them_out() -> None:
    # Of mini-batches of 10 microseconds, 100 milliseconds are left
    assert row_length(2.0, 1e-5, 10_000, 2) == 3_750
    # And of those that take a second each, ten
    assert row_length(2.0, 1.0, 10, 2) == 2


def test_the_last_try_and_contract_errors_are_final() -> None:
    assert not is_final(1, 3, retry=True)
    assert is_final(3, 3, retry=True)
    assert is_final(1, 3, retry=False)


def test_init_that_fails_on_two_slots_before_any_success_stops_the_run() -> None:
    gate = InitGate()
    assert gate.failed("a/0", slots=8) == "go on"
    assert gate.failed("a/0", slots=8) == "go on"
    assert gate.failed("a/1", slots=8) == "stop"
    assert InitGate().failed("a/0", slots=1) == "stop"


def test_a_process_that_is_killed_in_init_gets_two_more() -> None:
    gate = InitGate()
    assert [gate.failed("a/0", slots=1, killed=True) for _ in range(3)] == ["go on", "go on", "stop"]
    gate = InitGate(succeeded=True)
    assert [gate.failed("a/0", slots=2, killed=True) for _ in range(4)] == ["go on", "go on", "go on", "leave out"]


def test_init_that_succeeds_elsewhere_leaves_a_slot_one_more_chance() -> None:
    gate = InitGate(succeeded=True)
    assert gate.failed("b/0", slots=8) == "go on"
    assert gate.failed("a/0", slots=8) == "go on"
    assert gate.failed("b/0", slots=8) == "leave out"


def blame(gate: NodeGate, node: str, other: str, count: int) -> None:
    """That many mini-batches fail on `node` and then succeed on `other`."""
    keys = [(number, 0) for number in range(count)]
    for key in keys:
        gate.failed(node, key, final=False)
    for key in keys:
        gate.succeeded(other, 1)
        gate.recovered(other, key)


def test_three_mini_batches_that_succeed_elsewhere_speak_against_a_node() -> None:
    gate = NodeGate()
    blame(gate, "a", "b", 2)
    assert gate.to_leave_out() == {}
    blame(gate, "a", "b", 3)
    assert list(gate.to_leave_out()) == ["a"]
    gate.forget("a")
    assert gate.to_leave_out() == {}


def test_the_same_mini_batch_three_times_is_one() -> None:
    gate = NodeGate()
    for _ in range(3):
        blame(gate, "a", "b", 1)
    assert gate.to_leave_out() == {}


def test_a_success_on_the_node_itself_clears_it() -> None:
    gate = NodeGate()
    for number in range(3):
        gate.failed("a", (number, 0), final=False)
    gate.succeeded("a", 1)
    for number in range(3):
        gate.recovered("b", (number, 0))
    assert gate.to_leave_out() == {}
    assert gate.wrong == {}


def test_what_never_succeeds_speaks_against_no_node() -> None:
    gate = NodeGate()
    for number in range(100):
        for node, final in (("a", False), ("b", False), ("c", True)):
            gate.failed(node, (number, 0), final)
    assert gate.to_leave_out() == {}
    assert gate.held("abc") == set()
    assert gate.wrong == {}


def test_two_wrong_nodes_are_both_found() -> None:
    gate = NodeGate()
    for number in range(3):
        gate.failed("a", (number, 0), final=False)
        gate.failed("b", (number, 0), final=False)
        gate.recovered("c", (number, 0))
    assert set(gate.to_leave_out()) == {"a", "b"}


def test_a_script_that_fails_now_and_then_needs_more_evidence() -> None:
    # Given a script that fails every third time, on good nodes too
    gate = NodeGate()
    for number in range(30):
        gate.failed("b", (1000 + number, 0), final=False)
        gate.succeeded("b", 2)
    # Then three in a row are chance, and a hundred are not
    blame(gate, "a", "b", 3)
    assert gate.to_leave_out() == {}
    blame(gate, "a", "b", 100)
    assert list(gate.to_leave_out()) == ["a"]


def test_a_node_in_doubt_waits_unless_most_are() -> None:
    gate = NodeGate()
    for number in range(3):
        assert gate.held("ab") == set()
        gate.failed("a", (number, 0), final=False)
    assert gate.held("ab") == {"a"}
    assert gate.held("a") == set()
    # When as much has failed elsewhere, then it is not the node
    for number in range(3, 6):
        gate.failed("b", (number, 0), final=False)
    assert gate.held("ab") == set()
    assert gate.held("abcd") == {"a", "b"}
    # When one of them has failed on another node too, then two are too few to doubt it
    gate.failed("c", (0, 0), final=False)
    assert gate.held("abcd") == {"b"}


@given(st.integers(1, 10**5))
def test_however_many_slots_they_send_no_more_messages_than_dask_takes(slots: int) -> None:
    seconds = crowd_seconds(slots)
    assert (seconds == 0) if slots <= 300 else (slots / seconds == pytest.approx(300))
