from __future__ import annotations

import inspect
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import EntryScriptError, InputError, UsageError
from daskbatch.options import check_output, make_spec
from daskbatch.options.output import check_unused
from daskbatch.options.public import public_options
from daskbatch.options.values import byte_size, mini_batch_size
from daskbatch.spec import Compute, RunSpec
from daskbatch.types import MiniBatchSize


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with an entry script and two tables."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x\n1\n")
    return tmp_path


def spec(**options: Any) -> RunSpec:
    return make_spec(**{"entry": "score.py", "inputs": "data", "output": "out"} | options)


def test_what_is_not_given_is_the_specs_default(folder: Path) -> None:
    made = spec()
    plain = RunSpec(entry=made.entry, input=made.input, output=str(folder / "out"), folder=str(folder))
    assert made == plain
    assert made.input.paths == (str(folder / "data"),)
    assert made.entry.script == str(folder / "score.py")


ACCEPTED = [
    ("mini_batch_size", 10, "input.mini_batch_size", MiniBatchSize("files", 10)),
    ("mini_batch_size", "10", "input.mini_batch_size", MiniBatchSize("files", 10)),
    ("mini_batch_size", "1MB", "input.mini_batch_size", MiniBatchSize("bytes", 1024**2)),
    ("mini_batch_size", "512kb", "input.mini_batch_size", MiniBatchSize("bytes", 512 * 1024)),
    ("mini_batch_size", "5000rows", "input.mini_batch_size", MiniBatchSize("rows", 5000)),
    ("mini_batch_size", "1row", "input.mini_batch_size", MiniBatchSize("rows", 1)),
    ("separator", "tab", "input.separator", "\t"),
    ("separator", "\\t", "input.separator", "\t"),
    ("separator", "|", "input.separator", "|"),
    ("header", "none", "input.header", False),
    ("encoding", "UTF8", "input.encoding", "utf-8"),
    ("encoding", "latin-1", "input.encoding", "iso8859-1"),
    ("support_multi_line", True, "input.support_multi_line", True),
    ("dtype", {"a": int, "b": "str"}, "input.dtype", (("a", "int64"), ("b", "string"))),
    ("dtype", "a=int64,b=string", "input.dtype", (("a", "int64"), ("b", "string"))),
    ("dtype", "a=b=float", "input.dtype", (("a=b", "float64"),)),
    ("dtype", "t=timestamp[us, tz=UTC],n=int8", "input.dtype", (("t", "timestamp[us, tz=UTC]"), ("n", "int8"))),
    ("include_path", True, "input.include_path", True),
    ("columns", "b, a", "input.columns", ("b", "a")),
    ("columns", 'b,"last, first"', "input.columns", ("b", "last, first")),
    ("columns", ["b", "a,c"], "input.columns", ("b", "a,c")),
    ("partition_format", "/{a}/*.csv", "input.partition_format", "/{a}/*.csv"),
    ("output_action", "summary_only", "output_action", "summary_only"),
    ("append_row_file_name", "scores.parquet", "append_row_file_name", "scores.parquet"),
    ("append_row_file_name", "outputs", "append_row_file_name", "outputs"),
    ("error_threshold", -1, "error_threshold", -1),
    ("error_threshold", "2147483647", "error_threshold", 2147483647),
    ("allowed_failed_count", 0, "allowed_failed_count", 0),
    ("allowed_failed_percent", "2.5", "allowed_failed_percent", 2.5),
    ("run_max_try", "1", "run_max_try", 1),
    ("run_invocation_timeout", "0.5", "run_invocation_timeout", 0.5),
    ("run_invocation_timeout", 259200, "run_invocation_timeout", 259200.0),
    ("runner_memory_limit", "4GB", "runner_memory_limit", 4 * 1024**3),
    ("process_count_per_node", "2", "process_count_per_node", 2),
    ("arguments", ["--n", 5, Path("m")], "arguments", ("--n", "5", "m")),
    ("environment_variables", {"A": 1}, "environment_variables", (("A", "1"),)),
    ("environment_variables", ["A=b=c", "B="], "environment_variables", (("A", "b=c"), ("B", ""))),
    ("logging_level", "debug", "logging_level", "DEBUG"),
    ("python", sys.executable, "python", sys.executable),
    ("python", Path(sys.executable), "python", sys.executable),
    ("tensorflow1", True, "tensorflow1", True),
    ("scheduler", "tls://host:8786", "scheduler", "tls://host:8786"),
    ("scheduler", "host:8786", "scheduler", "tcp://host:8786"),
    ("compute", "serial", "compute", Compute("serial")),
    ("compute", {"type": "dask", "scheduler": "tls://h:1"}, "scheduler", "tls://h:1"),
    ("compute", {"type": "slurm", "min-nodes": 3, "node-count": 3, "memory": "1GB"}, "min_nodes", 3),
    (
        "compute",
        {"type": "slurm", "name": "gpu", "cores": 2, "memory": "1GB", "walltime": "1:00:00"},
        "compute",
        Compute("slurm", "gpu", {"cores": 2, "memory": "1GB", "walltime": "1:00:00"}),
    ),
    ("min_nodes", "1", "min_nodes", 1),
    ("min_nodes_timeout", "60", "min_nodes_timeout", 60.0),
    ("job_replacements", 0, "job_replacements", 0),
]


