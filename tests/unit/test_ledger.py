from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from daskbatch.errors import RunFailed
from daskbatch.store.ledger import Ledger, replay
from daskbatch.types import Chunk

CHUNKS = [Chunk("slot-0.seg", 0, 10, 60, 1, 123), Chunk("slot-1.seg", 60, 70, 120, 2, 456)]


def test_what_is_written_is_replayed(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger-1.jsonl", "run-a")
    ledger.commit(CHUNKS[0])
    ledger.attempt_failed((3, 17), 1, "ValueError")
    ledger.attempt_failed((3, 17), 2, "RunTimeout")
    ledger.failed((3, 17), "RunTimeout", {"mini_batch": "3-17"})
    ledger.commit(CHUNKS[1])
    ledger.close()
    found = replay(ledger.path)
    assert (found.run_id, found.epoch) == ("run-a", 1)
    assert found.chunks == CHUNKS
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


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger-1.jsonl"
    with pytest.raises(RunFailed, match="cannot be read"):
        replay(path)
    path.write_text("")
    with pytest.raises(RunFailed, match="no ledger"):
        replay(path)
    header = json.dumps({"epoch": 1, "run": "a", "earlier": []})
    path.write_text(f'{header}\n{{"chunk": [\n{{}}\n')
    with pytest.raises(RunFailed, match="line 2"):
        replay(path)
    path.write_text(json.dumps({"epoch": 2, "run": "a", "earlier": [["ledger-0.jsonl", 99]]}) + "\n")
    (tmp_path / "ledger-0.jsonl").write_text(header + "\n")
    with pytest.raises(RunFailed, match="99 of them had been accepted"):
        replay(path)
