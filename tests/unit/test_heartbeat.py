"""An engine's sign of life, as it writes it and as others see it."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from daskbatch.engine import heartbeat, owner
from daskbatch.engine.heartbeat import begin_heartbeat, is_over, read_heartbeat, stands_still, write_heartbeat
from daskbatch.engine.owner import this_process

ELSEWHERE = "another host"


def beat(number: int = 0, **more: Any) -> dict[str, Any]:
    """A beat of an engine on another host, so that only the beats themselves tell of it."""
    return {**this_process(), "place": ELSEWHERE, "since": "now", "beat": number, **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine-1.json"


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Look often; count the looks."""
    looked: list[float] = []
    sleep = heartbeat.time.sleep

    def look(seconds: float) -> None:
        looked.append(seconds)
        sleep(0.01)

    monkeypatch.setattr(heartbeat.time, "sleep", look)
    return looked


def never() -> bool:
    return False


def test_what_is_written_is_read(path: Path) -> None:
    begin_heartbeat(path, beat(0))
    assert read_heartbeat(path) == beat(0)
    write_heartbeat(path, beat(1, phase="run"))
    write_heartbeat(path, beat(2))  # shorter: nothing of the last one is left behind it
    assert read_heartbeat(path) == beat(2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_beat_of_a_killed_engine_makes_room(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("of another")
    path.symlink_to(other)
    begin_heartbeat(path, beat(0))
    assert read_heartbeat(path) == beat(0)
    assert other.read_text() == "of another"


def test_a_heart_does_not_beat_where_the_run_is_gone(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_heartbeat(path, beat(0))
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="engine-1"):
        write_heartbeat(path, beat(0))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("content", ["", "{", '{"beat": 1', "[1]", "null", "\udcff"])
def test_what_is_torn_is_no_beat(path: Path, content: str) -> None:
    path.write_text(content, errors="surrogateescape")
    assert read_heartbeat(path) is None


def test_where_there_is_no_file_there_is_no_beat(path: Path) -> None:
    assert read_heartbeat(path) is None


def test_a_beat_that_is_read_while_it_is_written_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text('{"beat": ')
    monkeypatch.setattr(heartbeat.time, "sleep", lambda _: begin_heartbeat(path, beat(7)))
    assert read_heartbeat(path) == beat(7)


def test_who_says_so_or_is_gone_is_over() -> None:
    assert not is_over(beat(0))
    assert is_over(beat(0, over=True))
    assert not is_over({**beat(0), **this_process()})
    assert is_over({**beat(0), **this_process(), "started": 0.0})


def test_a_heart_that_beats_does_not_stand_still(path: Path) -> None:
    begin_heartbeat(path, beat(0))
    ended = threading.Event()

    def live() -> None:
        number = 0
        while not ended.wait(0.01):
            number += 1
            write_heartbeat(path, beat(number))

    engine = threading.Thread(target=live)
    engine.start()
    try:
        assert not stands_still(path, never, seconds=60)
    finally:
        ended.set()
        engine.join()


def test_a_heart_that_does_not_beat_stands_still_after_that_time(path: Path, looks: list[float]) -> None:
    begin_heartbeat(path, beat(3))
    assert stands_still(path, never, seconds=0.2)
    assert len(looks) > 3


def test_a_file_without_a_beat_stands_still(path: Path) -> None:
    path.write_text("{")
    assert stands_still(path, never, seconds=0.1)


def test_a_first_beat_is_watched_from_when_it_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a watcher whose clock jumps to the end of its patience right after the first beat has come
    now = 0.0

    def look(_: float) -> None:
        nonlocal now
        if now == 0.0:
            begin_heartbeat(path, beat(0))
            now = 19.9
        else:
            write_heartbeat(path, beat(1))
            now = 21.0

    monkeypatch.setattr(heartbeat.time, "sleep", look)
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now)
    # Then it does not take that beat for the last
    assert not stands_still(path, never, seconds=20.0)


def test_a_dead_process_is_not_waited_for(path: Path, looks: list[float]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    begin_heartbeat(path, {**beat(0), **this_process(), "pid": child.pid})
    assert stands_still(path, never, seconds=60)
    assert looks == []


def test_a_process_that_dies_while_it_is_watched_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        me = {**this_process(), "pid": child.pid, "started": owner._started(child.pid)}
        begin_heartbeat(path, {**beat(0), **me})
        monkeypatch.setattr(heartbeat.time, "sleep", lambda _: child.communicate())
        assert stands_still(path, never, seconds=60)


def test_who_lets_go_while_it_is_watched_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_heartbeat(path, beat(0))
    monkeypatch.setattr(heartbeat.time, "sleep", lambda _: write_heartbeat(path, beat(0, over=True)))
    assert stands_still(path, never, seconds=60)


def test_watching_ends_where_it_has_become_pointless(path: Path) -> None:
    begin_heartbeat(path, beat(0))
    answers = iter([False, False, True])
    assert stands_still(path, lambda: next(answers), seconds=60)
