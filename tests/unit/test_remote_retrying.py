"""Trying again: how long, how often, and what is said at the end."""

from __future__ import annotations

import asyncio

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from daskbatch.remote import retrying
from daskbatch.remote.errors import CredentialsRefused, StorageUnavailable, code_of
from daskbatch.remote.retrying import Limit, pause, retried, retried_sync

SLOW_DOWN = ClientError({"Error": {"Code": "SlowDown", "Message": "easy"}}, "GetObject")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.0)


def test_a_pause_is_anything_up_to_a_bound_that_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_BASE", 0.1)
    assert [pause(n, lambda low, high: high) for n in (1, 2, 3, 20, 5000)] == [0.2, 0.4, 0.8, 20.0, 20.0]
    assert pause(3, lambda low, high: low) == 0.0


def test_it_ends_when_it_goes_well() -> None:
    tries: list[int] = []

    async def attempt(failed: int) -> str:
        tries.append(failed)
        if failed < 2:
            raise SLOW_DOWN
        return "done"

    assert asyncio.run(retried(attempt, "s3://b/k", "reading")) == "done"
    assert tries == [0, 1, 2]


def test_the_number_of_tries_is_the_end() -> None:
    tries = 0

    def attempt() -> None:
        nonlocal tries
        tries += 1
        raise SLOW_DOWN

    with pytest.raises(StorageUnavailable, match=r"s3://b/k: reading, tried 3 times: .*SlowDown: easy") as caught:
        retried_sync(attempt, "s3://b/k", "reading", Limit(tries=3))
    assert (tries, code_of(caught.value)) == (3, "SlowDown")


def test_the_time_is_the_end() -> None:
    now = [0.0]

    async def attempt(failed: int) -> None:
        now[0] += 50.0
        raise ConnectionResetError

    with pytest.raises(StorageUnavailable, match="tried 3 times"):
        asyncio.run(retried(attempt, "s3://b/k", "reading", Limit(tries=99, seconds=120.0), clock=lambda: now[0]))


def test_what_no_time_mends_is_not_tried_again() -> None:
    tries = 0

    async def attempt(failed: int) -> None:
        nonlocal tries
        tries += 1
        raise NoCredentialsError

    with pytest.raises(CredentialsRefused):
        asyncio.run(retried(attempt, "s3://b/k", "reading"))
    assert tries == 1
