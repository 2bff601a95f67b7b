from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daskbatch import errors
from daskbatch.cli import cli
from daskbatch.cli_options import OPTIONS
from daskbatch.events import Event, RunFinished, RunStarted
from daskbatch.options import make_spec

TRACEBACK = "Traceback (most recent call last):\nValueError: bad photo\n"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the engine by one that notes how it is called."""
    return fake(monkeypatch)


def fake(monkeypatch: pytest.MonkeyPatch, then: Callable[[list[Any]], None] = lambda listeners: None) -> list[Any]:
    found: list[Any] = []

    def run(entry: str, inputs: list[str], **options: Any) -> None:
        found.append({"entry": entry, "inputs": inputs, **options})
        print("the library chatters")
        then(options["listeners"])

    def try_(entry: str, inputs: list[str], **options: Any) -> SimpleNamespace:
        found.append({"entry": entry, "inputs": inputs, **options})
        then([])
        return SimpleNamespace(text="result 1")

    monkeypatch.setitem(sys.modules, "daskbatch.api.run", SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "daskbatch.api.trial", SimpleNamespace(try_=try_))
    return found


def failing(error: BaseException) -> Callable[[list[Any]], None]:
    """End the run as the engine does, with the error in the last event."""

    def end(listeners: list[Any]) -> None:
        summary = {"status": "Failed", "seconds": 1.0, "mini_batches": {"total": 2, "succeeded": 1, "failed": 1}}
        tell(listeners, RunStarted(0.0, "id", "/tmp", {}), RunFinished(1.0, summary, str(error), TRACEBACK))
        raise error

    return end


def tell(listeners: list[Any], *events: Event) -> None:
    for event in events:
        for listener in listeners:
            if type(listener).__module__.endswith(("console", "jsonl", "report")):
                listener(event)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def test_what_follows_the_dashes_goes_to_the_script(calls: list[Any]) -> None:
    result = invoke("run", "score.py", "a", "b", "--output", "out", "--", "--model", "m", "--", "--output")
    assert result.exit_code == 0
    assert calls[0]["inputs"] == ["a", "b"]
    assert calls[0]["arguments"] == ["--model", "m", "--", "--output"]
    assert calls[0]["output"] == str(Path.cwd() / "out")


def test_options_between_and_after_the_inputs(calls: list[Any]) -> None:
    invoke("run", "--output", "out", "score.py", "a", "--error-threshold", "-1", "b", "--support-multi-line")
    assert calls[0]["inputs"] == ["a", "b"]
    assert calls[0]["error_threshold"] == "-1"
    assert calls[0]["support_multi_line"] is True


def test_only_what_is_given_is_handed_on(calls: list[Any]) -> None:
    invoke("run", "score.py", "a", "--output", "out", "--dtype", "a=int64", "--dtype", "b=string,c=bool")
    beginning = {"fresh", "allow_reuse"}
    assert set(calls[0]) == {"entry", "inputs", "output", "listeners", "progress", "arguments", "dtype", *beginning}
    assert (calls[0]["fresh"], calls[0]["allow_reuse"]) == (False, True)
    assert calls[0]["dtype"] == "a=int64,b=string,c=bool"


def test_every_python_option_is_on_the_command_line() -> None:
    python = set(inspect.signature(make_spec).parameters) - {"entry", "inputs", "output", "arguments", "unknown"}
    assert {option.name for option in OPTIONS} == python
    text = invoke("run", "--help").output
    for name in python:
        assert f"--{name.replace('_', '-')}" in text


def test_every_option_tells_its_default() -> None:
    text = " ".join(invoke("run", "--help").output.split())
    assert text.count("[default:") == sum(bool(option.metavar) for option in OPTIONS)
    assert "[default: 10 files, or 1MB of a table]" in text
    assert "[default: 60]" in text


def test_try_takes_a_runs_command_line(calls: list[Any]) -> None:
    result = invoke(
        *("try", "score.py", "a", "--mini-batch", "3", "--header", "none"),
        *("--output", "out", "--run-max-try", "5", "--quiet", "--", "-v"),
    )
    assert result.output == "result 1\n"
    assert calls == [{"entry": "score.py", "inputs": ["a"], "mini_batch": 3, "header": "none", "arguments": ["-v"]}]


def test_try_shows_the_users_own_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def then(listeners: list[Any]) -> None:
        raise ValueError("bad photo")

    fake(monkeypatch, then)
    result = invoke("try", "score.py", "a")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "ValueError: bad photo" in result.stderr


def test_names_that_are_no_text_are_shown_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given names of files that no encoding has
    found = SimpleNamespace(text="Running: run id in /o/\udcff", owner="process 1 on \udcfe")
    again = SimpleNamespace(status=lambda *_: found, cancel=lambda *_: found)
    monkeypatch.setitem(sys.modules, "daskbatch.api.again", again)
    tried = SimpleNamespace(try_=lambda *_, **__: SimpleNamespace(text="/in/\udcfd"))
    monkeypatch.setitem(sys.modules, "daskbatch.api.trial", tried)
    # When they are printed where stdout is strict, as click's runner has it, then escaped
    for command, told in ((["status", "o"], "\\udcff"), (["cancel", "o"], "\\udcfe"), (["try", "s", "i"], "\\udcfd")):
        result = invoke(*command)
        assert (result.exit_code, result.exception) == (0, None)
        assert told in result.stdout


CANCELED = errors.RunCanceled("stopped by SIGTERM")
CANCELED.exit_code = 143


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RunFailed("too many"), 1),
        (errors.InitFailed("no model"), 1),
        (errors.UsageError("output is wrong"), 2),
        (errors.InputError("no such file"), 2),
        (errors.EntryScriptError("no run"), 2),
        (CANCELED, 143),
        (errors.RunCanceled("stopped"), 130),
        (KeyboardInterrupt(), 130),
        (errors.SchemaError("bad value"), 1),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    fake(monkeypatch, lambda listeners: (_ for _ in ()).throw(error))
    result = invoke("run", "score.py", "a", "--output", "out")
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    assert f"daskbatch: error: {str(error) or 'Interrupted.'}" in result.stderr


@pytest.mark.parametrize(
    ("ended", "code", "told"),
    [
        ("Completed", 0, ""),
        ("Failed", 1, "daskbatch: error: Failed: run id"),
        ("Lost", 1, "daskbatch: error: Lost: run id"),
        ("Canceled", 130, "daskbatch: error: Canceled: run id"),
        (errors.RunFailed("it has begun nothing"), 1, "daskbatch: error: it has begun nothing\n"),
        (
            errors.UsageError("no credentials"),
            1,
            "no credentials\nThe waiting has ended, and the run goes on: daskbatch",
        ),
        (
            KeyboardInterrupt(),
            130,
            "The waiting has ended, and the run goes on: daskbatch status 'o t'; daskbatch logs",
        ),
    ],
)
def test_a_submission_that_waits_ends_as_the_run_does(
    monkeypatch: pytest.MonkeyPatch, ended: str | BaseException, code: int, told: str
) -> None:
    def wait_for_end(made: Any, say: Any) -> SimpleNamespace:
        if isinstance(ended, BaseException):
            raise ended
        return SimpleNamespace(state=ended, text=f"{ended}: run id")

    made = SimpleNamespace(run_id="id", job="process 1", output="/o t", log="log")
    monkeypatch.setitem(sys.modules, "daskbatch.api.submit_run", SimpleNamespace(submit=lambda *_, **__: made))
    monkeypatch.setitem(sys.modules, "daskbatch.api.submit_wait", SimpleNamespace(wait_for_end=wait_for_end))
    result = invoke("submit", "score.py", "in", "--output", "o t", "--wait")
    assert (result.exit_code, result.stdout) == (code, "id\n")
    assert told in result.stderr


@pytest.mark.parametrize("option", ["--quiet", "--json", None])
def test_a_failed_run_shows_the_traceback_first_and_once(monkeypatch: pytest.MonkeyPatch, option: str | None) -> None:
    fake(monkeypatch, failing(errors.ThresholdExceeded("2 items failed")))
    result = invoke("run", "score.py", "a", "--output", "out", *([option] if option else []))
    assert result.exit_code == 1
    assert result.stderr.count("ValueError: bad photo") == 1
    assert result.stderr.index("ValueError: bad photo") < result.stderr.index("Failed after 1.0 s: 2 items failed.")


def test_a_canceled_run_ends_with_its_signal_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, failing(CANCELED))
    result = invoke("run", "score.py", "a", "--output", "out")
    assert result.exit_code == 143
    assert result.stderr.count("stopped by SIGTERM") == 1


def test_json_has_stdout_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda listeners: tell(listeners, RunStarted(0.0, "id", "/tmp", {"a": "é"})))
    result = invoke("run", "score.py", "a", "--output", "out", "--json")
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["RunStarted"]
    assert "the library chatters" in result.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run", "score.py"], "Missing argument 'INPUTS...'"),
        (["run", "score.py", "a"], "Missing option '--output'"),
        (["run", "score.py", "a", "--output", "out", "--mini-batch-sise", "3"], "--mini-batch-size"),
        (["run", "score.py", "a", "--output", "s3://me:hush@bucket"], "holds a user's name or password"),
        (["try", "score.py", "a", "--mini-batch", "x"], "--mini-batch"),
        (["submit", "job.yml", "--", "--model", "m"], "-- '--model m': arguments are for a script"),
        (["start"], "No such command 'start'"),
        ([__file__, "data"], "Did you mean: daskbatch run"),
    ],
)
def test_usage_errors_have_one_form(calls: list[Any], args: list[str], told: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("daskbatch: error: ")
    assert told in result.stderr
    assert result.stdout == ""


def test_without_a_command_there_is_help() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "daskbatch try score.py data/" in result.stderr


def test_version() -> None:
    assert invoke("version").output.startswith("daskbatch ")
    assert invoke("--version").exit_code == 0


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["version"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    program = (
        "import sys\n"
        "from daskbatch.cli import main\n"
        f"try: main({args!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'dask', 'distributed', 'pandas', 'pyarrow', 'numpy', 'tqdm', 'psutil', 'cloudpickle', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
