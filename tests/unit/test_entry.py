from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import daskbatch
from daskbatch.worker.entry import EntryScript, configure, user_traceback
from daskbatch.worker.script import Context, load_object, load_script

PACKAGE = os.path.dirname(daskbatch.__file__) + os.sep


@pytest.fixture(autouse=True)
def outside_a_runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    logger = logging.getLogger("daskbatch.entry_script")
    monkeypatch.setattr(EntryScript(), "_settings", {})
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.delenv("AZUREML_BI_OUTPUT_PATH", raising=False)
    argv, path = sys.argv[:], sys.path[:]
    yield
    sys.argv, sys.path[:] = argv, path
    for handler in logger.handlers:
        handler.close()


def configured(folder: Path, level: str = "INFO", log_file: str | None = None) -> None:
    configure(
        output_dir=str(folder), log_dir=str(folder / "logs"), working_dir=str(folder / "work"), agent_name="node/p0",
        log_file=log_file, logging_level=level,
    )  # fmt: skip


def test_there_is_one_entry_script() -> None:
    assert EntryScript() is EntryScript()


def test_in_a_runner_it_tells_what_was_configured(tmp_path: Path) -> None:
    configured(tmp_path)
    entry = EntryScript()
    assert entry.output_dir == str(tmp_path)
    assert (entry.log_dir, entry.working_dir) == (str(tmp_path / "logs"), str(tmp_path / "work"))
    assert entry.agent_name == "node/p0"


def test_the_logger_writes_to_its_file_and_nowhere_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p0.log.txt"
    configured(tmp_path, "INFO", str(path))
    assert not path.exists()
    EntryScript().logger.info("hello %s", "\udce9")
    EntryScript().logger.debug("unseen")
    line = path.read_text()
    assert line.endswith(f"|INFO|{os.getpid()}|hello \\udce9\n")
    assert line.count("\n") == 1
    assert capsys.readouterr() == ("", "")


def test_the_level_is_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path, "WARNING")
    EntryScript().logger.info("unseen")
    EntryScript().logger.warning("seen")
    assert capsys.readouterr().err.endswith("seen\n")


def test_outside_a_runner_it_has_local_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    entry = EntryScript()
    entry.logger.info("to stderr")
    entry.logger.info("once")
    assert [line.split("|")[-1] for line in capsys.readouterr().err.splitlines()] == ["to stderr", "once"]
    assert entry.output_dir == str(tmp_path)
    assert entry.agent_name == "local"
    for folder in (entry.log_dir, entry.working_dir):
        assert Path(folder).is_dir()
    assert entry.log_dir == entry.log_dir
    monkeypatch.setenv("AZUREML_BI_OUTPUT_PATH", "/elsewhere")
    assert entry.output_dir == "/elsewhere"


# Tracebacks


def error_of(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def loaded(tmp_path: Path, source: str) -> Callable[[], object]:
    path = tmp_path / "score.py"
    path.write_text(source)

    def call() -> object:
        script = load_script(str(path), [], None)
        script.init()
        return script.run([1], Context("0-0", {}, None, 0, None))

    return call


def places(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("File ")]


def test_a_traceback_shows_the_script_and_not_us(tmp_path: Path) -> None:
    source = "def helper(x):\n    return x / 0\ndef run(batch):\n    yield from [helper(x) for x in batch]"
    text = user_traceback(error_of(loaded(tmp_path, source)))
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ZeroDivisionError: division by zero\n")
    assert PACKAGE not in text
    assert any('score.py", line 2, in helper' in place for place in places(text))
    assert "return x / 0" in text


@pytest.mark.parametrize("where", ["module", "init", "import"])
def test_it_does_so_wherever_the_error_is(tmp_path: Path, where: str) -> None:
    (tmp_path / "broken_sibling.py").write_text("1 / 0")
    source = {
        "module": "1 / 0\n",
        "init": "def init():\n    1 / 0\ndef run(batch): ...",
        "import": "import broken_sibling\n",
    }[where]
    found = places(user_traceback(error_of(loaded(tmp_path, source + "\ndef run(batch): ..."))))
    mine = [place for place in found if str(tmp_path) in place]
    assert mine
    assert mine[0].startswith(f'File "{tmp_path / "score.py"}"')
    assert not any("worker" in place or "importlib" in place for place in found)


def test_the_errors_behind_an_error_are_cut_too(tmp_path: Path) -> None:
    source = "def run(batch):\n  try:\n    1 / 0\n  except ZeroDivisionError as e:\n    raise ValueError('no') from e"
    text = user_traceback(error_of(loaded(tmp_path, source)))
    assert "ZeroDivisionError" in text
    assert "direct cause" in text
    assert not any("worker" in place for place in places(text))


def test_an_error_of_our_own_is_its_message_alone() -> None:
    text = user_traceback(error_of(lambda: load_object(3, [])))
    assert "EntryScriptError: int cannot be an entry script" in text
    assert not any(PACKAGE in place for place in places(text))


def test_a_huge_message_is_cut_in_the_middle(tmp_path: Path) -> None:
    text = user_traceback(error_of(loaded(tmp_path, "def run(batch):\n    raise ValueError('x' * 10**6 + 'end')")))
    assert len(text) < 21_000
    assert "characters left out" in text
    assert text.endswith("xend\n")
