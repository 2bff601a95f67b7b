"""The same command once more, and the commands about a run that is there: status, cancel, retry-failed."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from gated import SCRIPT, Gated
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch.engine.heartbeat import read_heartbeat

Make = Callable[..., Gated]
SERIAL = ("--compute", "serial")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make a run that halts in its middle."""
    made: list[Gated] = []

    def one(kind: str = "files", *given: str, **fields: Any) -> Gated:
        made.append(Gated(tmp_path / f"run{len(made)}", kind, list(given), **fields))
        return made[-1]

    yield one
    for gated in made:
        gated.close()


@pytest.fixture
def completed(make: Make) -> Gated:
    """A run that is completed, by the command as it is given again."""
    gated = make("files", *SERIAL, bad="")
    gated.go()
    ended = gated.command()
    assert ended.returncode == 0, ended.stderr
    return gated


def is_refused(ended: subprocess.CompletedProcess[str], *told: str) -> None:
    assert ended.returncode == 2, ended.stderr
    for text in told:
        assert text in ended.stderr
    assert "Traceback" not in ended.stderr


# A completed run


def test_the_result_of_a_completed_run_is_taken(completed: Gated) -> None:
    before, calls = completed.content(), completed.calls()
    ended = completed.command()
    assert ended.returncode == 0
    assert ended.stderr.splitlines()[:2] == [
        "Reused: this run is completed already, and nothing has changed since. --no-reuse runs it anew.",
        "16 of 16 mini-batches succeeded, 32 of 32 items succeeded, 16 tries.",
    ]
    assert f"Result: {completed.out / 'predictions.csv'} (32 rows, " in ended.stderr
    assert completed.content() == before
    assert completed.calls() == calls
    # So it is by other means, for programs, and by daskbatch resume
    for given in (["--process-count-per-node", "1", "--compute", "local"], ["--logging-level", "DEBUG"]):
        assert completed.command("run", *given, *_without(completed.options(), *SERIAL)).returncode == 0
    events = completed.command("resume", "out", "--json").stdout.splitlines()
    assert [json.loads(event)["event"] for event in events] == ["RunReused"]
    assert json.loads(events[0])["summary"] == completed.summary()
    assert completed.content() == before
    assert completed.calls() == calls


def _without(options: list[str], *names: str) -> list[str]:
    return [option for option in options if option not in names]


def test_in_python_a_run_tells_that_it_was_reused(make: Make) -> None:
    gated = make()
    first, second = gated.run(), gated.run()
    assert (first.reused, second.reused) == (False, True)
    assert second.summary == first.summary
    assert gated.calls() == gated.oracle.calls
    assert not gated.run(allow_reuse=False).reused


def test_ten_thousand_files_are_reused_in_no_time(tmp_path: Path) -> None:
    # Given a completed run over that many files
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(10_000):
        (inputs / f"f{number}.bin").touch()
    options = [str(SCRIPT), str(inputs), "--output", "out", "--mini-batch-size", "100", *SERIAL, "--quiet"]
    command = ["run", *options, "--", "--calls", "calls"]
    runs = Gated.command
    place = Gated.__new__(Gated)
    place.folder = tmp_path
    assert runs(place, *command).returncode == 0
    assert place.calls().total() == 100
    # When the command is given again
    began = time.monotonic()
    assert runs(place, *command).returncode == 0
    print(f"10,000 files: reused in {time.monotonic() - began:.2f} s")
    # Then nothing is run
    assert place.calls().total() == 100


def test_no_reuse_runs_anew(completed: Gated) -> None:
    calls, run_id = completed.calls(), completed.summary()["run_id"]
    (completed.folder / "word").write_text("other")
    ended = completed.command("run", "--no-reuse", *completed.options())
    assert ended.returncode == 0, ended.stderr
    assert completed.calls() == calls + calls
    assert b'""other 31""' in completed.result()
    summary = completed.summary()
    assert summary["run_id"] != run_id
    assert summary["epoch"] == 1


def test_while_a_fresh_run_goes_on_the_old_result_stays(make: Make) -> None:
    # Given a completed run
    gated = make(bad="")
    gated.go()
    assert gated.command().returncode == 0
    old, calls = gated.result(), gated.calls()
    # When it is run anew
    (gated.folder / "go").unlink()
    (gated.folder / "word").write_text("other")
    (gated.folder / "calls").unlink()
    fresh = gated.start("run", "--fresh", *gated.options())
    gated.halted(fresh)
    # Then its result is there all the while,
    assert gated.result() == old
    assert not (gated.out / "run_summary.json").exists()
    # and when that run has ended before its time
    fresh.send_signal(signal.SIGINT)
    gated.go()
    fresh.communicate(timeout=PATIENCE)
    assert fresh.returncode == 130
    assert gated.result() == old
    assert (gated.out / "predictions.partial.csv").exists()
    assert gated.summary()["output"]["name"] == "predictions.partial.csv"
    # When that one goes on to its end
    assert gated.command().returncode == 0
    # Then the new result is in its place
    assert b'""other 31""' in gated.result()
    assert not (gated.out / "predictions.partial.csv").exists()
    assert gated.calls() == calls


