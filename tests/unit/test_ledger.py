from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path

import pytest

from daskbatch.errors import RunFailed
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import has_ended, is_begun, replay
from daskbatch.types import Chunk

CHUNKS = [Chunk("slot-0.seg", 0, 10, 60, 1, 123), Chunk("slot-1.seg", 60, 70, 120, 2, 456)]


def test_what_is_written_is_replayed(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "run-a")
    ledger.commit(CHUNKS[0])
    ledger.listed(1000, "5f2a")
    ledger.listed(2000, "77b0")
    ledger.attempt_failed((3, 17), 1, "ValueError")
    ledger.attempt_failed((3, 17), 2, "RunTimeout")
    ledger.failed((3, 17), "RunTimeout", {"mini_batch": "3-17"})
    ledger.commit(CHUNKS[1])
    ledger.close()
    found = replay(ledger.path)
    assert (found.run_id, found.epoch) == ("run-a", 1)
    assert found.chunks == CHUNKS
    assert found.listed == (2000, "77b0")
    assert found.tries == {(3, 17): 2}
    assert found.failed[3, 17]["entry"] == {"mini_batch": "3-17"}
    assert found.accepted == [("ledger-1.jsonl", ledger.path.stat().st_size)]
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_an_epoch_begins_once(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "ledger-1.jsonl", "a").close()
    with pytest.raises(FileExistsError):
        Ledger.create(tmp_path / "ledger-1.jsonl", "b")


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.close()
    ledger.close()


def test_only_commits_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(fd) or fsync(fd))
    ledger.attempt_failed((0, 0), 1, "ValueError")
    assert not synced
    ledger.commit(*CHUNKS)
    assert len(synced) == 1
    ledger.close()
    assert replay(ledger.path).chunks == CHUNKS


@pytest.mark.parametrize("keep", range(1, 20, 3))
def test_a_torn_last_line_does_not_count(tmp_path: Path, keep: int) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.commit(CHUNKS[0])
    whole = ledger.path.stat().st_size
    ledger.commit(CHUNKS[1])
    ledger.close()
    ledger.path.write_bytes(ledger.path.read_bytes()[: whole + keep])
    found = replay(ledger.path)
    assert found.chunks == CHUNKS[:1]
    assert found.accepted == [("ledger-1.jsonl", whole)]


def test_of_an_earlier_epoch_only_what_was_accepted_counts(tmp_path: Path) -> None:
    old = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    old.commit(CHUNKS[0])
    new = Ledger.create(tmp_path / "ledger-2.jsonl", "a", epoch=2, earlier=replay(old.path).accepted)
    old.commit(CHUNKS[1])
    new.commit(CHUNKS[1]._replace(segment="slot-2.seg"))
    old.close()
    new.close()
    found = replay(new.path)
    assert [chunk.segment for chunk in found.chunks] == ["slot-0.seg", "slot-2.seg"]
    assert found.epoch == 2
    assert [name for name, _ in found.accepted] == ["ledger-1.jsonl", "ledger-2.jsonl"]


def test_what_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger-1.jsonl"
    with pytest.raises(RunFailed, match="cannot be read"):
        replay(path)
    path.write_text("")
    with pytest.raises(RunFailed, match="no ledger"):
        replay(path)


