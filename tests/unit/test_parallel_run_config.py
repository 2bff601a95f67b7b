from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daskbatch import (
    AmlCompute,
    ComputeTarget,
    CondaDependencies,
    EntryScriptError,
    Environment,
    NotFound,
    ParallelRunConfig,
    PipelineParameter,
    UsageError,
    Workspace,
)
from daskbatch.api.config_rules import PARAMETERS, RUN_OPTIONS
from daskbatch.options import make_spec


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry script in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "score.py"
    path.write_text("def run(mini_batch):\n    return mini_batch\n")
    return path


def config(**options: Any) -> ParallelRunConfig:
    required = {
        "environment": Environment("e"),
        "entry_script": "score.py",
        "error_threshold": 10,
        "output_action": "append_row",
        "compute_target": "local",
        "node_count": 2,
    }
    return ParallelRunConfig(**{**required, **options})


def test_defaults_are_the_tables(script: Path) -> None:
    made = config()
    assert (made.process_count_per_node, made.mini_batch_size, made.partition_keys) == (1, None, None)
    assert (made.run_invocation_timeout, made.run_max_try, made.logging_level) == (60, 3, "INFO")
    assert made.append_row_file_name == "parallel_run_step.txt"
    assert (made.allowed_failed_count, made.allowed_failed_percent, made.environment_variables) == (None, None, None)


