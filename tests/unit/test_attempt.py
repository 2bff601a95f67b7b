"""Files are looked at right before ``run()`` gets them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daskbatch.types import MiniBatch
from daskbatch.worker.attempt import Attempts
from daskbatch.worker.script import load_object
from daskbatch.worker.wire import READ, RUN

Runs = list[list[str]]


@pytest.fixture
def runs() -> Runs:
    """What run() was called with."""
    return []


@pytest.fixture
def phases() -> list[tuple[int, ...]]:
    """What the deadlines were told."""
    return []


@pytest.fixture
def attempts(runs: Runs, phases: list[tuple[int, ...]]) -> Attempts:
    def run(mini_batch: list[str]) -> list[str]:
        runs.append(mini_batch)
        return mini_batch

    return Attempts(load_object(run, []), None, ".txt", "append_row", lambda *phase: phases.append(phase))


@pytest.fixture
def batch(tmp_path: Path) -> MiniBatch:
    """Three files, as planning found them."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text("text")
    states = [path.stat() for path in paths]
    stamps = tuple(value for state in states for value in (state.st_size, state.st_mtime_ns))
    return MiniBatch(6, 0, tuple(map(str, paths)), stamps=stamps)


def test_files_as_planned_are_handed_over(
    attempts: Attempts, batch: MiniBatch, runs: Runs, phases: list[tuple[int, ...]]
) -> None:
    answer = attempts.attempt(batch, 0)
    assert answer.payload is not None
    assert runs == [list(batch.paths)]
    # Both deadlines are told of the mini-batch and its items
    assert phases == [(READ, 6, 0, 3), (RUN, 6, 0, 3)]


def unlink(path: str) -> None:
    os.unlink(path)


def put_into_a_file(path: str) -> None:
    """The folder is a file now."""
    folder = os.path.dirname(path)
    os.rename(folder, folder + ".away")
    Path(folder).touch()


def grow(path: str) -> None:
    with open(path, "a") as file:
        file.write("!")


def touch(path: str) -> None:
    os.utime(path, ns=(0, 7))


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (unlink, "FileNotFoundError", "b is gone: it was there when the run was planned."),
        (put_into_a_file, "FileNotFoundError", " is gone: it was there when the run was planned."),
        (grow, "MiniBatchError", "b has changed since the run was planned: its size was 4 and is 5."),
        (touch, "MiniBatchError", "b has changed since the run was planned: its modification time was"),
    ],
)
def test_a_file_that_is_not_as_planned_fails_its_try(
    harm: Callable[[str], None], error: str, message: str, attempts: Attempts, batch: MiniBatch, runs: Runs
) -> None:
    # Given a mini-batch of which the second file is harmed
    harm(batch.paths[1])
    # When it is tried
    failure: dict[str, Any] | None = attempts.attempt(batch, 0).failure
    # Then the failure names the file, costs one try, and run() is not called
    assert failure is not None
    assert (failure["phase"], failure["error"], failure["retry"]) == ("read", error, True)
    assert message in failure["message"]
    assert str(Path(batch.paths[1]).parent) in failure["message"]
    assert runs == []


def test_without_stamps_nothing_is_checked(attempts: Attempts, batch: MiniBatch, runs: Runs) -> None:
    os.unlink(batch.paths[0])
    assert attempts.attempt(batch._replace(stamps=()), 0).failure is None
    assert len(runs) == 1
