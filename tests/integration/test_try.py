"""``daskbatch.try_``: one mini-batch in this process, and nothing left of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import daskbatch
from daskbatch import EntryScript
from daskbatch.cli import cli

SCRIPT = """
    import sys

    def run(mini_batch):
        if len(sys.argv) > 1:
            raise ValueError(sys.argv[1])
        return mini_batch["id"] * 2
"""


def test_shows_what_one_mini_batch_gives(tmp_path: Path, script: Callable[..., str]) -> None:
    # Given a table of three mini-batches
    (tmp_path / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(6)))
    before, arguments = {path.name for path in tmp_path.iterdir()}, sys.argv[:]
    # When the second is tried
    result = daskbatch.try_(script(SCRIPT), tmp_path / "in.csv", mini_batch=1, mini_batch_size="2rows")
    # Then its data, its result and its bytes are there
    assert list(result.mini_batch["id"]) == [2, 3]
    assert list(result.result) == [4, 6]
    assert result.output == b"4\n6\n"
    assert "2 rows" in result.text
    # and this process and the folder are as they were (that no file stays open is seen by the leak check)
    assert sys.argv == arguments
    assert {path.name for path in tmp_path.iterdir()} == before | {"score.py"}


def test_the_scripts_own_error_comes_as_it_is(tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    with pytest.raises(ValueError, match="of my own"):
        daskbatch.try_(script(SCRIPT), tmp_path / "in.csv", arguments=["of my own"])


def test_a_number_past_the_end_says_how_many_there_are(tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n2\n")
    with pytest.raises(daskbatch.UsageError, match="from 0 to 1, got 2"):
        daskbatch.try_(script(SCRIPT), tmp_path / "in.csv", mini_batch=2, mini_batch_size="1rows")


def test_a_file_that_has_gone_since_planning_is_named(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that takes the second of three files away while it is imported
    folder = files(3)
    entry = script(f"""
        import os

        os.unlink({folder + "/f01.bin"!r})

        def run(mini_batch):
            return mini_batch
    """)
    # When that file is tried, then it is named
    with pytest.raises(FileNotFoundError, match=r"f01\.bin is gone: it was there when the run was planned"):
        daskbatch.try_(entry, folder, mini_batch=1, mini_batch_size=1)
    # When the one behind it is tried, then it does not matter
    Path(folder, "f01.bin").touch()
    result = daskbatch.try_(entry, folder, mini_batch=2, mini_batch_size=1)
    assert result.mini_batch == [folder + "/f02.bin"]


# What the script changes of this process


def test_each_script_gets_its_own_siblings(tmp_path: Path, script: Callable[..., str]) -> None:
    # Given two scripts in two folders, each with a module helper and a package of modules
    (tmp_path / "in.csv").write_text("id\n1\n")
    for name in ("one", "two"):
        script(f"value = {name!r}\n", f"{name}/helper.py")
        script(f"value = {name!r}\n", f"{name}/package/inner.py")
        script(
            """
            import package.inner
            from helper import value

            def run(mini_batch):
                import late
                return [[value, package.inner.value, late.value]]
            """,
            f"{name}/score.py",
        )
        script(f"value = {name!r}\n", f"{name}/late.py")
    before = dict(sys.modules)
    # When both are tried in one process, then each has its own
    for name in ("one", "two"):
        result = daskbatch.try_(tmp_path / name / "score.py", tmp_path / "in.csv")
        assert result.result == [[name] * 3]
    # and none stays
    added = set(sys.modules) - set(before)
    assert not {"score", "helper", "late", "package", "package.inner"} & added
    assert all(sys.modules[name] is module for name, module in before.items())


@pytest.mark.parametrize("source", [False, True])
def test_an_edited_sibling_is_read_anew_even_where_this_process_has_imported_it(
    source: bool, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a program, such as a notebook, that has imported what the script imports, and modules of its own
    script("value = 'old'\n", "code/helper.py")
    script("", "code/package/__init__.py")
    script("value = 'old'\n", "code/package/inner.py")
    script(
        """
        from helper import value
        from package import inner

        def run(mini_batch):
            return [value + inner.value for path in mini_batch]
        """,
        "code/score.py",
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    names = ["helper", "package", "package.inner"]
    mine = {name: importlib.import_module(name) for name in names}
    try:
        options: dict[str, Any] = {"entry": tmp_path / "code" / "score.py"}
        if source:
            options = {"entry": "score.py", "source_directory": tmp_path / "code"}
        for value in ("old", "newer"):
            script(f"value = {value!r}\n", "code/helper.py")
            script(f"value = {value!r}\n", "code/package/inner.py")
            # When the script runs in this process
            run = daskbatch.run(
                **options, inputs=tmp_path / "in", output=tmp_path / value, compute="serial", progress=False,
                append_row_file_name="out.txt",
            )  # fmt: skip
            # Then it is with the modules as they are now
            assert run.output_file is not None
            assert run.output_file.read_text() == value * 2 + "\n"
            # and the program's are there as before
            assert {name: sys.modules[name] for name in names} == mine
            assert mine["package"].inner is mine["package.inner"]
    finally:
        for name in names:
            sys.modules.pop(name, None)


def test_what_is_installed_below_the_scripts_folder_is_not_imported_twice(
    tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an environment below the script's folder, of which this process has imported something
    (tmp_path / "in.csv").write_text("id\n1\n")
    script("", "venv/lib/site-packages/installed_there.py")
    monkeypatch.syspath_prepend(str(tmp_path / "venv" / "lib" / "site-packages"))
    mine = importlib.import_module("installed_there")
    entry = script("""
        import installed_there

        def run(mini_batch):
            return [id(installed_there)]
        """)
    # When the script is tried, then it is the same
    try:
        assert daskbatch.try_(entry, tmp_path / "in.csv").result == [id(mine)]
        assert sys.modules["installed_there"] is mine
    finally:
        del sys.modules["installed_there"]


def test_entry_script_is_afterwards_as_it_was(
    tmp_path: Path, script: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    me = EntryScript()
    before = (me.output_dir, me.agent_name, me.logger.level, me.logger.handlers[:])
    entry = script("""
        from daskbatch import EntryScript

        def run(mini_batch):
            EntryScript().logger.debug("seen")
            return [EntryScript().agent_name]
        """)
    assert daskbatch.try_(entry, tmp_path / "in.csv", logging_level="DEBUG").result == ["serial/process000"]
    me.logger.debug("not seen")
    assert (me.output_dir, me.agent_name, me.logger.level, me.logger.handlers[:]) == before
    assert [line.split("|")[-1] for line in capsys.readouterr().err.splitlines()] == ["seen"]


@pytest.mark.parametrize("where", ["init", "run", "shutdown"])
def test_a_script_that_exits_fails_the_command(where: str, tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    hooks = dict.fromkeys(("init", "shutdown"), "pass") | {"run": "return mini_batch"} | {where: "sys.exit()"}
    entry = script(
        f"import sys\ndef init(): {hooks['init']}\ndef run(mini_batch): {hooks['run']}\n"
        f"def shutdown(): {hooks['shutdown']}\n"
    )
    result = CliRunner().invoke(cli, ["try", entry, str(tmp_path / "in.csv")])
    assert result.exit_code == 1
    assert f"in {where}\n" in result.stderr
    assert result.stderr.endswith("daskbatch: error: the script ended the process: exit status None\n")