def test_the_order_is_azures(script: Path) -> None:
    made = ParallelRunConfig(Environment("e"), "score.py", -1, "summary_only", "local", 1, 4, "2KB", ".")
    assert (made.process_count_per_node, made.mini_batch_size, made.source_directory) == (4, "2KB", str(script.parent))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mini_batch_size", 10, "10"),
        ("mini_batch_size", "1mb", "1MB"),
        ("mini_batch_size", "1048576B"[:-1], "1048576"),
        ("mini_batch_size", "5000rows", "5000rows"),
        ("error_threshold", -1, -1),
        ("error_threshold", 2**31 - 1, 2**31 - 1),
        ("allowed_failed_count", -1, -1),
        ("allowed_failed_percent", "2.5", 2.5),
        ("output_action", "summary_only", "summary_only"),
        ("node_count", "3", 3),
        ("run_invocation_timeout", 259200, 259200),
        ("run_invocation_timeout", 0.5, 0.5),
        ("run_max_try", 1, 1),
        ("logging_level", "debug", "DEBUG"),
        ("append_row_file_name", "scores.csv", "scores.csv"),
        ("partition_keys", ("store", "day"), ["store", "day"]),
        ("environment_variables", {"A": 1}, {"A": "1"}),
        ("process_count_per_node", None, 1),
    ],
)
def test_values_that_are_taken(script: Path, name: str, value: object, expected: object) -> None:
    assert getattr(config(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("environment", "e", r"environment must be an Environment, got 'e'\. Make one"),
        ("entry_script", None, "entry_script must be the path of a Python script, got None"),
        ("error_threshold", -2, r"error_threshold must be a whole number from -1 to 2147483647, got -2\. -1 lets"),
        ("error_threshold", 2**31, "error_threshold must be a whole number from -1 to 2147483647"),
        ("error_threshold", None, "error_threshold must be a whole number"),
        ("output_action", "append", r"output_action must be append_row or summary_only, got 'append'\. Did you mean"),
        ("compute_target", None, "compute_target must be a compute target or the name of one"),
        ("node_count", 0, "node_count must be a whole number from 1"),
        ("node_count", True, "node_count must be a whole number from 1"),
        ("process_count_per_node", 0, "process_count_per_node must be a whole number from 1"),
        ("mini_batch_size", 0, "mini_batch_size must be a count of files"),
        ("mini_batch_size", "1TB", r"mini_batch_size must be .* Got '1TB'"),
        ("mini_batch_size", "1.5MB", "mini_batch_size must be"),
        ("run_invocation_timeout", 0, "run_invocation_timeout must be a number of seconds above 0 and up to 259200"),
        ("run_invocation_timeout", 259201, "up to 259200, got 259201"),
        ("run_max_try", 0, r"run_max_try must be a whole number from 1 .* It counts the first try too"),
        ("logging_level", "TRACE", "logging_level must be WARNING, INFO or DEBUG, got 'TRACE'"),
        ("append_row_file_name", "a/b.csv", "append_row_file_name must be a file name without a folder"),
        ("append_row_file_name", "b.pq", "append_row_file_name must end with .csv"),
        ("allowed_failed_count", -2, "allowed_failed_count must be a whole number from -1"),
        ("allowed_failed_percent", 101, "allowed_failed_percent must be a number from 0 to 100, got 101"),
        ("partition_keys", "store", r"partition_keys must be a list of different names such as .* got 'store'"),
        ("partition_keys", [], "partition_keys must be a list of different names"),
        ("partition_keys", ["a", "a"], "partition_keys must be a list of different names"),
        ("environment_variables", ["A"], "environment_variables must be given as a dict"),
        ("description", 3, "description must be a text, got 3"),
        ("source_directory", "nowhere", "source_directory must be a folder, but .*nowhere' does not exist"),
        ("entry_script", "scores.py", r"'.*/scores.py' does not exist\. Did you mean 'score.py'"),
    ],
)
def test_values_that_are_refused(script: Path, name: str, value: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        config(**{name: value})


def test_keys_and_a_size_are_too_much(script: Path) -> None:
    with pytest.raises(UsageError, match=r"partition_keys \['a'\] and mini_batch_size, '10', .* Leave one out"):
        config(partition_keys=["a"], mini_batch_size=10)
    with pytest.raises(UsageError, match="the PipelineParameter 'size', both say how"):
        config(partition_keys=["a"], mini_batch_size=PipelineParameter("size", 10))


def test_the_script_is_looked_at(script: Path) -> None:
    (script.parent / "src").mkdir()
    with pytest.raises(EntryScriptError, match="does not exist"):
        config(source_directory="src")
    (script.parent / "src" / "in.py").write_text("def run(mini_batch): return mini_batch\n")
    made = config(source_directory="src", entry_script=script.parent / "src" / "in.py")
    assert (made.entry_script, made.source_directory) == ("in.py", str(script.parent / "src"))
    (script.parent / "no.py").write_text("def init(): pass\n")
    with pytest.raises(EntryScriptError, match="run"):
        config(entry_script="no.py")
    assert config().entry_script == str(script)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_may_be_a_parameter(script: Path, name: str) -> None:
    default = "DEBUG" if name == "logging_level" else 5
    parameter = PipelineParameter("p", default)
    made = config(**{name: parameter})
    assert getattr(made, name) is parameter
    assert made.parameters() == [parameter]
    assert made.as_document()["config"][name] == {"parameter": "p"}
    with pytest.raises(UsageError, match=f"The default_value of the PipelineParameter 'p': {name} must be"):
        config(**{name: PipelineParameter("p", "x")})


@pytest.mark.parametrize("name", sorted({*RUN_OPTIONS, "description", "entry_script"} - set(PARAMETERS)))
def test_what_must_not_be_a_parameter(script: Path, name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"{name} must not be a PipelineParameter, got 'p'\. These may be: mini_batch_"
    ):
        config(**{name: PipelineParameter("p", 1)})


def test_an_option_is_checked_when_it_is_set(script: Path) -> None:
    made = config()
    made.node_count = 7
    assert made.as_document()["config"]["node_count"] == 7
    with pytest.raises(UsageError, match="node_count must be"):
        made.node_count = 0
    with pytest.raises(UsageError, match=r"no option 'nodecount'\. Did you mean 'node_count'"):
        made.nodecount = 3  # type: ignore[attr-defined]


def test_secrets_are_not_shown(script: Path) -> None:
    assert "hunter2" not in repr(config(environment_variables={"PASSWORD": "hunter2"}))


def test_the_document_holds_json_and_the_options_of_a_run(script: Path) -> None:
    document = config(mini_batch_size=3, environment_variables={"A": "b"}, description="d").as_document()
    assert document["entry_script"] == str(script)
    assert document["source_directory"] is None
    assert document["compute_target"] == "local"
    assert Environment.from_document(document["environment"]) == Environment("e")
    options = {name: value for name, value in document["config"].items() if name != "description"}
    assert set(options) == set(RUN_OPTIONS)
    del options["partition_keys"]
    spec = make_spec(document["entry_script"], ["data"], output="out", **options)
    assert (spec.error_threshold, spec.run_max_try, spec.environment_variables) == (10, 3, (("A", "b"),))


def test_yaml_as_people_write_it(script: Path) -> None:
    Environment("e").save_to_directory("env")
    folder = script.parent / "deep"
    folder.mkdir()
    (folder / "config.yml").write_text(
        "parallel_run_config:\n  entry_script: score.py\n  source_directory: .\n  error_threshold: -1\n"
        "  output_action: append_row\n  node_count: 2\n  mini_batch_size: 1MB\n  compute_target_name: gpu\n"
        "  environment_dir_path: env\n"
    )
    (folder / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    made = ParallelRunConfig.load_yaml("deep/config.yml")
    assert (made.compute_target, made.source_directory, made.mini_batch_size) == ("gpu", str(folder), "1MB")
    ws = Workspace.create("w", "ws")
    with pytest.raises(NotFound, match="no compute target 'gpu'"):
        ParallelRunConfig.load_yaml(workspace=ws, path="deep/config.yml")
    ComputeTarget.create(ws, "gpu", AmlCompute.provisioning_configuration())
    assert ParallelRunConfig.load_yaml(ws, "deep/config.yml") == made


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [", "is no YAML"),
        ("- a", "must hold a mapping"),
        ("node_count: 1", "must hold 'parallel_run_config'"),
        ("parallel_run_config: {}", "entry_script is missing"),
        ("parallel_run_config: {node_conut: 1}", r"no option 'node_conut'\. Did you mean 'node_count'"),
        ("parallel_run_config: {environment: e}", r"no option 'environment'"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
    ],
)
def test_yaml_that_is_refused(script: Path, content: str, told: str) -> None:
    Path("c.yml").write_text(content)
    with pytest.raises(UsageError, match=told):
        ParallelRunConfig.load_yaml("c.yml")


def test_yaml_with_a_wrong_option_names_the_file(script: Path) -> None:
    config().save_to_yaml("c.yml")
    content = yaml.safe_load(Path("c.yml").read_text())
    content["parallel_run_config"]["run_max_try"] = 0
    Path("c.yml").write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"c.yml': run_max_try must be"):
        ParallelRunConfig.load_yaml("c.yml")
    with pytest.raises(UsageError, match="cannot be read"):
        ParallelRunConfig.load_yaml("none.yml")
    with pytest.raises(UsageError, match="load_yaml takes a workspace and a path"):
        ParallelRunConfig.load_yaml()


def test_a_file_with_variables_is_private(script: Path) -> None:
    config(environment_variables={"KEY": "s"}).save_to_yaml("c.yml")
    assert os.stat("c.yml").st_mode & 0o077 == 0


texts = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="="), min_size=1, max_size=10)
counts = st.integers(1, 2**31 - 1)
limits = st.integers(-1, 2**31 - 1)
sizes = counts | st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["KB", "mb", "G" + "b", "rows"]))


