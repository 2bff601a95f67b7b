from __future__ import annotations

import codecs
import encodings.aliases
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daskbatch
from daskbatch.engine.folder import RunFolder
from daskbatch.errors import EntryScriptError, UsageError
from daskbatch.options import make_spec
from daskbatch.options.identity import GROUPS, Group, differences, identity_of
from daskbatch.options.names import RunOptions
from daskbatch.options.restore import options_from, stored_options
from daskbatch.options.sealed import changed_variables, seal
from daskbatch.options.source import source_digest
from daskbatch.spec import InputSpec, RunSpec
from daskbatch.store.inputs_types import USER_TYPES


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with an entry script and a source directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    return tmp_path


def spec(**options: Any) -> RunSpec:
    return make_spec(**{"entry": "score.py", "inputs": "data", "output": "out"} | options)


def stored(made: RunSpec, inputs: str = "input 1") -> Mapping[str, Any]:
    """What a file gives back."""
    return json.loads(json.dumps(identity_of(made, inputs)))


def told(before: RunSpec, after: RunSpec, *, reuse: bool = True) -> list[str]:
    return [str(one) for one in differences(stored(before), after, "input 1", reuse=reuse)]


# The table


def test_every_option_is_in_a_group() -> None:
    names = {field.name for kind in (RunSpec, InputSpec) for field in fields(kind)} - {"input", "paths"}
    assert set(GROUPS) == names | {"daskbatch", "inputs", "side_inputs", "source_directory"}
    assert set(RunOptions.__annotations__) <= set(GROUPS)


