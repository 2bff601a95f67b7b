"""Which files of a folder are put to a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daskbatch.layout import MODELS_USED_VARIABLE
from daskbatch.remote import uploads
from daskbatch.remote.uploads import Uploads
from daskbatch.worker.model_pins import pinned


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URLs that were put."""
    urls: list[str] = []
    monkeypatch.setattr(uploads, "put_whole_file", lambda url, *_: urls.append(url))
    return urls


def test_a_note_of_a_model_is_put_when_it_is_whole(
    tmp_path: Path, put: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given uploads that come right when a note is written, under the name that it has meanwhile
    folder, link, seen = tmp_path / "models", os.link, []
    sender = Uploads({str(folder): "s3://b/models"})

    def link_later(source: str, target: str) -> None:
        seen.append(os.path.basename(source))
        sender.send()
        link(source, target)

    monkeypatch.setattr(os, "link", link_later)
    assert pinned({MODELS_USED_VARIABLE: str(folder)}, str(tmp_path), "m", 3) == 3
    # Then nothing was put
    assert (len(seen), put) == (1, [])
    # and the note itself is, later
    sender.send()
    (name,) = os.listdir(folder)
    assert put == [f"s3://b/models/{name}"]


def test_a_script_may_write_what_ends_so(tmp_path: Path, put: list[str]) -> None:
    (tmp_path / "mine.tmp").touch()
    Uploads({str(tmp_path): "s3://b/out"}).send()
    assert put == ["s3://b/out/mine.tmp"]
