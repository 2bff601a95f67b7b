"""What of its node a slot gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.worker import node_share
from daskbatch.worker.node_share import cut_cpus, shares_of


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, to which the worker is held."""
    monkeypatch.setattr(node_share, "usable_cores", lambda _environment: 8)
    monkeypatch.setattr(node_share, "bound_cpus", lambda: tuple(range(8, 16)))


def seen(numbers: list[int], slots: int, name: str, environment: dict[str, str]) -> list[str | None]:
    return [share.variables.get(name) for share in shares_of(numbers, slots, {}, False, environment)]


def test_a_job_divides_its_own() -> None:
    # Given a job of two slots, the second on its host, that has lost its first neighbour
    shares = shares_of([1, 3], 2, {}, False, {"CUDA_VISIBLE_DEVICES": "4,7"})
    # Then each slot has a half of all
    assert [share.cpus for share in shares] == [(8, 9, 10, 11), (12, 13, 14, 15)]
    assert [share.variables["OMP_NUM_THREADS"] for share in shares] == ["4", "4"]
    assert [share.variables["CUDA_VISIBLE_DEVICES"] for share in shares] == ["4", "7"]


def test_jobs_of_a_host_use_each_their_own_gpus() -> None:
    assert seen([0, 1], 2, "CUDA_VISIBLE_DEVICES", {"CUDA_VISIBLE_DEVICES": "0,1"}) == ["0", "1"]
    assert seen([2, 3], 2, "CUDA_VISIBLE_DEVICES", {"CUDA_VISIBLE_DEVICES": "2,3"}) == ["2", "3"]


def test_workers_of_one_host_divide_it_by_their_numbers() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    turned = {"CUDA_VISIBLE_DEVICES": "1,2,0"}
    assert seen([0], 3, "CUDA_VISIBLE_DEVICES", environment) == ["0"]
    assert seen([1], 3, "CUDA_VISIBLE_DEVICES", environment) == ["1"]
    assert seen([1], 3, "CUDA_VISIBLE_DEVICES", turned) == ["1"]
    assert seen([1], 3, "OMP_NUM_THREADS", environment) == ["2"]
    # and are held to no CPUs: they cannot know which are whose
    assert shares_of([1], 3, {}, False, {})[0].cpus == ()


def test_more_slots_than_cores() -> None:
    shares = shares_of(list(range(9)), 9, {}, False, {})
    assert {share.variables["OMP_NUM_THREADS"] for share in shares} == {"1"}
    assert {share.cpus for share in shares} == {()}


def test_what_the_user_has_set_stays() -> None:
    users = {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "6"}
    shares = shares_of([0, 1], 2, users, False, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert not {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"} & set(shares[0].variables)
    assert len(shares[0].cpus) == 4


@pytest.mark.parametrize("where", ["the run", "the worker"])
def test_who_asks_for_more_threads_than_a_share_is_held_to_no_cpus(where: str) -> None:
    users = {"TF_NUM_INTRAOP_THREADS": "8"}
    ways: dict[str, tuple[dict[str, str], dict[str, str]]] = {"the run": (users, {}), "the worker": ({}, users)}
    run, environment = ways[where]
    assert {share.cpus for share in shares_of([0, 1], 2, run, False, environment)} == {()}


@given(st.lists(st.integers(0, 500), unique=True).map(sorted), st.integers(1, 64))
def test_cuts_share_nothing_and_leave_nothing_out(cpus: list[int], slots: int) -> None:
    cuts = cut_cpus(cpus, slots)
    assert cuts == [] or (len(cuts) == slots and [cpu for cut in cuts for cpu in cut] == cpus)
    assert (cuts == []) == (slots < 2 or len(cpus) < slots)
    if cuts:
        sizes = {len(cut) for cut in cuts}
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