HOSTS = {"type": "ssh", "hosts": ["one", "two"]}
CHANGES: Mapping[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "input_format": ({}, {"input_format": "csv"}, "input_format was auto, now csv"),
    "mini_batch_size": ({"mini_batch_size": 10}, {"mini_batch_size": "5"}, "mini_batch_size was 10, now 5"),
    "separator": ({}, {"separator": "tab"}, "separator was not given, now '\\t'"),
    "header": ({}, {"header": "none"}, "header was first_row, now none"),
    "encoding": ({}, {"encoding": "latin-1"}, "encoding was utf-8, now iso8859-1"),
    "support_multi_line": ({}, {"support_multi_line": True}, "support_multi_line was False, now True"),
    "dtype": ({}, {"dtype": "a=int"}, "dtype was {}, now {'a': 'int64'}"),
    "include_path": ({}, {"include_path": True}, "include_path was False, now True"),
    "columns": ({"columns": "a,b"}, {"columns": ["b", "a"]}, "columns was ['a', 'b'], now ['b', 'a']"),
    "partition_format": ({}, {"partition_format": "/{a}.csv"}, "partition_format was not given, now '/{a}.csv'"),
    "partition_keys": (
        {"partition_format": "/{a}/{b}.csv"},
        {"partition_format": "/{a}/{b}.csv", "partition_keys": "b,a"},
        "partition_keys was not given, now ['b', 'a']",
    ),
    "datasets": ({"inputs": {"a": "data"}}, {"inputs": {"b": "data"}}, "datasets was ['a'], now ['b']"),
    "output_action": ({}, {"output_action": "summary_only"}, "output_action was append_row, now summary_only"),
    "append_row_file_name": (
        {},
        {"append_row_file_name": "p.jsonl"},
        "append_row_file_name was predictions.csv, now p.jsonl",
    ),
    "arguments": (
        {"arguments": ["-n", 5]},
        {},
        "arguments (on the command line, what follows '--') was ['-n', '5'], now []",
    ),
    "error_threshold": ({}, {"error_threshold": 5}, "error_threshold was not given, now 5"),
    "allowed_failed_count": ({"allowed_failed_count": -1}, {}, "allowed_failed_count was -1, now not given"),
    "allowed_failed_percent": ({}, {"allowed_failed_percent": 2.5}, "allowed_failed_percent was not given, now 2.5"),
    "run_max_try": ({}, {"run_max_try": 1}, "run_max_try was 3, now 1"),
    "run_invocation_timeout": ({}, {"run_invocation_timeout": 0.5}, "run_invocation_timeout was 60, now 0.5"),
    "init_timeout": ({}, {"init_timeout": 5}, "init_timeout was 600, now 5"),
    "read_timeout": ({}, {"read_timeout": 5}, "read_timeout was 300, now 5"),
    "runner_memory_limit": (
        {},
        {"runner_memory_limit": "16MB"},
        "runner_memory_limit was not given, now 16777216",
    ),
    "task_seconds": ({}, {"task_seconds": 9}, "task_seconds was 2, now 9"),
    "storage_options": ({"inputs": "s3://b/k"}, {"inputs": "s3://b/k", "storage_options": ["region=r"]}, ""),
    "output_storage_options": (
        {"output": "s3://b/k"},
        {"output": "s3://b/k", "output_storage_options": ["region=r"]},
        "",
    ),
    "fetched": (
        {"fetched": [["s3://b/k", "object", "1", {"region": "r"}]]},
        {"fetched": [["s3://b/k", "object", "2"]]},
        "fetched was [['s3://b/k', 'object', '1', {'region': 'r'}]], now [['s3://b/k', 'object', '2', {}]]",
    ),
    "node_count": ({}, {"node_count": 2}, ""),
    "process_count_per_node": ({}, {"process_count_per_node": 2}, ""),
    "compute": ({}, {"compute": "serial"}, ""),
    "min_nodes": ({"compute": HOSTS}, {"compute": HOSTS, "min_nodes": 2}, ""),
    "min_nodes_timeout": ({}, {"min_nodes_timeout": 60}, ""),
    "job_replacements": ({}, {"job_replacements": 2}, ""),
    "scheduler": ({}, {"scheduler": "tcp://host:1"}, ""),
    "insecure": ({}, {"insecure": True}, ""),
    "tls_ca_file": ({}, dict.fromkeys(("tls_ca_file", "tls_cert", "tls_key"), __file__), ""),
    "tls_cert": ({}, dict.fromkeys(("tls_ca_file", "tls_cert", "tls_key"), __file__), ""),
    "tls_key": ({}, dict.fromkeys(("tls_ca_file", "tls_cert", "tls_key"), __file__), ""),
    "dashboard": ({}, {"dashboard": True}, ""),
    "logging_level": ({}, {"logging_level": "DEBUG"}, ""),
    "python": ({}, {"python": sys.executable}, f"python was not given, now {sys.executable!r}"),
    "command_prefix": ({}, {"command_prefix": "env"}, f"command_prefix was [], now [{shutil.which('env')!r}]"),
    "script_output": ({}, {"script_output": "/own"}, "script_output was not given, now '/own'"),
    "tensorflow1": ({}, {"tensorflow1": True}, "tensorflow1 was False, now True"),
    "output": ({}, {"output": "elsewhere"}, ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_option_is_told_where_it_counts(name: str) -> None:
    before, after, text = CHANGES[name]
    group = GROUPS[name]
    expected = [] if group is Group.FREE else [text]
    assert told(spec(**before), spec(**after)) == expected
    assert told(spec(**before), spec(**after), reuse=False) == (expected if group is Group.RESULT else [])
    assert told(spec(**before), spec(**before)) == []


def test_all_other_options_have_a_test_of_their_own() -> None:
    others = {"daskbatch", "entry", "environment_variables", "folder", "inputs", "shutdown_timeout"}
    others |= {"side_inputs", "source_directory"}
    assert set(GROUPS) == set(CHANGES) | others


def test_how_what_is_fetched_is_reached_may_change() -> None:
    first = spec(fetched=[["s3://b/k", "object", "1", {"region": "r"}]])
    assert told(first, spec(fetched=[["s3://b/k", "object", "1"]])) == []


def test_what_is_no_option_of_run_counts_too(folder: Path) -> None:
    made = spec()
    assert told(made, replace(made, shutdown_timeout=1.5)) == ["shutdown_timeout was 10, now 1.5"]
    assert told(made, replace(made, folder="/")) == []


def test_the_version_and_the_input_count(monkeypatch: pytest.MonkeyPatch) -> None:
    made = spec()
    before = stored(made)
    monkeypatch.setattr(daskbatch, "__version__", "9.8.7")
    version, inputs = differences(before, made, "input 2", reuse=False)
    assert (version.name, inputs.name) == ("daskbatch", "inputs")
    assert str(version).endswith(", now 9.8.7")
    assert str(inputs) == "the input has changed"


def test_a_side_input_counts(folder: Path) -> None:
    (folder / "labels").mkdir()
    (folder / "labels" / "a").write_text("A")
    made = spec(environment_variables={"AZUREML_DATAREFERENCE_labels": str(folder / "labels")})
    before = stored(made)
    assert differences(before, made, "input 1", reuse=False) == []
    (folder / "labels" / "b").write_text("B")
    (found,) = differences(before, made, "input 1", reuse=False)
    assert str(found) == "the side input labels has changed"


def test_where_the_versions_of_models_stand_does_not_count() -> None:
    runs = [spec(environment_variables={"DASKBATCH_MODELS": f"/runs/{number}/run.json"}) for number in (1, 2)]
    assert told(*runs) == []


def test_how_the_input_is_spelled_does_not_count() -> None:
    assert told(spec(inputs="data"), spec(inputs=["data/*"])) == []


def test_an_identity_without_anything_is_not_taken_for_this_one() -> None:
    assert [one.name for one in differences({}, spec(), "input 1", reuse=True)] == ["daskbatch"]


# Sizes


@pytest.mark.parametrize(
    ("input_format", "one", "other", "same"),
    [
        ("files", None, 10, True),
        ("files", None, 11, False),
        ("csv", None, "1MB", True),
        ("csv", None, 1024**2, True),
        ("csv", 2048, "2KB", True),
        ("csv", None, 10, False),
        ("csv", "5rows", 5, False),
        ("auto", None, "1024KB", True),
        ("auto", 2048, "2KB", True),
        ("auto", None, 10, False),
        ("auto", None, 1024**2, False),
        ("auto", "5rows", "5KB", False),
    ],
)
def test_the_default_size_may_be_given(input_format: str, one: Any, other: Any, same: bool) -> None:
    pair = [spec(input_format=input_format, mini_batch_size=size) for size in (one, other)]
    assert (told(*pair) == []) is same
    assert (told(*reversed(pair)) == []) is same


def test_the_input_of_a_dask_dataframe_is_a_table() -> None:
    assert told(spec(inputs=None), spec(inputs=None, mini_batch_size=1024**2)) == []


def test_the_default_separator_may_be_given() -> None:
    assert told(spec(input_format="csv"), spec(input_format="csv", separator=",")) == []
    assert told(spec(input_format="tsv"), spec(input_format="tsv", separator=","))


# The entry


def test_a_script_counts_by_its_content(folder: Path) -> None:
    made = spec()
    before = stored(made)
    (folder / "same.py").write_bytes((folder / "score.py").read_bytes())
    assert differences(before, spec(entry="same.py"), "input 1", reuse=True) == []
    (folder / "score.py").write_text("def run(mini_batch):\n    return []\n")
    assert [str(one) for one in differences(before, made, "input 1", reuse=False)] == [
        f"the entry script {folder}/score.py has changed"
    ]
    (folder / "score.py").unlink()
    with pytest.raises(EntryScriptError, match="cannot be read"):
        identity_of(made, "input 1")


def first(mini_batch: list[str]) -> list[str]:
    return mini_batch


def test_an_object_counts_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    made = spec(entry=first)
    other = replace(made, entry=replace(made.entry, digest="0"))
    assert told(made, made) == []
    assert told(made, other) == [f"the code of {made.entry.name}, or something that it uses, has changed"]
    before = stored(made)
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "1"))
    (difference,) = differences(before, other, "input 1", reuse=False)
    assert str(difference).endswith(", now 3.99")
    assert differences(before, spec(entry="score.py"), "input 1", reuse=False)[0].name == "entry"


