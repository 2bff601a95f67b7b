"""A big file is brought to the disk while it is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daskbatch.store import early_sync
from daskbatch.store.early_sync import EarlySync


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    yield fd
    os.close(fd)


def test_all_is_written_and_the_disk_begins_before_the_end(
    fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fdatasync(number: int) -> None:
        synced.append(number)
        os.fsync(number)

    monkeypatch.setattr(early_sync, "_fdatasync", fdatasync)
    file = EarlySync(fd, every=10)
    file.write(memoryview(b"12345"))
    assert synced == []
    file.write(memoryview(b"67890"))
    file.wait()
    assert synced == [fd]
    file.finish()
    assert (tmp_path / "file").read_bytes() == b"1234567890"


def test_a_small_file_takes_no_thread(fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_sync, "ThreadPoolExecutor", None)
    file = EarlySync(fd)
    file.write(memoryview(b"little"))
    file.finish()
    assert (tmp_path / "file").read_bytes() == b"little"


def test_what_the_disk_refuses_meanwhile_is_an_error_at_the_end(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(early_sync, "_fdatasync", refuse)
    file = EarlySync(fd, every=1)
    file.write(memoryview(b"x"))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        file.finish()


def test_what_the_disk_has_refused_ends_the_writing(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(early_sync, "_fdatasync", refuse)
    file = EarlySync(fd, every=1)
    file.write(memoryview(b"x"))
    file.wait()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.write(memoryview(b"y"))