@pytest.mark.parametrize(("name", "value", "place", "expected"), ACCEPTED)
def test_accepts(name: str, value: object, place: str, expected: object) -> None:
    found: Any = spec(**{name: value})
    for part in place.split("."):
        found = getattr(found, part)
    assert found == expected
    assert type(found) is type(expected)


REFUSED = [
    ("mini_batch_size", "1MiB", "5000rows"),
    ("mini_batch_size", 0, "at least 1"),
    ("mini_batch_size", 1.5, "Got 1.5"),
    ("mini_batch_size", True, "Got True"),
    ("mini_batch_size", "99999999999GB", "Got"),
    ("input_format", "cvs", "Did you mean 'csv'?"),
    ("separator", "||", "one ASCII character"),
    ("separator", "\n", "other than a quote or a newline"),
    ("separator", "semicollon", "Did you mean 'semicolon'?"),
    ("header", None, "first_row or none"),
    ("encoding", "utf-88", "Did you mean 'utf-8'?"),
    ("encoding", "base64", "text encoding"),
    ("support_multi_line", "yes", "True or False"),
    ("dtype", "a", "id=int64"),
    ("dtype", {"a": "in64"}, "Did you mean 'int64'?"),
    ("dtype", "a=int64,a=string", "once"),
    ("include_path", "yes", "True or False"),
    ("columns", "", "list of names such as"),
    ("columns", [], "list of names such as"),
    ("columns", ["a", 1], "list of names such as"),
    ("columns", "a,b,a", "got 'a' twice"),
    ("partition_format", "a/b.csv", "name a key in braces"),
    ("output_action", "append_rows", "Did you mean 'append_row'?"),
    ("append_row_file_name", "out/p.csv", "'p.csv' here"),
    ("append_row_file_name", "..", "must end with"),
    ("append_row_file_name", "p.json", "Did you mean '.jsonl'?"),
    ("append_row_file_name", "p.xlsx", ".parquet or .txt"),
    ("append_row_file_name", "x" * 300 + ".csv", "200 bytes"),
    ("append_row_file_name", "failed_items.jsonl", "Choose another name"),
    ("error_threshold", -2, "-1 lets any number fail"),
    ("error_threshold", 2**31, "from -1 to 2147483647"),
    ("error_threshold", "few", "whole number"),
    ("allowed_failed_percent", 101, "from 0 to 100"),
    ("allowed_failed_percent", "nan", "from 0 to 100"),
    ("run_max_try", 0, "from 1"),
    ("run_max_try", 2.5, "whole number"),
    ("run_invocation_timeout", 0, "above 0"),
    ("run_invocation_timeout", 259201, "up to 259200"),
    ("run_invocation_timeout", "60s", "without a unit"),
    ("init_timeout", float("inf"), "seconds"),
    ("runner_memory_limit", "4", "did you mean 4GB?"),
    ("runner_memory_limit", "4 gigs", "512MB or 4GB"),
    ("process_count_per_node", 0, "from 1"),
    ("source_directory", "nowhere", "does not exist"),
    ("arguments", "--model m", "must be a list"),
    ("environment_variables", ["PATH"], "NAME=value"),
    ("environment_variables", {"": "x"}, "one character or more"),
    ("environment_variables", {"A": ["s3cret"]}, "value of 'A' must be a text or a number, got one of type list"),
    ("environment_variables", {"A": None}, "got one of type NoneType"),
    ("environment_variables", {"A": ["s3cret"]}, "value of 'A' must be a text or a number, got one of type list"),
    ("environment_variables", {"A": None}, "got one of type NoneType"),
    ("logging_level", "warn", "Did you mean 'WARNING'?"),
    ("python", "nowhere/python", "does not exist"),
    ("python", "no-such-python", "on PATH"),
    ("python", ".", "got the folder"),
    ("python", "score.py", "not executable"),
    ("python", "/bin/ls", "does not tell its version"),
    ("tensorflow1", 1, "True or False"),
    ("scheduler", "nowhere.json", "no such file"),
    ("compute", "slurm", "local or serial"),
    ("output", "", "must be a path"),
    ("output", 5, "of type int"),
    ("mini_batch_sise", 5, "Did you mean 'mini_batch_size'?"),
]