# Another run


@pytest.mark.parametrize("status", ["completed", "unfinished"])
def test_another_run_is_refused(status: str, make: Make) -> None:
    # Given a run that is there
    gated = make("files", *SERIAL)
    gated.go()
    limit = "2" if status == "unfinished" else "-1"
    options = [f"--error-threshold={limit}" if "threshold" in option else option for option in gated.options()]
    assert gated.command("run", *options).returncode == (1 if status == "unfinished" else 0)
    before, calls = gated.content(), gated.calls()

    def check(told: str, *given: str) -> None:
        is_refused(
            gated.command("run", *(given or options)), told, "put that back and repeat the command", "add --fresh",
            f"The output folder {str(gated.out)!r} holds a{'n' * (status[0] == 'u')} {status} run that is not this one",
            "choose another output folder",
        )  # fmt: skip
        assert gated.content() == before
        assert gated.calls() == calls

    # When its script, an option, an argument, or its input is another, then it is refused and stays as it is
    script = gated.folder / "score.py"
    script.write_text(SCRIPT.read_text() + "\n# better\n")
    check(f"now {script}, which is not the same code", str(script), *options[1:])
    check("mini_batch_size was 2, now 4", *["4" if option == "2" else option for option in options])
    check("what follows '--'", *options, "--hold", "7")
    more = gated.inputs / "f99.bin"
    more.write_bytes(b"x")
    check("the input has changed")
    more.unlink()
    (gated.inputs / "f03.bin").write_bytes(b"y")
    check("the input has changed")
    # Fresh is a way out
    assert gated.command("run", "--fresh", *options).returncode == (1 if status == "unfinished" else 0)
    assert gated.summary()["epoch"] == 1


def test_an_unfinished_run_of_another_input_is_refused(make: Make) -> None:
    gated = make("files", *SERIAL)
    with pytest.raises(daskbatch.ThresholdExceeded):
        gated.run(error_threshold=2)
    before = gated.content()
    (gated.inputs / "f99.bin").write_bytes(b"x")
    for command in (["resume", "out"], ["retry-failed", "out"]):
        is_refused(gated.command(*command), "holds an unfinished run that is not this one", "the input has changed")
    assert gated.content() == before


# Failures that are tried again


@pytest.mark.parametrize("ended", ["Completed", "Failed"])
def test_what_failed_is_tried_again(ended: str, make: Make) -> None:
    # Given a run with failures, and the same where nothing fails
    gated, whole = make("files", *SERIAL), make("files", *SERIAL, bad="")
    gated.go()
    limit = "-1" if ended == "Completed" else "2"
    first = gated.command("run", *[f"--error-threshold={limit}" if "threshold" in o else o for o in gated.options()])
    assert first.returncode == (0 if ended == "Completed" else 1)
    assert gated.summary()["status"] == ended
    before, failed = gated.calls(), Counter(gated.failures())
    assert failed == {"4": 1, "28": 1}
    # When they are tried again, and fail again, by the rules of a run that may fail
    again = gated.command("retry-failed", "out", "--error-threshold=-1")
    assert again.returncode == 0, again.stderr
    left = Counter(gated.oracle.calls.keys() - before.keys())
    # Then they have had all of their tries, and are listed once
    assert gated.calls() == before + failed + failed + left
    assert Counter(gated.failures()) == failed
    assert gated.summary()["mini_batches"] == {"total": 16, "succeeded": 14, "failed": 2}
    # When they are tried again, and succeed
    gated.mend()
    before = gated.calls()
    again = gated.command("retry-failed", "out", "--error-threshold=-1")
    assert again.returncode == 0, again.stderr
    # Then only they have run, and the result is whole
    assert gated.calls() == before + failed
    assert gated.result() == whole.oracle.result
    assert gated.failures() == []
    assert gated.summary()["mini_batches"] == {"total": 16, "succeeded": 16, "failed": 0}
    # and nothing is left to be tried again
    before = gated.calls()
    assert "Reused" in gated.command("retry-failed", "out", "--error-threshold=-1").stderr
    assert gated.calls() == before


def test_in_python_what_failed_is_tried_again_by_the_same_call(make: Make) -> None:
    gated, whole = make(), make(bad="")
    gated.run()
    gated.mend()
    gated.run(retry_failed=True)
    assert gated.result() == whole.oracle.result


def test_there_is_nothing_to_try_again(make: Make) -> None:
    is_refused(make().command("retry-failed", "out"), "There is no run in")


# While it runs


def status(gated: Gated) -> dict[str, Any]:
    ended = gated.command("status", "out", "--json")
    assert ended.returncode == 0, ended.stderr
    content: dict[str, Any] = json.loads(ended.stdout)
    return content


