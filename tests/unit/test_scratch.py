"""The scratch folder of a run on a worker."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from daskbatch.worker.scratch import Scratch


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_not_there_before_it_is_needed_nor_after(temporary: Path) -> None:
    scratch = Scratch(["process000", "process001"], b"object")
    assert list(temporary.iterdir()) == []
    # When two runners start
    scratch.make()
    scratch.make()
    # Then it is there, for its owner alone, with a folder for each and the object
    assert stat.S_IMODE(os.stat(scratch.path).st_mode) == 0o700
    assert sorted(os.listdir(scratch.path)) == ["entry.pickle", "process000", "process001"]
    assert scratch.pickle is not None
    assert Path(scratch.pickle).read_bytes() == b"object"
    assert os.path.isdir(scratch.working("process001"))
    # and it goes with all that is in it
    Path(scratch.working("process000"), "of-the-user").touch()
    scratch.remove()
    assert list(temporary.iterdir()) == []


def test_where_none_can_be_made_that_is_known_at_once(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(FileNotFoundError):
        Scratch(["process000"], None)