# The source directory


def test_a_source_directory_counts_by_its_content(folder: Path) -> None:
    made = spec(entry="model.py", source_directory="src", output="src/out")
    before = stored(made)
    for name in ("__pycache__/model.pyc", ".git/HEAD", "out/predictions.csv", "notebook.ipynb", "deep/.DS_Store"):
        (folder / "src" / name).parent.mkdir(exist_ok=True)
        (folder / "src" / name).write_text("x")
    assert differences(before, made, "input 1", reuse=True) == []
    (folder / "src" / "deep" / "part.py").write_text("x = 1")
    assert [str(one) for one in differences(before, made, "input 1", reuse=False)] == [
        "source_directory: its content has changed"
    ]
    without = replace(made, entry=replace(made.entry, source_directory=None))
    assert told(made, without) == ["source_directory was given, now it is not"]
    assert told(without, made) == ["source_directory was not given, now it is"]


def test_a_moved_file_and_a_linked_folder_are_seen(folder: Path) -> None:
    (folder / "src" / "a").write_text("1")
    (folder / "lib").mkdir()
    (folder / "src" / "lib").symlink_to(folder / "lib")
    (folder / "src" / "nowhere").symlink_to(folder / "nothing")
    seen = [source_digest("src", "out")]
    (folder / "src" / "a").rename(folder / "src" / "b")
    seen.append(source_digest("src", "out"))
    (folder / "lib" / "c.py").write_text("")
    seen.append(source_digest(str(folder / "src"), "out"))
    assert len(set(seen)) == 3


