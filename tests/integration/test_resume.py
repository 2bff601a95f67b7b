"""A run that was killed in its middle goes on where it was, whoever goes on with it and how."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pandas as pd
import psutil
import pytest
from gated import HOLD, SCRIPT, Gated
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch.engine import begin
from daskbatch.engine.folder import RunFolder
from daskbatch.events import Event, RunFinished, RunResumed, TaskFinished
from daskbatch.report import default_listeners
from daskbatch.store.replay import is_begun, replay
from daskbatch.store.segments import read_index

Make = Callable[..., Gated]


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


def kill_in_the_middle(gated: Gated, *given: str) -> set[str]:
    """Start the command, kill it when nearly all is done; return what is settled."""
    process = gated.start("run", *given, *gated.options())
    gated.halted(process, slots=1 if "serial" in given else 2)
    process.kill()
    process.wait()
    settled = gated.settled()
    assert 0 < len(settled) < len(gated.oracle.calls) - 1
    return settled


@pytest.mark.parametrize(
    ("kind", "name", "first", "then"),
    [
        ("files", "predictions.csv", "local", "local"),
        ("files", "predictions.jsonl", "local", "serial"),
        ("table", "predictions.parquet", "local", "local"),
        ("stream", "predictions.csv", "serial", "local"),
    ],
)
def test_the_same_command_goes_on_with_a_run_that_was_killed(
    kind: str, name: str, first: str, then: str, make: Make, descendants: Callable[[], list[psutil.Process]]
) -> None:
    # Given a run that was killed in its middle
    gated = make(kind, "--append-row-file-name", name)
    settled = kill_in_the_middle(gated, "--compute", first)
    done = settled - set(gated.failures())
    # When the same command is given again
    gated.go()
    ended = gated.command("run", "--compute", then, *gated.options())
    # Then it goes on with it: what was settled is not run again, and all is as if nothing had happened
    assert ended.returncode == 0, ended.stderr
    assert f"Going on with this run: {len(done)} mini-batches are done already" in ended.stderr
    gated.check(2, settled)
    assert descendants() == []


def test_from_another_folder_and_by_other_rules(make: Make, tmp_path: Path) -> None:
    # Given a run whose script has paths relative to its folder, and a secret
    gated = make("files", "--environment-variables", "TOKEN=xyzzy-1234")
    settled = kill_in_the_middle(gated)
    gated.go()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = gated.content()
    # When it is resumed without the secret, it is asked for by name; and with another value, it is refused
    for given, told in (
        ([], "--environment-variables TOKEN=..."),
        (["--environment-variables", "TOKEN=plugh-1234"], "environment_variables: TOKEN has another value"),
    ):
        refused = gated.command("resume", str(gated.out), *given, cwd=elsewhere)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert "-1234" not in refused.stderr
        assert gated.content() == before
    # When it is resumed from another folder, with other limits, on one slot
    ended = gated.command(
        *("resume", str(gated.out), "--environment-variables", "TOKEN=xyzzy-1234", "--quiet"),
        *("--error-threshold", "10", "--process-count-per-node", "1", "--run-invocation-timeout", "30"),
        cwd=elsewhere,
    )
    # Then the script finds its files where they were, and the secret is nowhere
    assert ended.returncode == 0, ended.stderr
    gated.check(2, settled)
    options = gated.summary()["options"]
    assert (options["error_threshold"], options["process_count_per_node"]) == (10, 1)
    assert options["run_invocation_timeout"] == 30
    assert list(elsewhere.iterdir()) == []
    for path in gated.out.rglob("*"):
        assert not path.is_file() or b"xyzzy" not in path.read_bytes(), path


def test_there_is_nothing_to_resume(make: Make) -> None:
    gated = make()
    for folder in ("out", "in"):
        refused = gated.command("resume", folder)
        assert refused.returncode == 2
        assert f"There is no run in {str(gated.folder / folder)!r} to go on with." in refused.stderr
    assert not gated.out.exists()


# As typed into a notebook: there is no file that holds the function.
PROGRAM = """
import os, sys, time
from pathlib import Path
import daskbatch

FOLDER = Path({folder!r})

def score(mini_batch):
    numbers = [int(Path(path).stem[1:]) for path in mini_batch]
    with open(FOLDER / "calls", "a") as calls:
        calls.write(f"{{numbers[0]}}\\n")
    while numbers[0] >= {hold} and not (FOLDER / "go").exists():
        time.sleep(0.01)
    time.sleep(0.01)
    return [{{"id": number, "square": number ** POWER}} for number in numbers]

