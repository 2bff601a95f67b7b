"""Where a node's own disk is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from daskbatch.spec import Fetched
from daskbatch.worker.fetched import ScriptFiles
from daskbatch.worker.local_scratch import local_scratch
from daskbatch.worker.scratch import Scratch


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "usual"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    return folder


def test_a_jobs_own_goes_first(usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_scratch() == str(usual)
    (tmp_path / "job").mkdir()
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "job"))
    assert local_scratch() == str(tmp_path / "job")
    # and what a run keeps on a node is there
    assert os.path.dirname(Scratch(["process000"], None).path) == str(tmp_path / "job")
    assert os.path.dirname(ScriptFiles("run", [Fetched("s3://b/k", "object")]).folder) == str(tmp_path / "job")


@pytest.mark.parametrize("given", ["missing", "relative", "a file", ""])
def test_one_that_is_not_there_is_passed_by(
    given: str, usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "relative").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_TMPDIR", given if given in ("relative", "") else str(tmp_path / given))
    assert local_scratch() == str(usual)