def test_a_link_to_a_folder_above_is_refused(folder: Path) -> None:
    (folder / "src" / "again").symlink_to(folder / "src")
    with pytest.raises(EntryScriptError, match="Remove the link"):
        source_digest("src", "out")


def test_a_snapshot_holds_what_counts(folder: Path) -> None:
    made = RunFolder(folder / "src" / "out")
    made.create()
    (folder / "lib").mkdir()
    (folder / "lib" / "c.py").write_text("")
    (folder / "src" / "lib").symlink_to(folder / "lib")
    (folder / "src" / "nowhere").symlink_to(folder / "nothing")
    (folder / "src" / "notebook.ipynb").write_text("{}")
    copy = made.snapshot(str(folder / "src"))
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*")) == ["lib", "lib/c.py", "model.py"]
    assert source_digest(str(copy), "out") == source_digest(str(folder / "src"), made.output)
    assert made.snapshot(str(folder / "src")) == copy


def test_a_half_made_snapshot_is_swept_and_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = RunFolder(folder / "out")
    made.create()
    with monkeypatch.context() as killed:
        killed.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if by SIGKILL
        with pytest.raises(KeyboardInterrupt):
            made.snapshot(str(folder / "src"))
    (half,) = made.state.glob("source-*")
    (half / "model.py").write_text("half")
    copy = made.snapshot(str(folder / "src"))
    assert (copy / "model.py").read_text() == (folder / "src" / "model.py").read_text()
    made.sweep()
    assert list(made.state.glob("source-*")) == [copy]


def test_a_snapshot_has_the_name_of_what_was_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = RunFolder(folder / "out")
    made.create()
    first = made.snapshot(str(folder / "src"))
    copy2 = shutil.copy2

    def saved_meanwhile(path: str, target: Path) -> Path:
        Path(path).write_text("saved = 'in that moment'")
        return copy2(path, target)

    monkeypatch.setattr(shutil, "copy2", saved_meanwhile)
    second = made.snapshot(str(folder / "src"))
    assert (second / "model.py").read_text() == "saved = 'in that moment'"
    assert second != first
    assert second.name == f"source-{source_digest(str(second), 'out')[:16]}"


