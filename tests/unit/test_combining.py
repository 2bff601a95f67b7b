"""How the parts of a combined object are dealt to tasks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.engine.combining import _abort_left, _in_rows
from daskbatch.remote import compose
from daskbatch.remote.compose import Part, Piece
from daskbatch.remote.errors import CredentialsRefused

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


class Folder:
    """What clearing up asks of a run's place."""

    options = ()

    def __init__(self, seen: tuple[bool, bool] | None) -> None:
        self.seen = seen
        self.looked: list[int] = []

    def latest_epoch(self) -> int:
        return 3

    def look(self, number: int, ledger: object) -> tuple[bool, bool] | None:
        self.looked.append(number)
        return self.seen


def left(folder: Any, monkeypatch: pytest.MonkeyPatch, pending: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is aborted before an upload of s3://b/out/p.csv."""
    aborted: list[tuple[str, str]] = []

    def listed(url: str, *_: object) -> list[tuple[str, str]]:
        assert folder.looked == []  # else a later engine's could come between
        return pending

    monkeypatch.setattr(compose, "pending", listed)
    monkeypatch.setattr(compose, "abort", lambda url, upload_id, *_: aborted.append((url, upload_id)))
    _abort_left("s3://b/out/p.csv", folder, None)  # type: ignore[arg-type]
    return aborted


PENDING = [("out/p.csv", "1"), ("out/p.csv.gz", "2"), ("out/p.csv", "3")]


def test_what_others_have_left_of_exactly_the_result_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder((False, True))
    assert left(folder, monkeypatch, PENDING) == [("s3://b/out/p.csv", "1"), ("s3://b/out/p.csv", "3")]
    assert folder.looked == [3]


@pytest.mark.parametrize("seen", [(True, False), None], ids=["taken over", "not known"])
def test_an_engine_that_may_be_displaced_aborts_nothing(
    seen: tuple[bool, bool] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert left(Folder(seen), monkeypatch, PENDING) == []


def test_where_nothing_is_left_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder((False, False))
    assert left(folder, monkeypatch, PENDING[1:2]) == []
    assert folder.looked == []


def test_a_store_that_refuses_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Any:
        raise CredentialsRefused("no")

    monkeypatch.setattr(compose, "pending", refused)
    _abort_left("s3://b/out/p.csv", Folder(None), None)  # type: ignore[arg-type]