POWER = int(sys.argv[1])
run = daskbatch.run(
    score, {inputs!r}, output=FOLDER / "out", mini_batch_size=2, process_count_per_node=2, task_seconds=0.001,
    error_threshold=-1,
)
print(run.summary["epoch"])
"""


def test_a_function_from_a_notebook_goes_on_in_another_process(make: Make) -> None:
    # Given a program that defines what it runs, and was killed in the middle of that
    gated = make(bad="")
    program = gated.folder / "program.py"
    program.write_text(PROGRAM.format(folder=str(gated.folder), hold=HOLD, inputs=str(gated.inputs)))
    command = [sys.executable, "-c", "exec(open('program.py').read())"]
    run = {"cwd": gated.folder, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "2"], **run) as process:
        wait_for(lambda: gated.out.exists() and _committed(gated.out) >= HOLD // 2, "the half of the work", process)
        process.kill()
    gated.go()
    # When something that the function uses is another, it is refused
    refused = subprocess.run([*command, "3"], check=False, timeout=PATIENCE, **run)
    assert refused.returncode == 1
    assert "the code of __main__.score, or something that it uses, has changed" in refused.stderr
    # and when all is the same, it goes on
    ended = subprocess.run([*command, "2"], check=False, timeout=PATIENCE, **run)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "2"
    lines = [b"id,square", *(f"{number},{number**2}".encode() for number in range(32))]
    assert gated.result().split() == lines
    assert {call: count for call, count in gated.calls().items() if int(call) < HOLD} == {
        str(number): 1 for number in range(0, HOLD, 2)
    }
    # and daskbatch resume, which knows no function, says what to do
    refused = gated.command("resume", str(gated.out))
    assert refused.returncode == 2
    assert "which no file holds. Next: repeat the daskbatch.run(...) call" in refused.stderr


def _committed(out: Path) -> int:
    with contextlib.suppress(daskbatch.UsageError):
        return daskbatch.status(out).committed
    return 0


def test_a_dask_dataframe_goes_on_where_it_was_canceled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = make(bad="17")
    monkeypatch.chdir(gated.folder)
    frame = pd.DataFrame({"id": range(32)})
    events: list[Event] = []

    def run(out: str, *listeners: Callable[[Event], None], **options: Any) -> daskbatch.Run:
        return daskbatch.run(
            str(SCRIPT), dd.from_pandas(frame, npartitions=8),
            output=out, arguments=["--calls", f"{out}-calls", "--bad", "17", "--name-in", "word"], run_max_try=2,
            mini_batch_size="2rows", error_threshold=-1, progress=False, process_count_per_node=1, node_count=1,
            listeners=[*file_listeners(out), *listeners], **options,
        )  # fmt: skip

    def interrupt(event: Event) -> None:
        if isinstance(event, TaskFinished):
            os.kill(os.getpid(), signal.SIGINT)

    # Given a run over a Dask dataframe that was canceled after its first task
    with pytest.raises(daskbatch.RunCanceled):
        run("out", interrupt)
    before = gated.calls("out-calls")
    done = gated.summary()["mini_batches"]["succeeded"]
    assert 0 < done < 16
    # When the same is called again
    again = run("out", events.append)
    # Then it goes on, and does nothing twice
    (resumed,) = [event for event in events if isinstance(event, RunResumed)]
    assert resumed.succeeded == done
    assert again.summary["epoch"] == 2
    assert again.summary["mini_batches"] == {"total": 16, "succeeded": 15, "failed": 1}
    assert again.summary["tries"] == 17
    assert sum(before.values()) < 17
    assert gated.calls("out-calls") == Counter({str(number): 1 + (number == 16) for number in range(0, 32, 2)})
    assert [entry["message"] for entry in again.failed_items()] == ["no luck with the mini-batch of 16"]
    # and another dataframe is another run
    frame.loc[3, "id"] = 99
    with pytest.raises(daskbatch.RunChanged, match="the input has changed"):
        run("out")


def file_listeners(out: str | Path) -> list[Callable[[Event], None]]:
    """What writes the files, and shows nothing."""
    return list(default_listeners(os.path.abspath(out), quiet=True))


# Standing still


def owned(gated: Gated, *left_out: str) -> dict[str, str]:
    """What must not change, whoever wakes up: all but logs, beats and what lies about in segments."""
    volatile = (".daskbatch/engine-", ".daskbatch/segments/")
    return {name: digest for name, digest in gated.content("logs").items() if not name.startswith(volatile)}


@pytest.mark.slow
def test_who_wakes_up_while_another_goes_on_writes_nothing(
    make: Make, descendants: Callable[[], list[psutil.Process]]
) -> None:
    # Given an engine that stands still in the middle of a run, as on a laptop that sleeps
    gated = make()
    sleeper = gated.start()
    gated.halted(sleeper)
    os.kill(sleeper.pid, signal.SIGSTOP)
    # When another command has watched its heart for long enough, and goes on
    second = gated.start()
    wait_for(lambda: is_begun(RunFolder(gated.out).ledger(2)), "a second engine", second)
    settled = gated.settled()
    gated.halted(second, engines=2)
    before = owned(gated)
    # and the first wakes up
    os.kill(sleeper.pid, signal.SIGCONT)
    _, told = sleeper.communicate(timeout=PATIENCE)
    # Then it ends, says who has the run, and has written nothing
    assert sleeper.returncode == 1
    assert f"has been taken over by another (process {second.pid} on " in told
    assert told.count("Traceback") == told.count("raise ValueError")  # none of ours
    assert owned(gated) == before
    assert second.poll() is None
    # and the second comes to the end as if nothing had happened
    gated.go()
    _, told = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, told
    assert f"another run may be going on there (process {sleeper.pid} on " in told
    gated.check(2, settled)
    assert descendants() == []


def test_who_wakes_up_when_all_is_done_writes_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch, descendants: Callable[[], list[psutil.Process]]
) -> None:
    # Given an engine that stands still in the middle of a run, and another that was quick to go on
    gated = make(bad="")
    sleeper = gated.start()
    gated.halted(sleeper)
    os.kill(sleeper.pid, signal.SIGSTOP)
    stands_still = begin.stands_still
    monkeypatch.setattr(
        begin, "stands_still", lambda number, over, seconds, *how: stands_still(number, over, 1.5, *how)
    )
    gated.go()
    monkeypatch.chdir(gated.folder)
    options = gated.options()
    daskbatch.run(
        options[0], options[1], output=gated.out, mini_batch_size=2, error_threshold=-1, run_max_try=2,
        arguments=options[options.index("--") + 1 :], compute="serial", progress=False,
    )  # fmt: skip
    gated.check(2)
    before = owned(gated)
    # When it wakes up after that
    os.kill(sleeper.pid, signal.SIGCONT)
    _, told = sleeper.communicate(timeout=PATIENCE)
    # Then it is told so, and all is as it was
    assert sleeper.returncode == 1
    assert "has been taken over by another" in told
    assert "Traceback" not in told
    assert owned(gated) == before
    assert not list((gated.out / ".daskbatch").glob("engine-*"))
    assert descendants() == []


# A wall clock that jumps when a file says so.
CLOCK = """
import os, time
now = time.time
time.time = lambda: now() + 86400 * (os.path.exists("later") - 2 * os.path.exists("earlier"))
"""


def test_a_wall_clock_that_jumps_changes_nothing(make: Make) -> None:
    # Given a run in its middle
    gated = make()
    process = gated.start(prelude=CLOCK)
    gated.halted(process)
    # When its clock jumps by a day, and back by two
    for name in ("later", "earlier"):
        (gated.folder / name).touch()
        # Then it is seen to run, by clocks that jump with it and by others
        assert daskbatch.status(gated.out).state == "Running"
        shown = gated.start("status", "out", prelude=CLOCK)
        assert "Running: run " in shown.communicate(timeout=PATIENCE)[0]
    # and comes to its end
    gated.go()
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    gated.check(1)


# Damage


def damage(gated: Gated, how: str) -> Counter[str]:
    """Damage some of the stored results; return the mini-batches that this costs, by their first items."""
    folder = RunFolder(gated.out)
    chunks = replay(folder.ledger(folder.latest_epoch())).chunks
    firsts = [str(record["file"]) for chunk in chunks for record in read_index(folder.results, chunk)[0]]
    assert len(firsts) == len(chunks)
    victim = chunks[3]
    path = folder.segments / victim.segment
    if how == "gone":
        path.unlink()
        return Counter(firsts)
    if how == "truncated":
        os.truncate(path, victim.end - 1)
        return Counter(firsts[3:])
    data = bytearray(path.read_bytes())
    data[victim.offset if how == "payload" else victim.index] ^= 1
    path.write_bytes(data)
    return Counter(firsts[3:4])


@pytest.mark.parametrize("how", ["payload", "index", "truncated", "gone"])
def test_results_that_are_damaged_are_made_again(how: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a run that failed near its end, and damage to what it has stored
    gated = make()
    with pytest.raises(daskbatch.ThresholdExceeded):
        gated.run(error_threshold=2)
    lost = damage(gated, how)
    # When it goes on
    run = gated.run(progress=True)
    # Then what is damaged is run again, and nothing else, and the user is told
    assert gated.calls() == gated.oracle.calls + lost
    assert gated.result() == gated.oracle.result
    assert {name: run.summary[name] for name in gated.oracle.counts} == gated.oracle.counts
    assert sorted(gated.failures()) == gated.oracle.failed
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Warning: ")]
    assert len(told) == 1
    assert told[0].endswith(("these mini-batches run again", "what is damaged runs again"))


@pytest.mark.parametrize("how", ["payload", "index", "truncated", "gone"])
def test_results_that_are_damaged_are_made_again_with_what_failed(how: str, make: Make) -> None:
    # Given a completed run with failures, damage to what it has stored, and the same run where nothing fails
    gated, whole = make(), make(bad="")
    gated.run()
    before, failed = gated.calls(), Counter(gated.failures())
    lost = damage(gated, how)
    # When what failed is tried again
    gated.mend()
    run = daskbatch.retry_failed(gated.out, progress=False)
    # Then the damaged ones are too
    assert len(failed) == 2
    assert gated.calls() == before + lost + failed
    assert gated.result() == whole.oracle.result
    assert run.summary["mini_batches"] == whole.oracle.counts["mini_batches"]
    assert run.summary["output"] == whole.oracle.counts["output"]


@pytest.mark.parametrize(
    ("how", "kind"),
    [("edited", "files"), ("edited", "table"), ("edited", "stream"), ("truncated", "files"), ("gone", "table")],
)
def test_a_plan_that_is_damaged_is_made_again(how: str, kind: str, make: Make) -> None:
    gated = make(kind)
    with pytest.raises(daskbatch.ThresholdExceeded):
        gated.run(error_threshold=2)
    path = gated.out / ".daskbatch" / "plan.jsonl"
    plan = path.read_bytes()
    if how == "edited":  # to something that can be read, and is wrong
        path.write_bytes(plan.replace(b"in", b"im", 1).replace(b"1", b"2"))
    elif how == "truncated":
        path.write_bytes(plan[: len(plan) // 2])
    else:
        path.unlink()
    gated.run()
    assert gated.result() == gated.oracle.result
    assert gated.calls() == gated.oracle.calls
    assert path.read_bytes() == plan


def test_a_record_that_is_damaged_is_told_of(make: Make) -> None:
    # Given a run whose record is damaged
    gated = make()
    with pytest.raises(daskbatch.ThresholdExceeded):
        gated.run(error_threshold=2)
    path = gated.out / ".daskbatch" / "run.json"
    path.write_text(path.read_text().replace('"files": 32', '"files": 30'))
    before, gated.given = gated.content(), ["--compute", "serial"]
    # Then nobody goes on with it, and everybody says what to do
    for command in (["run", *gated.options()], ["resume", "out"], ["retry-failed", "out"]):
        refused = gated.command(*command)
        assert refused.returncode == 2
        assert f"{str(path)!r} is damaged" in refused.stderr
        assert "--fresh" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert gated.content() == before
    shown = gated.command("status", "out")
    assert (shown.returncode, shown.stdout[:7]) == (0, "Failed:")
    # and fresh begins anew
    gated.go()
    ended = gated.command("run", "--fresh", *gated.options())
    assert ended.returncode == 0, ended.stderr
    assert gated.result() == gated.oracle.result


def test_an_interrupt_at_the_very_end_costs_nothing(make: Make) -> None:
    # Given a run that is interrupted while its summary is written: the first time, that changes nothing
    gated = make()

    def interrupt(event: Event) -> None:
        if isinstance(event, RunFinished):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(daskbatch.RunCanceled):
        gated.run(listeners=[*file_listeners(gated.out), interrupt])
    assert daskbatch.status(gated.out).state == "Canceled"
    # Then nothing of it has to be done again
    gated.run()
    assert gated.calls() == gated.oracle.calls
    assert gated.result() == gated.oracle.result
