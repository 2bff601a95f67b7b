"""What a run does about what it finds in its output folder."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daskbatch.engine import begin as module
from daskbatch.engine import planning
from daskbatch.engine.begin import Beginning, Begun, begin, last_life
from daskbatch.engine.epoch import Epoch
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.planning import digest_of_inputs, plan_run
from daskbatch.engine.run import execute
from daskbatch.errors import InputError, OutputInUse, RunCanceled, RunChanged, RunFailed, TakenOver, UsageError
from daskbatch.events import Event, Notice
from daskbatch.options import make_spec
from daskbatch.report import SummaryFiles
from daskbatch.spec import RunSpec
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import is_begun, replay

# The files named in "bad" fail.
SCRIPT = """
from pathlib import Path

def run(mini_batch):
    names = [Path(path).stem for path in mini_batch]
    if set(names) & set(Path(__file__).with_name("bad").read_text().split()):
        raise ValueError("bad item")
    return names
"""
# An engine at work in the output folder given, until its stdin ends.
ENGINE = """
import sys
from pathlib import Path
from daskbatch.engine import epoch
from daskbatch.engine.folder import RunFolder

RunFolder.beat_every = 0.01
folder = RunFolder(Path(sys.argv[1]))
folder.create()
own = epoch.Epoch(folder, folder.latest_epoch() + 1, "another")
print(flush=True)
sys.stdin.read()
own.close(None)
"""


class Place:
    """An output folder, and the run that is meant for it."""

    def __init__(self, folder: Path) -> None:
        self.script, self.bad, self.inputs = folder / "score.py", folder / "bad", folder / "in"
        self.output = folder / "out"
        self.folder = RunFolder(self.output)
        self.told: list[Event] = []
        self._began: list[Begun] = []
        self.script.write_text(SCRIPT)
        self.bad.touch()
        self.inputs.mkdir()
        for number in range(4):
            (self.inputs / f"f{number}.bin").write_bytes(b"x")

    def spec(self, **options: Any) -> RunSpec:
        given = {"mini_batch_size": 1, "compute": "serial", "run_max_try": 1, "error_threshold": -1, **options}
        return make_spec(str(self.script), [str(self.inputs)], output=str(self.output), **given)

    def run(self, **options: Any) -> dict[str, Any]:
        """Run it, here and now."""
        return execute(self.spec(**options), [SummaryFiles(self.output)])

    def stop(self) -> None:
        """Run it until it fails."""
        self.bad.write_text("f2")
        with pytest.raises(RunFailed):
            self.run(error_threshold=0)
        self.bad.write_text("")

    def begin(self, *, fresh: bool = False, reuse: bool = True, retry: bool = False, **options: Any) -> Begun:
        """Only begin it."""
        spec = self.spec(**options)
        self.told.clear()
        how = Beginning(fresh, reuse, retry)
        begun = begin(spec, self.folder, how, digest_of_inputs(spec, None), self.told.append)
        self._began.append(begun)
        return begun

    def close(self) -> None:
        for begun in self._began:
            if begun.epoch is not None:
                begun.epoch.close(None)

    def content(self) -> dict[str, str]:
        """All that is in the output folder."""
        return {
            str(path.relative_to(self.output)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in self.output.rglob("*")
        }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def is_new(begun: Begun, epoch: int = 1) -> bool:
    """Whether it is a run that has still to be planned."""
    return begun.epoch is not None and begun.epoch.number == epoch and begun.record is None and begun.found is None


def goes_on(begun: Begun, epoch: int = 2) -> bool:
    """Whether it goes on with what is there."""
    return begun.epoch is not None and begun.epoch.number == epoch and begun.record is not None


def done(begun: Begun) -> int:
    """Mini-batches that are done already."""
    assert begun.found is not None
    return sum(chunk.count for chunk in begun.found.chunks)


# Nothing there


def test_a_folder_that_is_not_there_is_claimed(place: Place) -> None:
    assert is_new(place.begin())
    assert place.told == []


@pytest.mark.parametrize("name", ["run_summary.json", "failed_items.jsonl", "predictions.csv"])
def test_files_of_unknown_origin_are_left_alone(name: str, place: Place) -> None:
    place.output.mkdir()
    (place.output / name).write_text("mine")
    before = place.content()
    with pytest.raises(UsageError, match=name) as caught:
        place.begin()
    assert "--fresh" in str(caught.value)
    assert place.content() == before


def test_fresh_takes_reports_of_unknown_origin_away_and_leaves_the_result(place: Place) -> None:
    place.output.mkdir()
    for name in ("run_summary.json", "failed_items.jsonl", "predictions.csv", "notes.txt"):
        (place.output / name).write_text("mine")
    assert is_new(place.begin(fresh=True))
    assert sorted(path.name for path in place.output.iterdir()) == [".daskbatch", "notes.txt", "predictions.csv"]


def test_without_a_run_nothing_can_be_tried_again(place: Place) -> None:
    with pytest.raises(UsageError, match=r"There is no run in .*out"):
        place.begin(retry=True)
    assert not place.output.exists()


def test_a_run_that_was_killed_before_it_was_planned_is_planned(place: Place) -> None:
    # Given an engine that was killed while it planned
    place.begin()
    place.close()
    assert is_new(place.begin(), epoch=2)
    # and one that was killed before it had written a line
    place.close()
    place.folder.ledger(3).touch()
    place.folder.heartbeat(3).unlink(missing_ok=True)
    assert last_life(place.folder).number == 3


def test_a_torn_ledger_is_of_an_engine_that_had_not_begun(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.stop()
    place.folder.ledger(2).write_text('{"epo')
    monkeypatch.setattr(module, "stands_still", lambda *_: True)
    begun = place.begin()
    assert goes_on(begun, epoch=3)
    assert done(begun) == 2


# An unfinished run


def test_an_unfinished_run_goes_on(place: Place) -> None:
    place.stop()
    run_id = json.loads((place.output / "run_summary.json").read_text())["run_id"]
    begun = place.begin(error_threshold=0)
    assert goes_on(begun)
    assert begun.run_id == run_id
    assert done(begun) == 2
    assert list(begun.found.failed) == [(2, 0)]
    # and whoever comes next knows of both
    assert [name for name, _ in replay(place.folder.ledger(2)).accepted] == ["ledger-1.jsonl", "ledger-2.jsonl"]


@pytest.mark.parametrize(
    "option",
    [
        {"error_threshold": 3}, {"allowed_failed_count": 1}, {"run_max_try": 5}, {"run_invocation_timeout": 7},
        {"process_count_per_node": 3}, {"compute": "local"}, {"logging_level": "DEBUG"},
    ],
)  # fmt: skip
def test_an_unfinished_run_goes_on_by_other_rules(option: dict[str, Any], place: Place) -> None:
    place.stop()
    assert goes_on(place.begin(**option))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"mini_batch_size": 2}, "mini_batch_size was 1, now 2"),
        ({"arguments": ["--model", "m"]}, "arguments"),
        ({"append_row_file_name": "scores.csv"}, "append_row_file_name"),
        ({"environment_variables": {"TOKEN": "xyzzy"}}, "TOKEN is new"),
        ({"output_action": "summary_only"}, "output_action was append_row, now summary_only"),
    ],
)
@pytest.mark.parametrize("completed", [False, True])
def test_another_run_is_refused(completed: bool, option: dict[str, Any], told: str, place: Place) -> None:
    place.run() if completed else place.stop()
    before = place.content()
    with pytest.raises(RunChanged, match=told) as caught:
        place.begin(**option)
    message = str(caught.value)
    assert str(place.output) in message
    assert ("a completed run" if completed else "an unfinished run") in message
    assert "--fresh" in message
    assert "another output folder" in message
    assert "xyzzy" not in message
    assert place.content() == before


def test_another_script_is_another_run(place: Place) -> None:
    place.stop()
    place.script.write_text(SCRIPT + "\n# better\n")
    with pytest.raises(RunChanged, match=r"the entry script .*score\.py has changed"):
        place.begin()


def test_all_differences_are_told(place: Place) -> None:
    place.stop()
    with pytest.raises(RunChanged) as caught:
        place.begin(mini_batch_size=2, arguments=["a"], header="none")
    lines = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == ["mini_batch_size", "header", "arguments"]


def test_what_engines_that_were_killed_have_left_goes(place: Place) -> None:
    # Given a run that was asked to end when it was killed, and one that was killed while it was discarded
    place.stop()
    for name in (".daskbatch/cancel", ".daskbatch/run_summary.json.tmp", ".daskbatch/segments/1234.tmp"):
        (place.output / name).touch()
    (place.output / ".daskbatch.0123.discarded").mkdir()
    begun = place.begin()
    assert begun.epoch is not None
    assert begun.epoch.look() is None
    assert not list(place.output.rglob("*.tmp"))
    assert not list(place.output.glob("*.discarded"))
    assert not place.folder.cancel.exists()
    assert place.folder.heartbeat(2).exists()
    assert not place.folder.heartbeat(1).exists()


# A completed run


@pytest.mark.parametrize(
    "option", [{}, {"process_count_per_node": 3}, {"compute": "local"}, {"node_count": 2}, {"logging_level": "DEBUG"}]
)
def test_a_completed_run_is_reused(option: dict[str, Any], place: Place) -> None:
    summary = place.run()
    before = place.content()
    begun = place.begin(**option)
    assert begun.epoch is None
    assert begun.summary is not None
    assert (begun.summary["status"], begun.summary["run_id"]) == ("Completed", summary["run_id"])
    assert place.content() == before
    assert place.told == []


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"error_threshold": 0}, "error_threshold was -1, now 0"),
        ({"run_max_try": 2}, "run_max_try was 1, now 2"),
        ({"run_invocation_timeout": 1}, "run_invocation_timeout was 60, now 1"),
    ],
)
def test_a_run_that_was_completed_by_other_rules_is_not_reused(option: dict[str, Any], told: str, place: Place) -> None:
    place.run()
    with pytest.raises(RunChanged, match=told):
        place.begin(**option)


def test_a_result_without_a_file_is_reused_too(place: Place) -> None:
    place.run(output_action="summary_only")
    assert place.begin(output_action="summary_only").summary is not None


def test_no_reuse_and_fresh_run_anew(place: Place) -> None:
    for given in ({"reuse": False}, {"fresh": True}):
        place.run()
        (place.output / "predictions.partial.csv").touch()
        assert is_new(place.begin(**given))
        place.close()
        # Then the old result stays until the new one is there, and nothing else of the old run
        names = sorted(path.name for path in place.output.iterdir())
        assert names == [".daskbatch", "logs", "predictions.csv"]
        assert not place.folder.record.exists()


def test_no_reuse_goes_on_with_an_unfinished_run(place: Place) -> None:
    place.stop()
    assert goes_on(place.begin(reuse=False))


def test_fresh_takes_what_has_changed(place: Place) -> None:
    place.stop()
    assert is_new(place.begin(fresh=True, mini_batch_size=2))


def test_fresh_without_its_input_costs_nothing(place: Place) -> None:
    place.run()
    for path in place.inputs.iterdir():
        path.unlink()
    before = place.content()
    with pytest.raises(UsageError):
        place.begin(fresh=True)
    assert place.content() == before


@pytest.mark.parametrize("change", ["gone", "longer", "no summary", "torn summary", "odd summary"])
def test_a_result_that_is_not_what_it_was_is_made_anew(change: str, place: Place) -> None:
    place.run()
    result, summary = place.output / "predictions.csv", place.output / "run_summary.json"
    if change == "gone":
        result.unlink()
    elif change == "longer":
        result.write_text(result.read_text() + "f9\n")
    elif change == "no summary":
        summary.unlink()
    else:
        summary.write_text("{" if change == "torn summary" else "[]")
    assert is_new(place.begin())
    (notice,) = place.told
    assert isinstance(notice, Notice)
    assert "its result is gone or changed" in notice.message


def test_a_result_whose_parts_are_there_is_only_combined_again(place: Place) -> None:
    # Given a run with a failure, whose segments stay for that
    place.bad.write_text("f1")
    place.run()
    (place.output / "predictions.csv").unlink()
    begun = place.begin()
    assert goes_on(begun)
    assert done(begun) == 3
    assert list(begun.found.failed) == [(1, 0)]


# Failures that are to be tried again


def test_failures_of_a_completed_run_are_tried_again(place: Place) -> None:
    place.bad.write_text("f1")
    place.run()
    begun = place.begin(retry=True, run_invocation_timeout=600)
    assert goes_on(begun)
    assert done(begun) == 3
    assert (begun.found.failed, begun.found.tries) == ({}, {})
    assert replay(place.folder.ledger(2)).failed == {}


def test_failures_of_a_failed_run_are_tried_again(place: Place) -> None:
    place.stop()
    begun = place.begin(retry=True)
    assert goes_on(begun)
    assert (done(begun), begun.found.failed) == (2, {})


def test_where_nothing_failed_there_is_nothing_to_try_again(place: Place) -> None:
    place.run()
    assert place.begin(retry=True).summary is not None


def test_what_is_tried_again_must_be_the_same_run(place: Place) -> None:
    place.bad.write_text("f1")
    place.run()
    with pytest.raises(RunChanged, match="mini_batch_size"):
        place.begin(retry=True, mini_batch_size=2)


# Damage


def test_a_damaged_record_is_told_of(place: Place) -> None:
    place.stop()
    content = place.folder.record.read_text()
    for damaged in ("", content[:-20], "[]", "{}", content.replace('"files": 4', '"files": 3'), "\xff"):
        place.folder.record.write_text(damaged, encoding="latin-1")
        before = place.content()
        with pytest.raises(UsageError, match=r"run\.json' is damaged") as caught:
            place.begin()
        assert "--fresh" in str(caught.value)
        assert place.content() == before
    assert is_new(place.begin(fresh=True))


def test_a_damaged_plan_is_made_again(place: Place) -> None:
    place.stop()
    plan = place.folder.plan.read_bytes()
    for damaged in (plan[:-5], plan.replace(b"f1.bin", b"f7.bin"), b"", None):
        if damaged is None:
            place.folder.plan.unlink()
        else:
            place.folder.plan.write_bytes(damaged)
        with pytest.raises(RunFailed):
            place.run(error_threshold=0)
        assert place.folder.plan.read_bytes() == plan


# Others


@pytest.fixture
def engine(place: Place) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the run."""
    command = [sys.executable, "-c", ENGINE, str(place.output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("given", [{}, {"fresh": True}, {"retry": True}])
def test_a_run_that_is_going_on_is_left_alone(given: dict[str, bool], place: Place, engine: Any) -> None:
    with pytest.raises(OutputInUse, match=f"is in use by process {engine.pid} on ") as caught:
        place.begin(**given)
    assert f"daskbatch cancel {place.output}" in str(caught.value)
    assert "since 20" in str(caught.value)
    # and the user was told what is waited for
    (notice,) = place.told
    assert isinstance(notice, Notice)
    assert f"process {engine.pid}" in notice.message
    assert place.folder.latest_epoch() == 1


def test_an_engine_that_was_killed_is_not_waited_for(place: Place, engine: Any) -> None:
    engine.kill()
    engine.wait()
    began = time.monotonic()
    assert is_new(place.begin(), epoch=2)
    assert place.told == []
    assert time.monotonic() - began < RunFolder.lost_after / 2


def test_an_engine_that_lets_go_is_not_waited_for(place: Place, engine: Any) -> None:
    engine.communicate()
    assert is_new(place.begin(), epoch=2)
    assert place.told == []


def test_who_is_late_looks_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given another engine that claims the next epoch right before this one does, and fails at once
    place.stop()

    def quicker(folder: RunFolder, number: int, *given: Any) -> Epoch:
        monkeypatch.setattr(module, "Epoch", Epoch)
        other = Ledger.create(folder.ledger(number), "r", epoch=number, earlier=replay(folder.ledger(1)).accepted)
        other.end("Failed")
        other.close()
        return Epoch(folder, number, *given)

    monkeypatch.setattr(module, "Epoch", quicker)
    begun = place.begin()
    assert goes_on(begun, epoch=3)
    assert done(begun) == 2


def test_who_is_interrupted_lets_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.stop()

    def interrupt(folder: RunFolder) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "sweep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            place.begin()
    # Then the next one need not wait
    assert goes_on(place.begin(), epoch=3)
    assert place.told == []


def test_an_engine_that_wakes_while_it_plans_writes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an engine that slept while it planned, and another that has taken over and planned meanwhile
    old = place.begin()
    assert old.epoch is not None
    spec = place.spec()
    new = Epoch(place.folder, 2, "new")
    plan_run(spec, place.folder, "new", None, new.look)
    new.close(None)
    before = place.content()
    # When it wakes and finds another input
    (place.inputs / "f9.bin").write_bytes(b"x")
    with pytest.raises(RunFailed, match="taken over"):
        plan_run(spec, place.folder, "old", None, old.epoch.look)
    # Then nothing is changed but what the other's sweep takes
    after = place.content()
    assert {name for name in after if name not in before and not name.endswith(".tmp")} == set()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_who_has_lost_it_while_it_planned_takes_nothing_back(
    error: type[BaseException], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an engine that another takes over while it plans, and that is then interrupted or finds no input
    def lose(*_: object) -> None:
        Epoch(place.folder, 2, "new").close(None)
        raise error

    monkeypatch.setattr(planning, "make_plan", lose)
    with pytest.raises(TakenOver):
        place.run()
    # Then it does not delete what is the other's
    assert is_begun(place.folder.ledger(2))
    assert place.folder.heartbeat(2).exists()
    assert not (place.output / "run_summary.json").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_without_a_plan_no_trace_of_a_run_is_left(
    error: type[BaseException], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(planning, "make_plan", fail)
    with pytest.raises((RunCanceled, InputError)):
        place.run()
    assert not place.output.exists()
