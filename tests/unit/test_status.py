"""How a run is, by its files alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daskbatch.engine import status as module
from daskbatch.engine.epoch import Epoch
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.heartbeat import read_heartbeat, write_heartbeat
from daskbatch.engine.planning import digest_of_inputs, plan_run
from daskbatch.engine.status import ask_to_cancel, read_status
from daskbatch.errors import UsageError
from daskbatch.events import Progress
from daskbatch.options import make_spec
from daskbatch.types import Chunk

PROGRESS = Progress(1.0, 2.5, 40, True, 12, 1, 120, 10, 3, 2, 5.6)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "out")
    folder.create()
    return folder


@pytest.fixture
def own(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Epoch]]:
    """Begin an epoch whose heart beats as often as is said, else never."""
    began: list[Epoch] = []

    def begin(every: float = 3600.0) -> Epoch:
        monkeypatch.setattr(RunFolder, "beat_every", every)
        began.append(Epoch(folder, folder.latest_epoch() + 1, "the-run"))
        return began[-1]

    yield begin
    for epoch in began:
        epoch.close(None)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heartbeats that were watched; each stood still."""
    found: list[int] = []
    monkeypatch.setattr(module, "stands_still", lambda number, over, seconds, every, read: found.append(number) or True)
    return found


def plan(folder: RunFolder, epoch: Epoch) -> None:
    """Plan a run of five mini-batches."""
    inputs = folder.output.parent / "in"
    inputs.mkdir()
    for number in range(5):
        (inputs / f"f{number}.bin").write_bytes(b"x")
    script = folder.output.parent / "score.py"
    script.write_text("def run(mini_batch): return mini_batch")
    spec = make_spec(str(script), [str(inputs)], output=str(folder.output), mini_batch_size=1)
    assert digest_of_inputs(spec, None)()
    plan_run(spec, folder, "the-run", None, epoch.look)


def summarise(folder: RunFolder, **more: Any) -> None:
    content = {"status": "?", "error": None, "mini_batches": {"total": 5, "succeeded": 5, "failed": 0}, **more}
    (folder.output / "run_summary.json").write_text(json.dumps(content))


def elsewhere(folder: RunFolder, **more: Any) -> None:
    """Have the heartbeat be that of another host's engine."""
    path = folder.heartbeat(1)
    content = read_heartbeat(path)
    assert content is not None
    write_heartbeat(path, {**content, "host": "node7", "pid": 4242, "place": "node7", **more})


def yesterday(path: Path) -> None:
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 86_400))


@pytest.mark.parametrize("name", ["", "out", "out/.daskbatch"])
def test_where_there_is_no_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UsageError, match="There is no run in") as caught:
        read_status(RunFolder(tmp_path / "out"))
    assert str(tmp_path / "out") in str(caught.value)


