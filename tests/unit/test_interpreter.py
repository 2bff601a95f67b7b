from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch
from daskbatch.errors import EntryScriptError, UsageError
from daskbatch.options import make_spec
from daskbatch.options.interpreter import check_interpreter
from daskbatch.worker.interpreter import refuse_missing


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], str]:
    """Make a program that is taken for a Python; return its path."""

    def make(body: str) -> str:
        path = tmp_path / "bin" / "python"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_this_python_is_asked_as_any_other(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert check_interpreter(link) == (str(link), sys.version_info[:3])
    assert check_interpreter(sys.executable).minor == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_name_is_looked_for_on_path(fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake("printf 'python 3 9 1'")
    monkeypatch.setenv("PATH", str(Path(path).parent))
    assert check_interpreter("python") == (path, (3, 9, 1))


REFUSED = [
    ("printf 'python 3 8 18'", "must be Python 3.9 or later, but"),
    ("printf 'python 2 7 18'", "is Python 2.7.18"),
    ("echo 'python3.9: command not found' >&2; exit 127", "does not tell its version: python3.9: command not found"),
    ("echo hello", "does not tell its version. Try:"),
    ("printf 'python 3 9 1'; exit 1", "does not tell its version"),
]


@pytest.mark.parametrize(("body", "told"), REFUSED)
def test_what_is_no_python_or_an_old_one_is_refused(fake: Callable[[str], str], body: str, told: str) -> None:
    path = fake(body)
    with pytest.raises(UsageError) as error:
        check_interpreter(path)
    assert told in str(error.value)
    assert path in str(error.value)


def test_one_that_does_not_answer_is_refused(fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daskbatch.options.interpreter._PATIENCE", 0.05)
    with pytest.raises(UsageError, match=r"no answer within 0\.05 s"):
        check_interpreter(fake("exec sleep 600"))


def test_a_virtual_environments_folder_is_told_its_python(fake: Callable[[str], str], tmp_path: Path) -> None:
    path = fake("")
    with pytest.raises(UsageError, match="Did you mean") as error:
        check_interpreter(tmp_path)
    assert path in str(error.value)


def test_a_link_to_a_python_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="link to one that is gone"):
        check_interpreter(tmp_path / "python")


# As an option

SCRIPT = "def run(mini_batch):\n    return mini_batch\n"


def spec(entry: object, **options: Any) -> Any:
    return make_spec(entry, "data", output="out", **options)


def test_in_this_process_there_is_no_other(fake: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCRIPT)
    path = fake("printf 'python 3 9 1'")
    with pytest.raises(UsageError, match=r"compute 'serial' runs the script in this process.*Leave python out there"):
        spec(tmp_path / "score.py", python=path, compute="serial")
    with pytest.raises(UsageError, match="try runs the script in this process"):
        daskbatch.try_(tmp_path / "score.py", tmp_path, python=path)
    assert spec(tmp_path / "score.py", python=sys.executable, compute="serial").python == sys.executable


def test_objects_do_not_travel_to_another_version(fake: Callable[[str], str]) -> None:
    with pytest.raises(EntryScriptError, match=r"cannot travel to python, which is 3\.9"):
        spec(lambda mini_batch: mini_batch, python=fake("printf 'python 3 9 1'"))


def test_a_script_of_a_newer_python_is_not_parsed_by_this_one(fake: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCRIPT + "def new(:\n")
    assert spec(tmp_path / "score.py", python=fake("printf 'python 3 99 0'")).entry.script
    with pytest.raises(EntryScriptError, match="not valid Python"):
        spec(tmp_path / "score.py", python=fake("printf 'python 3 9 0'"))


# What the runner's Python must have


@pytest.mark.parametrize(
    ("setup", "told", "names"),
    [
        ({"table": {}}, "has no pandas and no pyarrow, which tables need", "pandas pyarrow"),
        ({"suffix": ".parquet"}, "has no pyarrow, which Parquet needs", "pyarrow"),
        ({"pickled": "object"}, "which a function or class in the place of an entry script needs", "cloudpickle"),
    ],
)
def test_what_is_missing_is_told_with_the_pip_line(
    setup: dict[str, Any], told: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daskbatch.worker.interpreter.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as error:
        refuse_missing({"table": None, "suffix": ".txt", "pickled": None, **setup})
    assert told in str(error.value)
    assert str(error.value).endswith(f"{sys.executable} -m pip install {names}")


def test_files_and_text_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daskbatch.worker.interpreter.find_spec", lambda name: None)
    refuse_missing({"table": None, "suffix": ".csv", "pickled": None})
