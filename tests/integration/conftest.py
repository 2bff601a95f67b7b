"""What the integration tests share: an entry script on disk, and the serial oracle beside a run."""

from __future__ import annotations

import functools
import os
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from results import Undisturbed

import daskbatch

MARK = "DASKBATCH_TEST_MARK"
"""As in the leak check, ``tests/conftest.py``."""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Write an entry script; return its path."""

    def write(text: str, name: str = "score.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


@pytest.fixture
def oracle(tmp_path: Path) -> Callable[..., bytes]:
    """What ``compute="serial"`` makes of the same entry and input: the bytes of its result."""

    def serially(entry: object, inputs: object, **options: Any) -> bytes:
        run = daskbatch.run(entry, inputs, output=tmp_path / "oracle", compute="serial", progress=False, **options)
        assert run.output_file is not None
        return run.output_file.read_bytes()

    return serially


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """What becomes of an input of that kind, see `results.KINDS`, when nothing is killed."""

    @functools.cache
    def run(kind: str) -> Undisturbed:
        return Undisturbed.of(kind, tmp_path_factory.mktemp(kind))

    return run


@pytest.fixture
def files(tmp_path: Path) -> Callable[[int], str]:
    """Make a folder of that many small files, ``f00.bin`` and so on; return its path."""

    def make(count: int) -> str:
        folder = tmp_path / "in"
        folder.mkdir()
        for number in range(count):
            (folder / f"f{number:02d}.bin").write_bytes(b"x" * number)
        return str(folder)

    return make


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fail, saying which, where it does not."""

    def wait(condition: Callable[[], object], what: str, timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"never came: {what}"
            time.sleep(0.01)

    return wait


@pytest.fixture
def descendants() -> Callable[[], list[psutil.Process]]:
    """Processes that this test has caused, orphans too, known by the mark that the leak check sets."""
    mark = os.environ[MARK]

    def find() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    return find
