"""The plan that an earlier engine has put to a store, where it is not what it was."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from daskbatch.engine import prefix


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"x" * 100)[:-12], gzip.compress(b"x")[:10] + b"\xff" * 20],
    ids=["empty", "other", "cut", "damaged"],
)
def test_it_cannot_be_had_and_that_is_all(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "read_object", lambda *_: data)
    folder = prefix.RunPrefix("s3://bucket/out", tmp_path)
    folder.plan.parent.mkdir(parents=True, exist_ok=True)
    folder.fetch_plan("0" * 64)
    assert not folder.plan.exists() or folder.plan.read_bytes() == b""