def test_while_it_is_planned(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own()
    status = read_status(folder)
    assert (status.state, status.epoch, status.phase, status.run_id) == ("Running", 1, "plan", "the-run")
    assert (status.committed, status.total, status.progress, status.summary) == (0, None, None, None)
    assert status.owner is not None
    assert status.owner.startswith(f"process {os.getpid()} on ")
    assert "  in phase plan after 0 s" in status.text


def test_while_it_runs(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own(every=0.01)
    plan(folder, epoch)
    epoch.ledger.commit(Chunk("slot-0.seg", 0, 1, 2, 3, 4))
    epoch.enter("run")
    epoch.show(PROGRESS)
    while (status := read_status(folder)).progress is None:
        pass
    assert (status.state, status.phase, status.committed, status.total) == ("Running", "run", 3, 5)
    *_, phase, committed = status.text.splitlines()
    assert phase.startswith("  in phase run after ")
    assert phase.endswith(" s: 12 of 40 mini-batches done, 1 failed (10 items), about 6 s left")
    assert committed == "  3 of 5 mini-batches are committed"
    assert json.loads(json.dumps(status.as_json())) == {
        "output": str(folder.output), "run_id": "the-run", "state": "Running", "epoch": 1, "owner": status.owner,
        "phase": "run", "seconds": status.seconds, "committed": 3, "total": 5, "summary": None,
        "progress": {
            "elapsed": 2.5, "mini_batches_total": 40, "total_is_exact": True, "mini_batches_done": 12,
            "mini_batches_failed": 1, "items_done": 120, "items_failed": 10, "retries": 3, "slots": 2, "remaining": 5.6,
            "total_is_least": False,
        },
    }  # fmt: skip


def test_a_guess_is_called_one(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own()
    guess = {name: getattr(PROGRESS, name) for name in PROGRESS.__dataclass_fields__}
    elsewhere(folder, progress={**guess, "total_is_exact": False, "remaining": None})
    assert read_status(folder).text.splitlines()[2].endswith("12 of about 40 mini-batches done, 1 failed (10 items)")


def test_a_heartbeat_of_another_host_that_is_fresh_is_believed(
    folder: RunFolder, own: Callable[..., Epoch], watched: list[int]
) -> None:
    own()
    elsewhere(folder)
    status = read_status(folder)
    assert status.state == "Running"
    assert "process 4242 on node7, since 20" in status.text
    assert watched == []


def test_where_clocks_differ_it_is_watched_instead(
    folder: RunFolder, own: Callable[..., Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an engine that beats, by a clock that is a day behind
    own(every=0.01)
    now = time.time
    monkeypatch.setattr(module.time, "time", lambda: now() + 86_400)
    assert read_status(folder).state == "Running"


def test_an_engine_whose_process_is_gone_is_lost(
    folder: RunFolder, own: Callable[..., Epoch], watched: list[int]
) -> None:
    plan(folder, own())
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    content = read_heartbeat(folder.heartbeat(1))
    assert content is not None
    write_heartbeat(folder.heartbeat(1), {**content, "pid": child.pid})
    status = read_status(folder)
    assert (status.state, status.phase, status.progress, status.summary) == ("Lost", None, None, None)
    assert f"process {child.pid} on" in status.text
    assert f"Next: daskbatch resume {folder.output}" in status.text
    assert watched == []


def test_a_heart_that_stands_still_is_watched_then_lost(
    folder: RunFolder, own: Callable[..., Epoch], watched: list[int]
) -> None:
    own()
    elsewhere(folder)
    yesterday(folder.heartbeat(1))
    assert read_status(folder).state == "Lost"
    assert watched == [1]


def test_an_engine_without_a_heartbeat_is_lost(
    folder: RunFolder, own: Callable[..., Epoch], watched: list[int]
) -> None:
    own()
    folder.heartbeat(1).unlink()
    status = read_status(folder)
    assert (status.state, status.owner) == ("Lost", None)


def test_an_end_while_it_is_watched_is_seen(
    folder: RunFolder, own: Callable[..., Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = own()
    elsewhere(folder)
    yesterday(folder.heartbeat(1))

    def end(number: int, over: Callable[[], bool], *_: object) -> bool:
        assert not over()
        summarise(folder, status="Completed")
        epoch.close("Completed")
        assert over()
        return True

    monkeypatch.setattr(module, "stands_still", end)
    status = read_status(folder)
    assert (status.state, status.owner) == ("Completed", None)
    assert status.summary is not None


def test_a_heartbeat_that_goes_while_it_is_looked_at(
    folder: RunFolder, own: Callable[..., Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an engine that ends right after its last beat was read
    epoch = own()

    def end(content: dict[str, Any]) -> bool:
        epoch.close("Failed")
        return False

    monkeypatch.setattr(module, "is_over", end)
    assert read_status(folder).state == "Failed"


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_after_an_end_that_can_be_gone_on_from(state: str, folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    plan(folder, epoch)
    summarise(folder, status=state, error={"type": "X", "message": "the reason why"})
    epoch.close(state)
    status = read_status(folder)
    assert (status.state, status.owner, status.total) == (state, None, 5)
    assert status.text.splitlines() == [
        f"{state}: run the-run in {folder.output}",
        "  the reason why",
        "  0 of 5 mini-batches are committed",
        f"  Next: daskbatch resume {folder.output}",
    ]


@pytest.mark.parametrize("failed", [0, 2])
def test_after_a_complete_end(failed: int, folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    plan(folder, epoch)
    epoch.ledger.commit(Chunk("slot-0.seg", 0, 1, 2, 5 - failed, 4))
    summarise(folder, status="Completed", mini_batches={"total": 5, "succeeded": 5 - failed, "failed": failed})
    epoch.close("Completed")
    status = read_status(folder)
    assert status.state == "Completed"
    lines = status.text.splitlines()
    assert lines[1] == f"  {5 - failed} of 5 mini-batches are committed"
    more = [f"  2 failed. To try them again: daskbatch retry-failed {folder.output}"] if failed else []
    assert lines[2:] == more


def test_an_end_without_a_summary(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own().close("Completed")
    for content in (None, "{", "[]"):
        if content is not None:
            (folder.output / "run_summary.json").write_text(content)
        status = read_status(folder)
        assert (status.state, status.summary) == ("Completed", None)
        assert "Completed: run the-run" in status.text


def test_a_record_that_is_damaged_hides_only_the_total(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    plan(folder, epoch)
    folder.record.write_text("{")
    status = read_status(folder)
    assert (status.state, status.total) == ("Running", None)


def test_the_latest_epoch_counts(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own().close("Failed")
    own()
    status = read_status(folder)
    assert (status.state, status.epoch) == ("Running", 2)


def test_cancel_leaves_word(folder: RunFolder, own: Callable[..., Epoch]) -> None:
    epoch = own()
    assert ask_to_cancel(folder).state == "Running"
    ask_to_cancel(folder)  # a second time does no harm
    assert folder.cancel.exists()
    assert folder.cancel.stat().st_mode & 0o777 == 0o600
    epoch.look()
    assert epoch._stop is not None


@pytest.mark.parametrize("state", ["Completed", "Failed", "Canceled", "Lost"])
def test_there_is_nothing_to_cancel(state: str, folder: RunFolder, own: Callable[..., Epoch]) -> None:
    own().close(None if state == "Lost" else state)
    with pytest.raises(UsageError, match=f"the last one there is {state}. There is nothing to cancel"):
        ask_to_cancel(folder)
    assert not folder.cancel.exists()