@pytest.mark.parametrize(("name", "value", "told"), REFUSED)
def test_refuses_with_the_name_and_the_next_step(name: str, value: object, told: str) -> None:
    with pytest.raises(UsageError) as error:
        spec(**{name: value})
    assert told in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"input_format": "files", "mini_batch_size": "1MB"},
        {"input_format": "files", "dtype": "a=int64"},
        {"input_format": "parquet", "separator": ","},
        {"input_format": "jsonl", "header": "none"},
        {"input_format": "files", "support_multi_line": True},
        {"input_format": "files", "include_path": True},
        {"input_format": "files", "columns": "a"},
        {"compute": "serial", "scheduler": "tcp://host:1"},
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        spec(**options)
    assert all(name in str(error.value) for name in options)


@given(st.integers(1, 2**20), st.sampled_from(["", "kb", "KB", "Mb", "GB"]))
def test_sizes_count_by_1024(number: int, unit: str) -> None:
    factor = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[unit[:1].lower()]
    expected = MiniBatchSize("bytes" if unit else "files", number * factor)
    assert mini_batch_size(f"{number}{unit}") == expected


@given(st.text(max_size=8))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    for parse in (mini_batch_size, lambda value: byte_size("runner_memory_limit", value)):
        try:
            parse(text)
        except UsageError as error:
            assert repr(text) in str(error)  # noqa: PT017  # both ends are right


# Inputs


def test_inputs_become_absolute_in_their_order(folder: Path) -> None:
    made = spec(inputs=["data/*.csv", Path("b"), f"file://{folder}/c%20d", "~/e"])
    home = os.path.expanduser("~/e")
    assert made.input.paths == (f"{folder}/data/*.csv", f"{folder}/b", f"{folder}/c d", home)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("s3://user:hush@bucket/x", "s3://***@bucket/x: the URL holds a user's name or password"),
        ("s3:///x", "names no bucket"),
        ("file://server/x", "names the host 'server'"),
        ([], "empty list"),
        ({"a": 1}, "inputs['a'] must be a path, a glob, a list of them or a Dask dataframe, got one of type int"),
        ({"a": []}, "inputs['a'] must name at least one file"),
        ({"": "data"}, "the name of a dataset must be a text, got ''"),
        ({}, "empty mapping"),
        (5, "type int"),
        ([5], "of type int"),
    ],
)
def test_inputs_that_are_no_local_paths_are_refused(inputs: object, told: str) -> None:
    with pytest.raises(UsageError) as error:
        spec(inputs=inputs)
    assert told in str(error.value)


def test_no_inputs_is_an_input_error() -> None:
    with pytest.raises(InputError):
        spec(inputs=[])


def test_a_dask_collection_has_no_paths() -> None:
    class Frame:
        def __dask_graph__(self) -> None: ...

    assert spec(inputs=Frame()).input.paths == ()
    assert spec(inputs=None).input.paths == ()


# Entries


class Model:
    def run(self, mini_batch: list[str]) -> list[str]:
        return mini_batch


class NeedsPath(Model):
    def __init__(self, path: str) -> None:
        self.path = path


async def async_run(mini_batch: list[str]) -> list[str]:
    return mini_batch


def test_objects_are_pickled_and_named() -> None:
    for entry in (Model, Model(), NeedsPath("m"), lambda mini_batch: mini_batch, len):
        point = spec(entry=entry).entry
        assert point.pickled
        assert point.script is None
    assert spec(entry=Model).entry.name.endswith("test_options.Model")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("scor.py", "Did you mean 'score.py'?"),
        ("nowhere/score.py", "There is no folder"),
        ("data", "got the folder"),
        (NeedsPath, "must work without arguments"),
        (async_run, "async"),
        (inspect, "got the module 'inspect'"),
        (int, "without run()"),
        (5, "got 5"),
        (lambda: None, "must take one mini-batch"),
        (lambda a, b, c: None, "must take one mini-batch"),
    ],
)
def test_entries_that_cannot_be_used(entry: object, told: str) -> None:
    with pytest.raises(EntryScriptError) as error:
        spec(entry=entry)
    assert told in str(error.value)


