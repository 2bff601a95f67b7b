"""Objects of zero bytes, among them those that stand for folders, where a run's small objects lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_server import BOTH, Bucket

from daskbatch.remote.objects import fetch_below, read_many, read_object
from daskbatch.remote.options import checked

pytest_plugins = ["s3_services"]

both = pytest.mark.parametrize("s3", BOTH, indirect=True)


@both
def test_they_are_read_as_nothing(s3: Bucket) -> None:
    options = checked(s3.options)
    empty, full = s3.put("empty"), s3.put("full", b"x")
    assert read_many([empty], options) == [b""]
    assert read_many([full, empty, f"{s3.url}/none"], options) == [b"x", b"", None]
    assert read_object(empty, options) == b""


@both
def test_those_that_stand_for_folders_are_not_fetched(s3: Bucket, tmp_path: Path) -> None:
    for key in ("logs/", "logs/node/", "logs/empty.txt"):
        s3.put(key)
    s3.put("logs/node/full.txt", b"x")
    s3.put("logs/other/", b"some browsers put their own word there")
    fetch_below(f"{s3.url}/logs", tmp_path / "logs", checked(s3.options))
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"logs/empty.txt": b"", "logs/node/full.txt": b"x"}