# Environment variables


def test_variables_count_and_their_values_are_never_written() -> None:
    before = spec(environment_variables={"TOKEN": "s3cret", "OLD": "s3cret", "SAME": "s3cret"})
    after = spec(environment_variables={"NEW": "s4cret", "SAME": "s3cret", "TOKEN": "s4cret"})
    text = json.dumps(stored(before)) + json.dumps(stored_options(before))
    assert "s3cret" not in text
    assert hashlib.sha256(b"s3cret").hexdigest() not in text
    assert len(set(identity_of(before, "")["environment_variables"]["digests"].values())) == 3
    assert told(before, before) == []
    assert told(before, after) == [
        "environment_variables: TOKEN has another value",
        "environment_variables: OLD is gone",
        "environment_variables: NEW is new",
    ]


def test_no_variables_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise AssertionError("called")

    monkeypatch.setattr(hashlib, "scrypt", refuse)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", refuse)
    assert seal(()) == {}
    assert changed_variables({}, ()) == []
    assert changed_variables({}, [("A", "1")]) == ["A is new"]


def test_a_python_without_scrypt_seals_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    with_scrypt = seal([("A", "1")])
    monkeypatch.delattr(hashlib, "scrypt")
    without = seal([("A", "1")])
    assert (with_scrypt["method"], without["method"]) == ("scrypt", "pbkdf2")
    assert changed_variables(without, [("A", "1")]) == []
    assert changed_variables(without, [("A", "2")]) == ["A has another value"]
    (text,) = changed_variables(with_scrypt, [("A", "1")])
    assert "cannot be compared" in text


# Options, stored and given again

TEXT_OPTIONS = {
    "separator": st.sampled_from(["tab", ",", ";", " ", "|", "x", "\t"]),
    "header": st.sampled_from(["first_row", "none"]),
    "support_multi_line": st.booleans(),
}
SECONDS = st.floats(0, 259200, exclude_min=True)
COUNTS = st.integers(-1, 2**31 - 1)
WORDS = st.text(st.characters(exclude_characters="\0"), max_size=5)
OPTIONS = {
    "mini_batch_size": st.one_of(
        st.integers(1, 2**40),
        st.builds("{}{}".format, st.integers(1, 5000), st.sampled_from(["kb", "MB", "GB", "rows", ""])),
    ),
    "encoding": st.sampled_from(["utf-8", "utf-16", "latin-1", "cp1252", "ascii", "utf-8-sig"]),
    "dtype": st.dictionaries(WORDS, st.sampled_from([*USER_TYPES, "Int64", "timestamp[us, tz=UTC]"]), max_size=3),
    "include_path": st.booleans(),
    "columns": st.lists(WORDS.filter(bool), min_size=1, max_size=3, unique=True),
    "partition_format": st.sampled_from(["{a}", "/{a b}/{t:yyyyMM}*.csv"]),
    "output_action": st.sampled_from(["append_row", "summary_only"]),
    "append_row_file_name": st.sampled_from(["p.csv", "outputs", "a b.txt", "é.jsonl"]),
    "error_threshold": COUNTS,
    "allowed_failed_count": COUNTS,
    "allowed_failed_percent": st.floats(0, 100),
    "run_max_try": st.integers(1, 2**31 - 1),
    "run_invocation_timeout": SECONDS,
    "init_timeout": SECONDS,
    "read_timeout": SECONDS,
    "runner_memory_limit": st.one_of(st.integers(2**24, 2**40), st.just("3GB")),
    "node_count": st.integers(1, 9),
    "process_count_per_node": st.integers(1, 9),
    "arguments": st.lists(WORDS, max_size=3),
    "environment_variables": st.dictionaries(st.sampled_from("AB"), WORDS),
    "logging_level": st.sampled_from(["WARNING", "INFO", "DEBUG"]),
    "python": st.just(sys.executable),
    "tensorflow1": st.booleans(),
    "dashboard": st.booleans(),
    "task_seconds": st.floats(0, 3600, exclude_min=True),
    "inputs": st.lists(st.sampled_from(["data", "*.csv", "/x/~y", "ü/**", "a\udcff"]), min_size=1),
}