def _done(gated: Gated) -> int | None:
    return (daskbatch.status(gated.out).progress or {}).get("mini_batches_done")


def test_status_from_begin_to_end(make: Make) -> None:
    gated = make()
    is_refused(gated.command("status", "out"), f"There is no run in {str(gated.out)!r}")
    # Given a run in its middle
    process = gated.start()
    gated.halted(process)
    wait_for(lambda: _done(gated) == len(gated.settled()), "progress that tells of all", process)
    settled, failed = len(gated.settled()), len(gated.failures())
    # Then others can see how far it is
    shown = status(gated)
    owner = f"process {process.pid} on {socket.gethostname()}, since 20"
    assert (shown["state"], shown["phase"], shown["epoch"]) == ("Running", "run", 1)
    assert (shown["committed"], shown["total"], shown["summary"]) == (settled - failed, 16, None)
    assert shown["owner"].startswith(owner)
    assert shown["progress"]["items_failed"] == 2 * failed
    text = gated.command("status", "out").stdout
    assert text.startswith(f"Running: run {shown['run_id']} in {gated.out}\n  {owner}")
    assert f": {settled} of 16 mini-batches done" in text
    # When it is killed
    process.kill()
    process.wait()
    # Then they see that, and what to do
    shown = status(gated)
    assert (shown["state"], shown["phase"], shown["committed"]) == ("Lost", None, settled - failed)
    assert f"Next: daskbatch resume {gated.out}" in gated.command("status", "out").stdout
    # When it has come to its end
    gated.go()
    assert gated.command("resume", "out").returncode == 0
    shown = status(gated)
    assert (shown["state"], shown["owner"], shown["epoch"]) == ("Completed", None, 2)
    assert shown["summary"] == gated.summary()
    assert "To try them again: daskbatch retry-failed" in gated.command("status", "out").stdout


@pytest.mark.parametrize("compute", ["local", "serial"])
def test_cancel_ends_a_run_that_can_go_on(
    compute: str, make: Make, descendants: Callable[[], list[psutil.Process]]
) -> None:
    # Given a run in its middle
    gated = make("files", "--compute", compute)
    process = gated.start()
    gated.halted(process, slots=1 if compute == "serial" else 2)
    # When another process cancels it
    asked = gated.command("cancel", "out")
    assert asked.returncode == 0
    assert f"Asked the run to end (process {process.pid} on " in asked.stdout
    if compute == "serial":  # nobody can end a call in this process: it must come back
        seen = beat(gated) + 2
        wait_for(lambda: beat(gated) >= seen, "a look at the word", process)
        gated.go()
    _, told = process.communicate(timeout=PATIENCE)
    # Then it ends in order, as with Ctrl-C
    assert process.returncode == 130
    assert "canceled by daskbatch cancel" in told
    assert told.count("Traceback") == told.count("raise ValueError")  # none of ours
    assert gated.summary()["status"] == "Canceled"
    settled = gated.settled()
    assert descendants() == []
    assert not (gated.out / ".daskbatch" / "cancel").exists()
    # and there is nothing more to cancel
    is_refused(gated.command("cancel", "out"), "the last one there is Canceled. There is nothing to cancel")
    # and the same command goes on
    gated.go()
    assert gated.command().returncode == 0
    gated.check(2, settled)


def beat(gated: Gated) -> int:
    """Of the first engine's heart."""
    content = read_heartbeat(gated.out / ".daskbatch" / "engine-1.json")
    return 0 if content is None else int(content["beat"])


def test_there_is_nothing_to_cancel(make: Make) -> None:
    is_refused(make().command("cancel", "out"), "There is no run in")


def test_a_second_run_in_the_same_folder_is_refused(make: Make) -> None:
    # Given a run in its middle
    gated = make()
    process = gated.start()
    gated.halted(process)
    before = gated.content("logs")
    # When the same is started again, or anything else that would write there
    for command in (["run", *gated.options()], ["run", "--fresh", *gated.options()], ["retry-failed", "out"]):
        is_refused(
            gated.command(*command), f"is in use by process {process.pid} on {socket.gethostname()}, since 20",
            f"daskbatch cancel {gated.out}",
        )  # fmt: skip
    # Then the first is none the worse for it
    after = gated.content("logs")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {".daskbatch/engine-1.json"}
    gated.go()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    gated.check(1)


def test_a_folder_that_was_moved_goes_on_elsewhere(make: Make) -> None:
    # Given a run that was killed, and its output folder moved
    gated = make()
    process = gated.start()
    gated.halted(process)
    process.kill()
    process.wait()
    settled = gated.settled()
    shutil.move(gated.out, gated.folder / "moved")
    gated.out = gated.folder / "moved"
    # When it is resumed there
    gated.go()
    ended = gated.command("resume", "moved")
    # Then it goes on
    assert ended.returncode == 0, ended.stderr
    gated.check(2, settled)
    assert not (gated.folder / "out").exists()
