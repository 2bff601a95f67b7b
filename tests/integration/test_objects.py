"""Functions, classes and instances in the place of an entry script."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import daskbatch

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # runners cannot import a test

OPTIONS: dict[str, Any] = {"mini_batch_size": 2, "process_count_per_node": 2, "progress": False}


def score(mini_batch: list[str]) -> list[str]:
    return [Path(path).name for path in mini_batch]


def score_with_context(mini_batch: list[str], context: Any) -> list[str]:
    return [f"{context.minibatch_index}:{Path(path).name}" for path in mini_batch]


class Model:
    """Counts its own calls: made once in each process."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, mini_batch: list[str]) -> list[dict[str, Any]]:
        self.calls += 1
        return [{"name": Path(path).name, "calls": self.calls} for path in mini_batch]


class WithState:
    """An instance that was made beforehand."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def run(self, mini_batch: list[str]) -> list[str]:
        return [self.prefix + Path(path).name for path in mini_batch]


NAMES = [f"f{number:02d}.bin" for number in range(8)]


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        (score, NAMES),
        (lambda mini_batch: [len(mini_batch)] * len(mini_batch), [2] * 8),
        (score_with_context, [f"{number - number % 2}-0:{name}" for number, name in enumerate(NAMES)]),
        (WithState("my "), ["my " + name for name in NAMES]),
    ],
    ids=["function", "lambda", "function with context", "instance"],
)
def test_each_kind_of_object(
    entry: Any, wanted: list[Any], tmp_path: Path, files: Callable[[int], str], oracle: Callable[..., bytes]
) -> None:
    # Given eight files, two a mini-batch, and an object that scores them
    inputs = files(8)
    # When it runs on two slots
    run = daskbatch.run(entry, inputs, output=tmp_path / "out", **OPTIONS)
    # Then its results are there, and are the oracle's
    assert list(run.to_pandas()["result"]) == wanted
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, inputs, mini_batch_size=2)


def test_a_class_is_made_once_in_each_process(tmp_path: Path, files: Callable[[int], str]) -> None:
    run = daskbatch.run(Model, files(8), output=tmp_path / "out", **{**OPTIONS, "process_count_per_node": 1})
    assert list(run.to_pandas()["name"]) == NAMES
    assert list(run.to_pandas()["calls"]) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_class_is_shut_down_at_the_end(tmp_path: Path, files: Callable[[int], str]) -> None:
    # Given a class that leaves a mark when its process ends
    marks = tmp_path / "marks"
    marks.mkdir()

    class Closing:
        def __init__(self) -> None:
            self.seen = 0

        def run(self, mini_batch: list[str]) -> list[str]:
            self.seen += len(mini_batch)
            return mini_batch

        def shutdown(self) -> None:
            (marks / str(self.seen)).touch()

    # When it has run in one process
    daskbatch.run(Closing, files(8), output=tmp_path / "out", **{**OPTIONS, "process_count_per_node": 1})
    # Then it was asked once, after everything else
    assert [mark.name for mark in marks.iterdir()] == ["8"]


def test_a_constructor_that_raises_is_a_failed_init(tmp_path: Path, files: Callable[[int], str]) -> None:
    class Broken:
        def __init__(self) -> None:
            raise OSError("no model here")

        def run(self, mini_batch: list[str]) -> list[str]:
            return mini_batch

    with pytest.raises(daskbatch.InitFailed, match="no model here"):
        daskbatch.run(Broken, files(8), output=tmp_path / "out", **OPTIONS)


def test_what_cannot_be_pickled_is_refused(tmp_path: Path, files: Callable[[int], str]) -> None:
    # Given a function that holds a lock of this process
    lock = threading.Lock()

    def locked(mini_batch: list[str]) -> list[str]:
        with lock:
            return mini_batch

    # When it is to run, then that is said before anything starts
    with pytest.raises(daskbatch.EntryScriptError, match=r"cannot be sent.*lock"):
        daskbatch.run(locked, files(2), output=tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


MAIN = """
    import sys
    import daskbatch
    from model import score        # a sibling of the program

    class Local:                   # of __main__ itself; there is no guard, and none is needed
        def run(self, mini_batch):
            return score(mini_batch)

    for number, entry in enumerate([score, Local]):
        run = daskbatch.run(entry, sys.argv[1], output=f"{sys.argv[2]}{number}", mini_batch_size=2, progress=False)
        print(run.status, len(run.to_pandas()))
"""


def test_objects_of_a_program_and_of_its_siblings(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a program whose model is in a module beside it
    program = script(MAIN, "program/main.py")
    script("def score(mini_batch):\n    return [len(path) for path in mini_batch]\n", "program/model.py")
    # When it is run from another folder
    command = [sys.executable, program, files(4), str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    # Then the runners find that module too
    assert ended.stdout.splitlines() == ["Completed 4", "Completed 4"], ended.stderr