def test_behind_a_damaged_line_nothing_counts(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.commit(CHUNKS[0])
    whole = ledger.path.stat().st_size
    ledger.commit(CHUNKS[1])
    ledger.close()
    data = ledger.path.read_bytes()
    ledger.path.write_bytes(data[:whole] + b"x" + data[whole + 1 :] + data[whole:])
    found = replay(ledger.path)
    assert found.chunks == CHUNKS[:1]
    assert found.accepted == [("ledger-1.jsonl", whole)]
    assert f"damaged after {whole} bytes" in found.damage[0]


@pytest.mark.parametrize("damage", ["digit", "missing"])
def test_a_line_that_is_still_json_is_not_what_was_written(tmp_path: Path, damage: str) -> None:
    """Every line of it: a flipped digit in it, or the line taken away."""
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.commit(CHUNKS[0], streams=[4])
    ledger.failed((3, 17), "RunTimeout")
    ledger.commit(streams=[5])
    ledger.end("Failed")
    ledger.close()
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines) - 1):
        digit = re.sub(rb"(\d)", lambda found: b"%d" % (9 - int(found[0])), lines[number], count=1)
        assert digit != lines[number]
        changed = [digit] if damage == "digit" else []
        ledger.path.write_bytes(b"".join([*lines[:number], *changed, *lines[number + 1 :]]))
        found = replay(ledger.path)
        assert found.accepted == [("ledger-1.jsonl", len(b"".join(lines[:number])))]
        assert (found.damage != [], found.streams, found.ended) == (True, set(), None)


def test_an_earlier_ledger_that_is_gone_or_short_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "ledger-3.jsonl"
    earlier = [["ledger-1.jsonl", 50], ["ledger-2.jsonl", 99]]
    path.write_text(json.dumps({"epoch": 3, "run": "a", "earlier": earlier}) + "\n")
    (tmp_path / "ledger-2.jsonl").write_text(json.dumps({"epoch": 2, "run": "a", "earlier": []}) + "\n")
    found = replay(path)
    assert "ledger-1.jsonl cannot be read" in found.damage[0]
    assert "99 of them had been accepted" in found.damage[1]
    assert (found.chunks, found.epoch) == ([], 3)


def test_damaged_chunks_and_cleared_failures_do_not_count(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.attempt_failed((3, 17), 1, "ValueError")
    ledger.failed((3, 17), "ValueError", {"mini_batch": "3-17"})
    ledger.failed((4, 0), "MissingItems", {"mini_batch": "4-0", "missing": 2})
    ledger.commit(*CHUNKS, streams=[7])
    assert replay(ledger.path).streams == {7}
    ledger.void(CHUNKS[:1])
    ledger.clear()
    ledger.end("Failed")
    ledger.close()
    found = replay(ledger.path)
    assert found.chunks == CHUNKS[1:]
    assert (found.tries, found.tried, list(found.failed)) == ({}, 1, [(4, 0)])
    assert found.streams == set()
    assert found.ended == "Failed"
    assert has_ended(ledger.path)


def test_what_is_gathered_counts_in_the_place_of_its_parts(tmp_path: Path) -> None:
    whole, other = Chunk("gathered-1.seg", 0, 80, 180, 3, 789), Chunk("slot-1.seg", 0, 8, 60, 1, 12)
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.commit(*CHUNKS, other)
    ledger.gathered(whole, CHUNKS)
    ledger.close()
    assert replay(ledger.path).chunks == [other, whole]
    # Also where the line is an earlier epoch's
    second = Ledger.create(
        tmp_path / "ledger-2.jsonl", "a", epoch=2, earlier=[("ledger-1.jsonl", ledger.path.stat().st_size)]
    )
    second.void([whole])
    second.close()
    assert replay(second.path).chunks == [other]


def test_an_epoch_without_a_whole_header_has_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "ledger-1.jsonl"
    assert not is_begun(path)
    path.write_text('{"epoch": 1, "run": "a"')
    assert not is_begun(path)
    path.write_text('{"epoch": 1, "run": "a", "earlier": []}\n{"chu')
    assert is_begun(path)
    assert not has_ended(path)


def test_a_full_disk_leaves_whole_lines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "a")
    ledger.commit(CHUNKS[0])
    write = os.write

    def full(fd: int, data: bytes) -> int:
        write(fd, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunFailed, match="No space left on device"):
        ledger.commit(CHUNKS[1])
    monkeypatch.setattr(os, "write", write)
    ledger.end("Failed")
    ledger.close()
    found = replay(ledger.path)
    assert (found.chunks, found.ended, found.damage) == (CHUNKS[:1], "Failed", [])
