"""What the integration tests share: an entry script on disk, and the serial oracle beside a run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch


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
        run = daskbatch.run(
            entry, inputs, output=tmp_path / "oracle", compute="serial", progress=False, **options
        )
        assert run.output_file is not None
        return run.output_file.read_bytes()

    return serially


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
