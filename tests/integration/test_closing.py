"""The end of a run on a worker: each step of it is taken, whatever goes wrong with another."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch
from daskbatch.store.segments import SegmentWriter

OPTIONS: dict[str, Any] = {
    "mini_batch_size": 1,
    "process_count_per_node": 2,
    "append_row_file_name": "result.txt",
    "progress": False,
}
ENTRY = """
    import os

    def run(mini_batch):
        return [os.path.basename(path) for path in mini_batch]
"""
GARBAGE_AT_THE_END = """
    def shutdown():
        for fd in range(3, 601):
            try:
                os.write(fd, b"x" * 100)
            except OSError:
                pass
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process and its children make temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


# That no process, pipe or thread is left is seen by the leak check.
def check(run: daskbatch.Run, scratch: Path) -> None:
    """The result is there, and nothing else."""
    assert run.output_file is not None
    assert run.output_file.read_text().split() == [f"f{number:02d}.bin" for number in range(6)]
    assert set(os.listdir(scratch)) <= {"dask-scratch-space"}


def test_garbage_from_shutdown(
    scratch: Path, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a shutdown() that writes into every descriptor
    entry = script(ENTRY + GARBAGE_AT_THE_END)
    # When the run ends, then nothing is left of it
    check(daskbatch.run(entry, files(6), output=tmp_path / "out", **OPTIONS), scratch)


def test_a_segment_that_cannot_be_closed(
    scratch: Path, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Given a filesystem that refuses when a file is closed: what was committed lies there all the same
    close = SegmentWriter.close

    def refuse(self: SegmentWriter) -> None:
        close(self)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(SegmentWriter, "close", refuse)
    # When the run ends, then nothing is left of it
    check(daskbatch.run(script(ENTRY), files(6), output=tmp_path / "out", **OPTIONS), scratch)
