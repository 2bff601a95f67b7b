"""The YAML of version 2, key by key: ``type: parallel``, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab import PROBE

import daskbatch

JOB = """
$schema: https://azuremlschemas.azureedge.net/latest/parallelJob.schema.json
type: parallel
compute: azureml:cpu-cluster
inputs:
  texts: {type: uri_folder, path: ./texts, mode: ro_mount}
  words: {type: uri_file, path: words.txt}
outputs:
  told: {type: uri_file, path: ./out/told.txt}
input_data: ${{inputs.texts}}
mini_batch_size: "2"
mini_batch_error_threshold: 1
error_threshold: -1
logging_level: DEBUG
resources: {instance_count: 1}
max_concurrency_per_instance: 2
retry_settings: {max_retries: 1, timeout: 1}
environment_variables: {WORD: hello}
task:
  type: run_function
  code: src
  entry_script: probe.py
  environment: azureml:AzureML-sklearn@latest
  program_arguments: >-
    --side ${{inputs.words}} --meet 2 --slow 5
  append_row_to: ${{outputs.told}}
"""

KEYS = """
type: parallel
inputs:
  tables: {type: mltable, path: ./tables}
outputs:
  told: {type: uri_file, path: ./keys/told.txt}
input_data: ${{inputs.tables}}
partition_keys: [store]
task: {code: src, entry_script: probe.py, append_row_to: "${{outputs.told}}"}
"""

MLTABLE = """
paths:
- pattern: ./*/*.csv
transformations:
- read_delimited: {delimiter: ","}
- extract_columns_from_partition_format: "/{store}/{day}.csv"
"""


class Job:
    """A job that was run."""

    def __init__(self, folder: Path, name: str, text: str, *arguments: str) -> None:
        (folder / name).write_text(text)
        command = [sys.executable, "-m", "daskbatch", "run", str(folder / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.code, self.err = done.returncode, done.stderr

    def summary(self, out: Path) -> dict[str, Any]:
        """Its summary, if it has completed."""
        assert self.code == 0, self.err
        found: dict[str, Any] = json.loads((out / "run_summary.json").read_text())
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    files = {"src/probe.py": PROBE, "words.txt": "side", **{f"texts/{n}": "x" for n in range(6)}}
    files |= {f"tables/{store}/{day}.csv": "amount\n" + "1\n" * 5 for store in "abc" for day in "12"}
    files["tables/MLTable"] = MLTABLE
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def job(folder: Path) -> Job:
    return Job(folder, "job.yml", JOB)


@pytest.fixture(scope="module")
def told(folder: Path, job: Job) -> list[dict[str, Any]]:
    job.summary(folder / "out")
    return [json.loads(line) for line in (folder / "out" / "told.txt").read_text().splitlines()]


def test_inputs_outputs_compute_and_input_data(job: Job, told: list[dict[str, Any]]) -> None:
    assert [one["name"] for one in told] == ["0", "1", "2", "3"]
    assert {one["side"] for one in told} == {"side"}
    assert "compute 'cpu-cluster' is no compute target here" in job.err


def test_job_mini_batch_size(folder: Path, job: Job, told: list[dict[str, Any]]) -> None:
    assert job.summary(folder / "out")["mini_batches"]["total"] == 3
    assert {one["size"] for one in told} == {2}


def test_job_partition_keys(folder: Path) -> None:
    job = Job(folder, "keys.yml", KEYS)
    assert job.summary(folder / "keys")["mini_batches"]["total"] == 3
    told = [json.loads(line) for line in (folder / "keys" / "told.txt").read_text().splitlines()]
    assert {one["rows"] for one in told} == {10}
    assert sorted({str(one["key"]["store"]) for one in told}) == ["a", "b", "c"]


def test_job_thresholds(folder: Path, job: Job) -> None:
    assert job.summary(folder / "out")["mini_batches"]["failed"] == 1  # as many as may fail
    strict = Job(folder, "strict.yml", JOB.replace("threshold: 1", "threshold: 0"), "--output", str(folder / "strict"))
    assert strict.code == 1
    assert "allowed_failed_count" in strict.err


def test_job_resources(folder: Path, told: list[dict[str, Any]]) -> None:
    assert len(list((folder / "out").glob("pid-*"))) >= 2  # two processes met; a killed one has a successor


def test_job_retry_settings(folder: Path, told: list[dict[str, Any]]) -> None:
    failed = [json.loads(line) for line in (folder / "out" / "failed_items.jsonl").open()]
    assert {(one["error"], one["tries"]) for one in failed} == {("RunTimeout", 2)}  # one retry is two tries


def test_job_variables_and_logging_level(folder: Path, told: list[dict[str, Any]]) -> None:
    assert {one["word"] for one in told} == {"hello"}
    logs = folder / "out" / "logs" / "user" / "entry_script_log"
    assert any("told at DEBUG" in path.read_text() for path in logs.rglob("*.log.txt"))


def test_job_task(folder: Path, told: list[dict[str, Any]]) -> None:
    assert {one["script"] for one in told} == {"probe.py"}
    assert (folder / "out" / "told.txt").is_file()


def test_job_without_append_row_to(folder: Path) -> None:
    text = JOB.replace("  append_row_to: ${{outputs.told}}\n", "").replace(" --meet 2 --slow 5", "")
    job = Job(folder, "counted.yml", text, "--output", str(folder / "counted"))
    summary = job.summary(folder / "counted")
    assert summary["output"] is None
    assert summary["items"]["succeeded"] == 6


PIPELINE = """
type: pipeline
experiment_name: letters
inputs:
  texts: {type: uri_folder, path: ./texts}
  size: "3"
outputs:
  told: {type: uri_file, path: azureml://datastores/workspaceblobstore/paths/told/all.txt}
jobs:
  count_letters:
    type: parallel
    inputs: {own: {path: "${{parent.inputs.texts}}"}}
    outputs: {told: "${{parent.outputs.told}}"}
    input_data: ${{inputs.own}}
    mini_batch_size: "2"
    task: {code: src, entry_script: probe.py, append_row_to: "${{outputs.told}}"}
"""


def test_a_job_in_a_pipeline(folder: Path) -> None:
    daskbatch.Workspace.create("jobs", folder, exist_ok=True)
    (folder / "pipeline.yml").write_text(PIPELINE)
    command = [sys.executable, "-m", "daskbatch", "submit", "pipeline.yml", "--wait"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = (folder / "workspace" / "data" / "told" / "all.txt").read_text().splitlines()
    assert [json.loads(line)["size"] for line in told] == [2] * 6
