from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from daskbatch.errors import RunFailed, SegmentDamaged
from daskbatch.store import segments
from daskbatch.store.segments import RECORD_BYTES, SegmentFolder, SegmentWriter, read_index, record_dtype
from daskbatch.types import UNKNOWN_ITEMS, Chunk, Record


def record(index: int, items: int = 1) -> Record:
    return Record(3, index, items, 1, 1, 99, 99, 0, 0.25)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SegmentWriter]:
    writer = SegmentWriter(tmp_path, "slot", roll_bytes=100)
    yield writer
    writer.close()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_made_before_there_is_something(writer: SegmentWriter, tmp_path: Path) -> None:
    assert writer.commit() is None
    writer.abandon()
    assert files(tmp_path) == []


def test_a_chunk_is_payloads_then_their_index(writer: SegmentWriter, tmp_path: Path) -> None:
    writer.append(record(0), b"one\n", "[]")
    writer.append(record(1, UNKNOWN_ITEMS), b"", "")
    writer.append(record(2), b"three\n", "[]")
    chunk = writer.commit()
    assert chunk is not None
    assert (chunk.segment, chunk.offset, chunk.index, chunk.count) == ("slot-0.seg", 0, 10, 3)
    data = (tmp_path / chunk.segment).read_bytes()
    assert len(data) == chunk.end
    assert data[:10] == b"one\nthree\n"
    records, signatures = read_index(SegmentFolder(tmp_path), chunk)
    assert signatures == ["[]", ""]
    found = [Record(*row) for row in records.tolist()]
    assert [(r.file, r.index, r.items, r.columns, r.length, r.seconds) for r in found] == [
        (3, 0, 1, 0, 4, 0.25), (3, 1, UNKNOWN_ITEMS, 1, 0, 0.25), (3, 2, 1, 0, 6, 0.25),
    ]  # fmt: skip
    assert [r.checksum for r in found] == [zlib.crc32(b"one\n"), 0, zlib.crc32(b"three\n")]
    assert record_dtype().itemsize == RECORD_BYTES


def test_the_checksum_of_who_made_the_payload_is_kept(writer: SegmentWriter, tmp_path: Path) -> None:
    writer.append(record(0)._replace(checksum=7), b"one\n", "[]")
    chunk = writer.commit()
    assert chunk is not None
    assert read_index(SegmentFolder(tmp_path), chunk)[0]["checksum"].tolist() == [7]


def test_chunks_follow_each_other_and_number_their_own_signatures(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    chunks = []
    for index, columns in enumerate(["a", "b"]):
        writer.append(record(index), b"x", columns)
        chunks.append(writer.commit())
    writer.close()
    first, second = chunks
    assert first is not None
    assert second is not None
    assert (second.segment, second.offset) == (first.segment, first.end)
    assert read_index(SegmentFolder(tmp_path), second)[1] == ["b"]


def test_a_full_segment_is_followed_by_another_between_chunks(writer: SegmentWriter, tmp_path: Path) -> None:
    for index in range(3):
        writer.append(record(index), b"x" * 80, "")
        writer.append(record(index + 10), b"x" * 80, "")
        writer.commit()
    assert files(tmp_path) == ["slot-0.seg", "slot-1.seg", "slot-2.seg"]


def test_an_existing_file_is_never_written_to(writer: SegmentWriter, tmp_path: Path) -> None:
    (tmp_path / "slot-0.seg").write_text("another life's")
    (tmp_path / "slot-1.seg").symlink_to(tmp_path / "elsewhere")
    writer.append(record(0), b"x", "")
    chunk = writer.commit()
    assert chunk is not None
    assert chunk.segment == "slot-2.seg"
    assert (tmp_path / "slot-0.seg").read_text() == "another life's"
    assert not (tmp_path / "elsewhere").exists()
    assert stat.S_IMODE((tmp_path / chunk.segment).stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [5, 3 * 2**20])
def test_what_is_abandoned_leaves_no_trace(tmp_path: Path, size: int) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    writer.append(record(0), b"kept", "")
    first = writer.commit()
    writer.append(record(1), b"x" * size, "other")
    writer.abandon()
    writer.append(record(2), b"next", "")
    second = writer.commit()
    writer.close()
    assert first is not None
    assert second is not None
    assert second.offset == first.end
    assert (tmp_path / second.segment).read_bytes()[second.offset : second.index] == b"next"
    assert read_index(SegmentFolder(tmp_path), second)[1] == [""]


def test_a_full_disk_costs_the_chunk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    writer.append(record(0), b"kept", "")
    writer.commit()

    def full(fd: int, pieces: list[bytes], size: int) -> None:
        os.write(fd, pieces[0][:2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments, "_write_pieces", full)
        writer.append(record(1), b"lost", "")
        with pytest.raises(OSError, match="No space"):
            writer.commit()
    writer.abandon()
    writer.append(record(1), b"again", "")
    chunk = writer.commit()
    writer.close()
    assert chunk is not None
    assert (tmp_path / chunk.segment).read_bytes()[chunk.offset : chunk.index] == b"again"


def test_bytes_of_someone_else_are_noticed(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    writer.append(record(0), b"x", "")
    writer.commit()
    with (tmp_path / "slot-0.seg").open("ab") as file:
        file.write(b"zombie")
    writer.append(record(1), b"x", "")
    with pytest.raises(SegmentDamaged, match="someone else"):
        writer.commit()
    writer.close()


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    monkeypatch.setattr(os, "writev", lambda fd, pieces: write(fd, b"".join(pieces)[:3]))
    writer = SegmentWriter(tmp_path, "slot")
    writer.append(record(0), b"0123456789", "")
    chunk = writer.commit()
    writer.close()
    assert chunk is not None
    assert read_index(SegmentFolder(tmp_path), chunk)[1] == [""]


def damaged(path: Path, change: str, chunk: Chunk) -> None:
    data = bytearray(path.read_bytes())
    if change == "gone":
        path.unlink()
        return
    if change == "short":
        del data[-1]
    else:
        data[chunk.index + 1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("change", ["gone", "short", "flipped"])
def test_damage_is_named(tmp_path: Path, change: str) -> None:
    writer = SegmentWriter(tmp_path, "slot")
    writer.append(record(0), b"x", "")
    chunk = writer.commit()
    writer.close()
    assert chunk is not None
    damaged(tmp_path / chunk.segment, change, chunk)
    with pytest.raises(SegmentDamaged, match=r"slot-0\.seg") as caught:
        read_index(SegmentFolder(tmp_path), chunk)
    assert isinstance(caught.value, RunFailed)