@st.composite
def given_options(draw: st.DrawFn) -> dict[str, Any]:
    """Options that go together."""
    input_format = draw(st.sampled_from(["auto", "files", "csv", "tsv", "jsonl", "parquet"]))
    kinds = OPTIONS | (TEXT_OPTIONS if input_format in ("auto", "csv", "tsv") else {})
    options = draw(st.fixed_dictionaries({}, optional=kinds))
    where = draw(st.sampled_from([{}, {"compute": "serial"}, {"scheduler": "host:8786"}, {"compute": "local"}]))
    entry = draw(st.sampled_from([{}, {"entry": "model.py", "source_directory": "src"}]))
    if input_format == "files":
        options.pop("dtype", None)
        options.pop("include_path", None)
        options.pop("columns", None)
        options["mini_batch_size"] = draw(st.integers(1, 99))
    if "" in options.get("dtype", {}):
        del options["dtype"][""]
    return {"input_format": input_format, **options, **where, **entry}


@given(given_options())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stored_options_make_an_equal_spec(options: dict[str, Any]) -> None:
    made = spec(**options)
    again = make_spec(**options_from(json.loads(json.dumps(stored_options(made)))))
    assert again == replace(made, environment_variables=())


def test_any_encoding_can_be_given_again() -> None:
    for name in sorted(set(encodings.aliases.aliases.values())):
        try:
            made = spec(encoding=name)
        except UsageError:
            continue  # no text encoding
        assert make_spec(**options_from(stored_options(made))).input.encoding == codecs.lookup(name).name


def test_a_scheduler_file_can_be_given_again(folder: Path) -> None:
    (folder / "scheduler.json").write_text("{}")
    made = spec(scheduler="scheduler.json")
    assert make_spec(**options_from(stored_options(made))) == made


def test_the_callers_folder_is_stored_but_no_option(folder: Path) -> None:
    kept = stored_options(spec())
    assert kept["folder"] == str(folder) == os.getcwd()
    assert set(options_from(kept)) == (RunOptions.__annotations__.keys() | {"entry", "inputs", "output"}) - {
        "environment_variables"
    }


@pytest.mark.parametrize(("options", "told"), [({"entry": first}, "test_identity.first"), ({"inputs": None}, "Dask")])
def test_what_lives_in_a_program_cannot_be_given_again(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=r"repeat the daskbatch\.run\(\.\.\.\) call") as error:
        options_from(stored_options(spec(**options)))
    assert told in str(error.value)


def test_a_current_folder_that_is_gone_is_told(folder: Path) -> None:
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()
    with pytest.raises(UsageError, match="does not exist any more"):
        make_spec(str(folder / "score.py"), "/data", output="/out")


def test_outputs_and_the_workspace_are_no_source(tmp_path: Path) -> None:
    # Given a project with its workspace in it, as source_directory='.' makes it
    (tmp_path / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    (tmp_path / "config.json").write_text("{}")
    before = source_digest(str(tmp_path), tmp_path / "out")
    # When data are registered there, and other runs leave their outputs
    (tmp_path / "workspace" / "models").mkdir(parents=True)
    (tmp_path / "workspace" / "models" / "weights").write_bytes(b"1")
    (tmp_path / "earlier" / ".daskbatch").mkdir(parents=True)
    (tmp_path / "earlier" / "predictions.csv").write_text("result\n")
    # Then the source is the same; a folder of that name elsewhere counts
    assert source_digest(str(tmp_path), tmp_path / "out") == before
    (tmp_path / "part" / "workspace").mkdir(parents=True)
    (tmp_path / "part" / "workspace" / "code.py").write_text("")
    assert source_digest(str(tmp_path), tmp_path / "out") != before
