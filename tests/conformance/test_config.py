"""ParallelRunConfig, option by option: one pipeline with a step for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, error_of, output_of, step_of, told

from daskbatch import Dataset, Environment, ParallelRunConfig, PipelineData, PipelineParameter, PipelineRun, UsageError


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    config = json.loads((lab.folder / "config.json").read_text())
    (lab.folder / "config.json").write_text(json.dumps({**config, "steps_at_once": 3}))
    return lab


@pytest.fixture(scope="module")
def done(lab: Lab) -> PipelineRun:
    """A run with a step for each option."""
    lab.write("project/probe.py", lab.script.read_text() + "\nfrom beside import *\n")
    lab.write("project/beside.py", "")
    lab.write("project/.amlignore", "*.bin")
    lab.write("project/big.bin", "not code")
    lab.config(mini_batch_size=4, run_max_try=2, append_row_file_name="x.txt").save_to_yaml(lab.folder / "c.yml")
    loaded = ParallelRunConfig.load_yaml(lab.ws, lab.folder / "c.yml")
    grouped = Dataset.File.from_files(str(lab.folder / "files"), partition_format="/f{ten}{one}")
    own = PipelineData("summary")
    one_try: dict[str, Any] = {"run_max_try": 1}
    return lab.submit(
        lab.step("required"),
        lab.step("size-of-files", lab.config(mini_batch_size=5)),
        lab.step("size-of-tables", lab.config(mini_batch_size="1KB"), [lab.tables]),
        lab.step("keys", lab.config(partition_keys=["ten"]), [grouped]),
        lab.step("key-of-tables", lab.config(partition_keys=["store"]), [_by_store(lab)]),
        lab.step("errors-allowed", lab.config(error_threshold=3), arguments=["--drop", "f01 f02 f11"]),
        lab.step("errors-above", lab.config(error_threshold=2), arguments=["--drop", "f01 f02 f11"]),
        lab.step("errors-any", lab.config(error_threshold=-1), arguments=["--drop", "f01 f02 f11"]),
        lab.step(
            "batches-above",
            lab.config(error_threshold=-1, allowed_failed_count=1, mini_batch_size=1, **one_try),
            arguments=["--bad", "f01 f02"],
        ),
        lab.step(
            "percent-kept",
            lab.config(error_threshold=-1, allowed_failed_percent=25, mini_batch_size=3, **one_try),
            arguments=["--bad", "f01"],
        ),
        lab.step("summary", lab.config(output_action="summary_only"), output=own, arguments=["--out", own]),
        lab.step("file-name", lab.config(append_row_file_name="scores.jsonl")),
        lab.step("processes", lab.config(process_count_per_node=2, mini_batch_size=6), arguments=["--meet", "2"]),
        lab.step(
            "timeout",
            lab.config(error_threshold=-1, run_invocation_timeout=1, run_max_try=2, mini_batch_size=4),
            arguments=["--slow", "f01"],
        ),
        lab.step("tries", lab.config(run_max_try=3), arguments=["--recovers-at", "2"]),
        lab.step("level", lab.config(logging_level="WARNING")),
        lab.step(
            "surroundings",
            lab.config(
                source_directory=str(lab.folder / "project"), entry_script="probe.py", description="the project",
                environment_variables={"WORD": "hello"},
            ),
        ),
        lab.step("loaded", loaded),
    )  # fmt: skip


def _by_store(lab: Lab) -> Any:
    target = (lab.ws.get_default_datastore(), "by-store")
    return lab.tables.partition_by(["store"], target=target)


def counts(run: PipelineRun, name: str) -> tuple[int, int, int]:
    """Mini-batches in all, items that succeeded, items that failed."""
    found = step_of(run, name).get_metrics()
    return found["mini_batches_total"], found["items_succeeded"], found["items_failed"]


def test_required_options(lab: Lab, done: PipelineRun) -> None:
    given = {
        "environment": Environment("e"), "entry_script": str(lab.script), "error_threshold": 0,
        "output_action": "append_row", "compute_target": "local", "node_count": 1,
    }  # fmt: skip
    assert [one["name"] for one in told(done, "required")] == [f"f{number:02}" for number in range(12)]
    for name in given:
        with pytest.raises(TypeError, match=name):
            ParallelRunConfig(**{key: value for key, value in given.items() if key != name})


def test_mini_batch_size(lab: Lab, done: PipelineRun) -> None:
    assert [one["size"] for one in told(done, "required")] == [10] * 10 + [2] * 2  # ten files are the default
    assert [one["size"] for one in told(done, "size-of-files")] == [5] * 10 + [2] * 2
    # Tables: the two files of 2713 bytes are cut at about 1024, and not across
    batches = counts(done, "size-of-tables")[0]
    sizes = [one["rows"] for one in told(done, "size-of-tables")]
    assert (batches, len(sizes)) == (6, 600)
    assert max(sizes) <= 1024 // 9 + 1
    with pytest.raises(UsageError, match="mini_batch_size"):
        lab.config(mini_batch_size="1TB")


def test_partition_keys(lab: Lab, done: PipelineRun) -> None:
    keys = [(one["key"], one["size"]) for one in told(done, "keys")]
    assert keys == [({"ten": "0"}, 10)] * 10 + [({"ten": "1"}, 2)] * 2
    rows = told(done, "key-of-tables")
    assert {(one["key"]["store"], one["rows"]) for one in rows} == {("0", 200), ("1", 200), ("2", 200)}
    assert counts(done, "key-of-tables") == (3, 600, 0)
    with pytest.raises(UsageError, match="mini_batch_size"):
        lab.config(partition_keys=["ten"], mini_batch_size=3)


def test_error_threshold(lab: Lab, done: PipelineRun) -> None:
    assert counts(done, "errors-allowed")[1:] == counts(done, "errors-any")[1:] == (9, 3)
    assert step_of(done, "errors-allowed").get_status() == "Completed"
    assert step_of(done, "errors-above").get_status() == "Failed"
    assert "error_threshold" in error_of(done, "errors-above")
    with pytest.raises(UsageError, match="error_threshold"):
        lab.config(error_threshold=-2)


def test_allowed_failed_mini_batches(done: PipelineRun) -> None:
    assert step_of(done, "batches-above").get_status() == "Failed"
    assert "allowed_failed_count" in error_of(done, "batches-above")
    assert step_of(done, "percent-kept").get_status() == "Completed"
    assert counts(done, "percent-kept") == (4, 9, 3)


def test_output_action(lab: Lab, done: PipelineRun) -> None:
    assert [path.name for path in output_of(done, "required").iterdir()] == ["parallel_run_step.txt"]
    assert step_of(done, "summary").get_status() == "Completed"
    assert [path.name for path in output_of(done, "summary").iterdir()] == ["own.txt"]  # the script's, and no other
    assert counts(done, "summary") == (2, 12, 0)
    with pytest.raises(UsageError, match="output_action"):
        lab.config(output_action="append")


def test_append_row_file_name(done: PipelineRun) -> None:
    assert len(told(done, "required", "parallel_run_step.txt")) == 12
    lines = (output_of(done, "file-name") / "scores.jsonl").read_text().splitlines()
    assert [json.loads(json.loads(line)["result"])["name"] for line in lines][:2] == ["f00", "f01"]


def test_process_count_per_node(lab: Lab, done: PipelineRun) -> None:
    assert lab.config().as_document()["config"]["process_count_per_node"] == 1
    assert len(list(output_of(done, "processes").glob("pid-*"))) == 2


def test_run_invocation_timeout(lab: Lab, done: PipelineRun) -> None:
    assert counts(done, "timeout") == (3, 8, 4)
    failed = [json.loads(line) for line in (step_of(done, "timeout").folder / "failed_items.jsonl").open()]
    assert {one["error"] for one in failed} == {"RunTimeout"}
    for wrong in (0, 259201):
        with pytest.raises(UsageError, match="run_invocation_timeout"):
            lab.config(run_invocation_timeout=wrong)


def test_run_max_try(lab: Lab, done: PipelineRun) -> None:
    assert {one["tries"] for one in told(done, "tries")} == {3}
    failed = [json.loads(line) for line in (step_of(done, "timeout").folder / "failed_items.jsonl").open()]
    assert {one["tries"] for one in failed} == {2}
    with pytest.raises(UsageError, match="run_max_try"):
        lab.config(run_max_try=0)


def test_logging_level(lab: Lab, done: PipelineRun) -> None:
    def lines(name: str) -> str:
        logs = step_of(done, name).folder / "logs" / "user" / "entry_script_log"
        return "".join(path.read_text() for path in logs.rglob("*.log.txt"))

    assert "told at WARNING" in lines("level")
    assert "told at INFO" not in lines("level")
    assert "told at INFO" in lines("required")
    assert "told at DEBUG" not in lines("required")
    with pytest.raises(UsageError, match="logging_level"):
        lab.config(logging_level="LOUD")


def test_source_directory_description_environment_variables(lab: Lab, done: PipelineRun) -> None:
    assert {(one["word"], one["script"]) for one in told(done, "surroundings")} == {("hello", "probe.py")}
    copies = [path.name for path in (lab.ws.folder / "snapshots").glob("*/*")]
    assert sorted(copies) == [".amlignore", "beside.py", "probe.py"]
    config = lab.config(description="the project", environment_variables={"WORD": "hello"})
    assert config.as_document()["config"]["description"] == "the project"
    assert "hello" not in repr(config)


def test_load_yaml_and_save_to_yaml(lab: Lab, done: PipelineRun) -> None:
    assert [one["size"] for one in told(done, "loaded", "x.txt")] == [4] * 12
    text = (lab.folder / "c.yml").read_text()
    assert text.startswith("parallel_run_config:")
    assert "compute_target_name: local" in text
    assert "environment_dir_path: c_environment" in text
    assert ParallelRunConfig.load_yaml(lab.folder / "c.yml") == ParallelRunConfig.load_yaml(
        lab.ws, lab.folder / "c.yml"
    )


def test_pipeline_parameters_in_the_config(lab: Lab) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "mini_batch_size": (10, 3),
        "node_count": (2, 1),
        "process_count_per_node": (1, 2),
        "logging_level": ("INFO", "DEBUG"),
        "run_invocation_timeout": (60, 30),
        "run_max_try": (1, 3),
    }
    with pytest.raises(UsageError, match="error_threshold"):
        lab.config(error_threshold=PipelineParameter(name="errors", default_value=1))
    parameters = {name: PipelineParameter(name=f"{name}_param", default_value=old) for name, (old, _) in values.items()}
    step = lab.step("resubmitted", lab.config(**parameters), arguments=["--recovers-at", "1"])
    new = {f"{name}_param": value for name, (_, value) in values.items()}
    run = lab.submit(step, parameters=new)
    assert error_of(run, "resubmitted") == ""
    assert {(one["size"], one["tries"]) for one in told(run, "resubmitted")} == {(3, 2)}
    logs = step_of(run, "resubmitted").folder / "logs" / "user" / "entry_script_log"
    assert any("told at DEBUG" in path.read_text() for path in Path(logs).rglob("*.log.txt"))
    with pytest.raises(UsageError, match=r"no parameter 'mini_batch_size'.*'mini_batch_size_param'"):
        lab.submit(step, parameters={"mini_batch_size": 1})