def test_what_cannot_be_pickled_is_refused_with_a_way_out() -> None:
    lock = threading.Lock()

    def run(mini_batch: list[str]) -> list[str]:
        with lock:
            return mini_batch

    with pytest.raises(EntryScriptError, match="Make a class, create that in its __init__"):
        spec(entry=run)


def test_a_script_is_checked(folder: Path) -> None:
    (folder / "empty.py").write_text("x = 1\n")
    with pytest.raises(EntryScriptError, match="has no run"):
        spec(entry="empty.py")


def test_a_script_is_relative_to_its_source_directory(folder: Path) -> None:
    source = folder / "src"
    source.mkdir()
    (source / "model.py").write_text("def run(mini_batch):\n    return []\n")
    point = spec(entry="model.py", source_directory="src").entry
    assert (point.script, point.source_directory) == (str(source / "model.py"), str(source))
    with pytest.raises(EntryScriptError, match="did you mean 'model\\.py'"):
        spec(entry="src/model.py", source_directory="src")
    with pytest.raises(EntryScriptError, match="must lie inside source_directory"):
        spec(entry="../score.py", source_directory="src")


# Output


def test_the_output_folder_is_made_and_left_empty(folder: Path) -> None:
    check_output(spec(output="new/deep"))
    assert list((folder / "new" / "deep").iterdir()) == []


@pytest.mark.parametrize("name", ["run_summary.json", "failed_items.jsonl", "predictions.csv"])
def test_a_folder_with_files_that_would_be_overwritten_is_refused(folder: Path, name: str) -> None:
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("")
    with pytest.raises(UsageError, match="Choose a new output folder") as error:
        check_unused(str(folder / "out"), "predictions.csv", lambda name: (folder / "out" / name).exists())
    assert repr(name) in str(error.value)


def test_a_state_folder_that_is_a_file_is_refused(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / ".daskbatch").write_text("")
    with pytest.raises(UsageError, match="is no folder"):
        check_output(spec())


@pytest.mark.parametrize("name", [".daskbatch", "logs", "run_summary.json", "failed_items.jsonl", "logs/user/stdout"])
def test_nothing_is_written_through_links(folder: Path, name: str) -> None:
    link = folder / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(folder / "elsewhere")
    with pytest.raises(UsageError, match="is a symbolic link") as error:
        check_output(spec())
    assert name in str(error.value)
    assert not (folder / "elsewhere").exists()


def test_a_folder_with_other_files_will_do(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "notes.txt").write_text("")
    check_output(spec())


def test_an_output_that_cannot_be_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="is a file"):
        check_output(spec(output="score.py"))
    with pytest.raises(UsageError, match="cannot be written"):
        check_output(spec(output="score.py/out"))


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ("data", "data/out"),
        ("data", "data"),
        (".", "out"),
        ("*", "out"),
        ("data/**/*.csv", "data/deep/out"),
        ("*/*.csv", "out"),
    ],
)
def test_an_output_that_another_run_would_read_is_refused(folder: Path, inputs: str, output: str) -> None:
    with pytest.raises(UsageError, match="Choose an output folder outside of it"):
        check_output(spec(inputs=inputs, output=output))
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ("data/*.csv", "data/out"),
        ("*.csv", "out"),
        ("data", "data2"),
        ("data/a.csv", "data"),
        ("data/*/*.txt", "data/out"),
    ],
)
def test_an_output_beside_the_inputs_will_do(inputs: str, output: str) -> None:
    check_output(spec(inputs=inputs, output=output))


# What is told of them


def test_public_options_are_json_under_the_public_names() -> None:
    options = public_options(
        spec(mini_batch_size="1MB", environment_variables={"TOKEN": "secret"}, dtype={"a": int}, arguments=["-v"])
    )
    names = set(inspect.signature(make_spec).parameters) - {"unknown"}
    assert names <= set(options)
    text = json.dumps(options)
    assert "secret" not in text
    assert options["mini_batch_size"] == "1MB"
    assert options["environment_variables"] == ["TOKEN"]