def parameters(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.builds(PipelineParameter, st.from_regex(r"[a-z_][a-z0-9_-]{0,5}", fullmatch=True), values)


@given(
    options=st.fixed_dictionaries(
        {"error_threshold": limits, "output_action": st.sampled_from(["append_row", "summary_only"])},
        optional={
            "node_count": parameters(counts),
            "process_count_per_node": parameters(counts),
            "mini_batch_size": parameters(sizes),
            "description": st.text(max_size=20),
            "logging_level": parameters(st.sampled_from(["INFO", "DEBUG", "WARNING"])),
            "run_invocation_timeout": parameters(st.floats(0.001, 259200) | st.integers(1, 259200)),
            "run_max_try": parameters(counts),
            "append_row_file_name": st.sampled_from(["a.csv", "b.txt", "é.parquet"]),
            "allowed_failed_count": limits,
            "allowed_failed_percent": st.floats(0, 100),
            "environment_variables": st.dictionaries(texts, texts, min_size=1, max_size=3),
        },
    )
)
def test_yaml_brings_back_what_was_saved(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("config")
    (folder / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    env = Environment("e")
    env.python.conda_dependencies = CondaDependencies.create(pip_packages=["pillow"])
    made = config(environment=env, entry_script="score.py", source_directory=folder, **options)
    made.save_to_yaml(folder / "c.yml")
    back = ParallelRunConfig.load_yaml(folder / "c.yml")
    assert back == made
    assert back.as_document() == made.as_document()
