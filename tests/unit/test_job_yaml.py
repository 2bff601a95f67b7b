from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from daskbatch import (
    AmlCompute,
    ComputeTarget,
    Dataset,
    Environment,
    FileDataset,
    IgnoredWarning,
    Model,
    Pipeline,
    TabularDataset,
    UsageError,
    Workspace,
)
from daskbatch.api import ignored
from daskbatch.api.job_expressions import reference, split_arguments
from daskbatch.api.job_options import options_of_job
from daskbatch.api.mltable import read_mltable
from daskbatch.options import make_spec

JOB = """
$schema: https://example.org/parallelJob.schema.json
type: parallel
description: Scores letters.
inputs:
  letters:
    type: uri_folder
    path: ./data
  model:
    path: model
    mode: download
  topic: odd ones
outputs:
  scores:
    type: uri_file
    path: out/scores.csv
input_data: ${{inputs.letters}}
mini_batch_size: "5"
partition_keys: null
resources: {instance_count: 1}
max_concurrency_per_instance: 2
logging_level: DEBUG
mini_batch_error_threshold: 5
error_threshold: 7
retry_settings: {max_retries: 4, timeout: 30}
environment_variables: {COLOUR: red}
task:
  type: run_function
  code: ./src
  entry_script: score.py
  environment:
    name: prs-env
    version: 1
    conda_file: {dependencies: [pip, {pip: [click]}]}
  program_arguments: >-
    --model ${{ inputs.model }}/weights.h5 --topic ${{inputs.topic}}
    --out=${{outputs.scores}}
    --allowed_failed_percent 30
  append_row_to: ${{outputs.scores}}
"""

PIPELINE = """
type: pipeline
display_name: letters
experiment_name: exp
tags: {owner: me}
settings:
  default_compute: azureml:cpu-cluster
  default_datastore: azureml:workspaceblobstore
  continue_on_step_failure: true
  force_rerun: true
inputs:
  letters: {type: uri_folder, path: data, mode: download}
  topic: x
outputs:
  final: {type: uri_file, path: "azureml://datastores/${{default_datastore}}/paths/${{name}}/all.csv"}
jobs:
  score_it:
    type: parallel
    inputs:
      letters: ${{parent.inputs.letters}}
      again: {path: "${{parent.inputs.letters}}", mode: ro_mount}
      scored: {type: mltable, path: "${{parent.jobs.prepare.outputs.prepared}}"}
      topic: ${{parent.inputs.topic}}
    outputs: {final: "${{parent.outputs.final}}"}
    input_data: ${{inputs.scored}}
    mini_batch_size: 10 kb
    task:
      code: src
      entry_script: score.py
      program_arguments: --topic ${{inputs.topic}} ${{inputs.again}}
      append_row_to: ${{outputs.final}}
  prepare:
    type: parallel
    compute: local
    inputs: {letters: "${{parent.inputs.letters}}"}
    outputs: {prepared: }
    is_deterministic: false
    input_data: ${{inputs.letters}}
    partition_keys: []
    task: {type: run_function, entry_script: src/score.py, program_arguments: "${{outputs.prepared}}"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jobs, which is not the current one."""
    monkeypatch.setattr(ignored, "_said", set())
    monkeypatch.chdir("/")
    for name in ("src/score.py", "data/a.txt", "model/weights.h5", "rows/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("def run(mini_batch): return mini_batch\n")
    return tmp_path


@pytest.fixture
def ws(folder: Path) -> Workspace:
    made = Workspace.create("w", folder)
    ComputeTarget.create(made, "cpu-cluster", AmlCompute.provisioning_configuration())
    return made


def write(folder: Path, content: str, **changes: Any) -> Path:
    """A job's file; changes are dotted by two underscores, None takes a key out."""
    job = yaml.safe_load(content)
    for name, value in changes.items():
        *above, last = name.split("__")
        place = job
        for key in above:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    path = folder / "job.yml"
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path


def options(path: Path, **more: Any) -> dict[str, Any]:
    return options_of_job(path, say=lambda line: None, **more)


# Expressions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{inputs.x}}", ("inputs", "x")),
        (" ${{  parent.jobs.a.outputs.b }} ", ("parent", "jobs", "a", "outputs", "b")),
        ("a${{inputs.x}}", None),
        ("inputs.x", None),
        (3, None),
    ],
)
def test_references(text: object, expected: object) -> None:
    assert reference(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("--a 'b c'  \"\"", [["--a"], ["b c"], [""]]),
        ("--a=${{ inputs.x }}/y", [["--a=", ("inputs", "x"), "/y"]]),
        ("'${{inputs.x}}'", [[("inputs", "x")]]),
    ],
)
def test_arguments_are_split(text: object, expected: object) -> None:
    assert split_arguments(text) == expected


@pytest.mark.parametrize(("text", "told"), [("a 'b", "No closing quotation"), (["a"], "must be a text such as")])
def test_arguments_that_cannot_be_split(text: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        split_arguments(text)


# A job alone


def test_a_job_is_the_options_of_a_run(folder: Path) -> None:
    made = options(write(folder, JOB))
    assert made == {
        "entry": "score.py",
        "source_directory": str(folder / "src"),
        "inputs": {"letters": FileDataset(sources=(str(folder / "data"),))},
        "output": str(folder / "out"),
        "arguments": [
            *("--model", str(folder / "model/weights.h5"), "--topic", "odd ones"),
            f"--out={folder}/out/scores.csv",
        ],
        "error_threshold": 7,
        "output_action": "append_row",
        "append_row_file_name": "scores.csv",
        "node_count": 1,
        "process_count_per_node": 2,
        "mini_batch_size": "5",
        "logging_level": "DEBUG",
        "run_invocation_timeout": 30,
        "run_max_try": 5,
        "allowed_failed_count": 5,
        "allowed_failed_percent": 30.0,
        "environment_variables": {"AZUREML_DATAREFERENCE_model": str(folder / "model"), "COLOUR": "red"},
    }
    (inputs,) = made.pop("inputs").values()
    make_spec(made.pop("entry"), inputs.run_paths(), **inputs.options(), **made)


def test_defaults_are_those_of_version_2(folder: Path) -> None:
    job = {
        "type": "parallel",
        "inputs": {"x": {"path": "data"}},
        "input_data": "${{inputs.x}}",
        "task": {"entry_script": "src/score.py"},
    }
    (folder / "j.yaml").write_text(yaml.safe_dump(job))
    made = options(folder / "j.yaml")
    assert made == {
        "entry": str(folder / "src/score.py"),
        "inputs": {"x": FileDataset(sources=(str(folder / "data"),))},
        "error_threshold": -1,
        "output_action": "summary_only",
        "append_row_file_name": "parallel_run_step.txt",
        "node_count": 1,
        "mini_batch_size": "1",
        "logging_level": "INFO",
        "run_invocation_timeout": 60,
        "run_max_try": 3,
        "allowed_failed_count": -1,
    }


def test_another_output_folder(folder: Path) -> None:
    made = options(write(folder, JOB), output=folder / "other")
    assert made["output"] == str(folder / "other")
    assert made["arguments"][-1] == f"--out={folder}/other/scores.csv"
    with pytest.raises(UsageError, match=r"its output folder, which the job does not name.* --output"):
        options(write(folder, JOB, outputs__scores__path=None))


def test_what_stands_among_the_arguments_for_azure(folder: Path) -> None:
    arguments = "--error_threshold=3 --first_task_creation_timeout 600 --mine 1 --copy_logs_to_parent True"
    path = write(folder, JOB, task__program_arguments=arguments, error_threshold=None)
    with pytest.warns(IgnoredWarning, match="--first_task_creation_timeout, --copy_logs_to_parent had a"):
        made = options(path)
    assert (made["error_threshold"], made["arguments"]) == (3, ["--mine", "1"])


def test_keys_take_the_place_of_a_size(folder: Path) -> None:
    path = write(folder, JOB, partition_keys=["store"], inputs__letters={"type": "mltable", "path": "rows"})
    made = options(path)
    assert made["partition_keys"] == ["store"]
    assert "mini_batch_size" not in made
    assert isinstance(made["inputs"]["letters"], TabularDataset)


def test_what_this_python_lacks_is_said(folder: Path) -> None:
    said: list[str] = []
    conda = {"dependencies": [{"pip": ["no-such-package-here==1", "tensorflow==1.15.2"]}]}
    made = options_of_job(
        write(folder, JOB, task__environment={"conda_file": conda}, compute="azureml:gpu"), say=said.append
    )
    assert any("no-such-package-here" in line for line in said)
    assert any("compute 'gpu' is no compute target here" in line for line in said)
    assert made["tensorflow1"] is True


def test_a_compute_target_of_the_workspace(folder: Path, ws: Workspace) -> None:
    ComputeTarget.register(ws, "cluster", "tcp://host:8786")
    said: list[str] = []
    made = options_of_job(write(folder, JOB, compute="azureml:cluster"), say=said.append)
    assert made["scheduler"] == "tcp://host:8786"
    assert said == []
    assert "scheduler" not in options(write(folder, JOB, compute="azureml:cpu-cluster"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"type": "command"}, r"job.yml': type must be 'parallel' or 'pipeline', got 'command'"),
        ({"task": None}, "The job 'job': it must have a 'task' of its own"),
        ({"mini_batch_sise": 1}, r"A parallel job has no 'mini_batch_sise'\. Did you mean 'mini_batch_size'"),
        ({"task__type": "model"}, "type of task must be 'run_function'"),
        ({"task__entry_scrip": "a"}, r"task has no 'entry_scrip'\. Did you mean 'entry_script'"),
        ({"task__entry_script": None}, "entry_script of task must be"),
        (
            {"input_data": "${{inputs.none}}"},
            "input_data must be one of the job's inputs, .* letters, model",
        ),
        ({"input_data": None}, "input_data must be one of the job's inputs"),
        ({"input_data": "${{inputs.topic}}"}, "input_data must be one of the job's inputs"),
        ({"task__append_row_to": "${{outputs.x}}"}, "append_row_to must be one of the job's outputs, .* scores"),
        ({"task__program_arguments": "${{inputs.x}}"}, r"there is no \${{inputs.x}}\. The job has the inputs letters"),
        ({"task__program_arguments": "${{outputs.x}}"}, r"there is no \${{outputs.x}}"),
        ({"inputs__letters__path": "nowhere"}, "There is no file or folder '.*/nowhere'. Paths are seen from"),
        ({"inputs__letters__path": None}, "path of the input 'letters' must be a text, got None"),
        ({"inputs__letters__type": "folder"}, "type of the input 'letters' must be uri_folder"),
        ({"inputs__letters__mode": "ro"}, "mode of the input 'letters' must be ro_mount"),
        ({"inputs__letters__paht": "x"}, r"has no 'paht'\. Did you mean 'path'"),
        ({"inputs__letters__path": "azureml:letters:1"}, "is registered in a workspace, but there is none in"),
        ({"inputs__letters__path": "azureml://a/b/data/letters/versions/1"}, "is registered in a workspace"),
        ({"inputs__letters__path": "azureml://datastores/d/paths/x"}, "is registered in a workspace"),
        ({"inputs__letters__path": "azureml://jobs/x"}, "must be azureml://datastores/NAME/paths/PATH"),
        ({"inputs__topic": [1]}, "The input 'topic' must be data, a text, a number"),
        ({"inputs__topic": "${{parent.inputs.x}}"}, "The pipeline has no input 'x'"),
        ({"outputs__more": {}}, "outputs must be one at most, got scores, more"),
        ({"outputs__scores__path": "s3://b/x"}, "path of the output 'scores' must be azureml://datastores"),
        ({"mini_batch_size": "1MB"}, "mini_batch_size must be a count of files"),
        ({"mini_batch_size": "many"}, "mini_batch_size must be"),
        ({"retry_settings__max_retries": -1}, "retry_settings.max_retries must be a whole number from 0"),
        ({"retry_settings__timeout": 0}, "retry_settings.timeout must be a number of seconds"),
        ({"mini_batch_error_threshold": -2}, "mini_batch_error_threshold must be a whole number from -1"),
        ({"error_threshold": "x"}, "error_threshold must be a whole number from -1"),
        ({"max_concurrency_per_instance": 0}, "max_concurrency_per_instance must be a whole number from 1"),
        ({"resources__instance_count": 0}, "resources.instance_count must be a whole number from 1"),
        ({"task__environment": "mine"}, "environment must be 'azureml:NAME:VERSION'"),
        ({"task__environment": {"conda": "x"}}, r"environment has no 'conda'\. Did you mean 'conda_file'"),
    ],
)
def test_jobs_that_are_refused(folder: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        options(write(folder, JOB, **changes))


# Pipelines


def test_a_pipeline_of_jobs(folder: Path, ws: Workspace) -> None:
    made = Pipeline.load(write(folder, PIPELINE), ws)
    document = made.as_document()
    assert (document["experiment_name"], document["display_name"]) == ("exp", "letters")
    assert document["tags"] == {"owner": "me"}
    assert document["continue_on_step_failure"] is True
    assert document["parameters"]["topic"] == {"default": "x"}
    assert made.parameters["letters"].default_value == FileDataset(sources=(str(folder / "data"),))
    prepare, score = document["steps"]
    assert (prepare["name"], prepare["compute_target"], score["compute_target"]) == ("prepare", "local", "cpu-cluster")
    assert prepare["inputs"] == [
        {"name": "letters", "dataset": {"parameter": "letters"}, "mode": "download", "path_on_compute": None}
    ]
    assert prepare["output"] == {
        "name": "prepared",
        "datastore": "workspaceblobstore",
        "path": "azureml/{run-id}/{output-name}",
        "register": None,
    }
    assert prepare["arguments"] == [{"output": "prepared"}]
    assert (prepare["allow_reuse"], score["allow_reuse"]) == (False, True)
    assert (prepare["regenerate_outputs"], score["regenerate_outputs"]) == (True, True)
    assert (prepare["config"]["output_action"], prepare["config"]["process_count_per_node"]) == ("summary_only", None)
    reading = {"output": {"step": "prepare", "name": "prepared", "reading": {"type": "tabular"}}}
    assert [one["dataset"] for one in score["inputs"]] == [reading]
    assert {one["name"]: one["mode"] for one in score["side_inputs"]} == {"letters": "download", "again": "mount"}
    assert score["arguments"] == ["--topic", {"parameter": "topic"}, {"input": "again"}]
    assert (score["output"]["path"], score["config"]["append_row_file_name"]) == ("{run-id}", "all.csv")
    assert score["config"]["mini_batch_size"] == "10KB"
    assert made.bind({"topic": "y"})["steps"][1]["arguments"][:2] == ["--topic", "y"]
    made.save(folder / "saved.yml")
    assert Pipeline.load(folder / "saved.yml", ws).as_document() == document


def test_a_pipeline_of_one_job_runs_alone(folder: Path) -> None:
    job = yaml.safe_load(JOB)
    path = folder / "p.yml"
    path.write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"only_one": job}}))
    assert options(path) == options(write(folder, JOB))
    with pytest.raises(UsageError, match=r"must be one job, got prepare, score_it\. Next: daskbatch submit job\.yml"):
        options(write(folder, PIPELINE))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"jobs": {}}, "jobs must be a mapping from names to jobs"),
        ({"jobs__prepare": {"type": "command"}}, "The job 'prepare': type must be 'parallel', got 'command'"),
        ({"jobs__prepare__component": "x.yml"}, "Components cannot be had here"),
        ({"jobs__prepare__outputs": {"other": None}}, r"'prepare': program_arguments: there is no"),
        ({"jobs__score_it__inputs__scored__path": "${{parent.jobs.none.outputs.x}}"}, "There is no step 'none'"),
        (
            {"jobs__score_it__inputs__scored__path": "${{parent.jobs.prepare.outputs.x}}"},
            "reads the output 'x' of the step 'prepare', which has the output 'prepared'",
        ),
        ({"jobs__score_it__inputs__scored__path": "${{inputs.x}}"}, "The input 'scored' must refer to"),
        ({"jobs__score_it__inputs__topic": "${{parent.inputs.topik}}"}, r"no input 'topik'\. Did you mean 'topic'"),
        ({"jobs__score_it__outputs__final": "${{parent.outputs.x}}"}, "must be one of the pipeline's, .* final"),
        ({"settings__default_compute": "azureml:gpu"}, "There is no compute target 'gpu'"),
        ({"settings__default_datastore": "azureml:gone"}, "There is no datastore 'gone'"),
        ({"outputs__final__path": "out/all.csv"}, "is the folder '.*/out', but pipelines write to datastores"),
        ({"inputs__topic": None}, "The pipeline has no input 'topic'"),
        ({"inputs__topic": [1]}, "The input 'topic' must be data, with a path, or a text or number"),
        ({"job": {}}, r"A pipeline job has no 'job'\. Did you mean 'jobs'"),
        (
            {"jobs__prepare__inputs__letters": {"path": "${{parent.jobs.score_it.outputs.final}}"}},
            "steps wait for each other: score_it -> prepare -> score_it",
        ),
    ],
)
def test_pipelines_that_are_refused(folder: Path, ws: Workspace, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Pipeline.load(write(folder, PIPELINE, **changes), ws)


def test_what_is_registered(folder: Path, ws: Workspace) -> None:
    Dataset.File.from_files(str(folder / "data")).register(ws, "letters")
    Model.register(ws, str(folder / "model"), "weights")
    Environment("mine").register(ws)
    (folder / "workspace" / "data" / "x").mkdir(parents=True)
    path = write(
        folder,
        JOB,
        inputs__letters={"path": "azureml:letters@latest"},
        inputs__model={"type": "custom_model", "path": "azureml:weights:1"},
        inputs__more={"path": "azureml://subscriptions/s/resourcegroups/r/workspaces/w/datastores/d/paths/x"},
        outputs__scores={"type": "uri_file", "path": "azureml://datastores/workspaceblobstore/paths/o/s.csv"},
        task__environment="azureml:mine:1",
    )
    with pytest.raises(UsageError, match="There is no datastore 'd'"):
        options(path)
    path.write_text(path.read_text().replace("datastores/d/", "datastores/workspaceblobstore/"))
    made = options(path)
    assert made["inputs"]["letters"].paths == (str(folder / "data"),)
    assert made["arguments"][1] == str(folder / "workspace/models/weights/1/files/model/weights.h5")
    assert made["output"] == str(folder / "workspace/data/o")
    path.write_text(path.read_text().replace("letters@latest", "leters:1"))
    with pytest.raises(UsageError, match=r"no dataset 'leters'\. Did you mean 'letters'"):
        options(path)


def test_a_long_name_of_what_is_registered(folder: Path, ws: Workspace) -> None:
    long = "azureml://subscriptions/s/resourcegroups/r/workspaces/w"
    Dataset.File.from_files(str(folder / "data")).register(ws, "letters")
    Environment("mine").register(ws)
    (folder / "workspace" / "data" / "data" / "letters").mkdir(parents=True)
    for path, expected in (
        (f"{long}/data/letters/versions/1", folder / "data"),
        ("azureml://locations/l/workspaces/w/data/letters", folder / "data"),
        ("azureml://datastores/workspaceblobstore/paths/data/letters", folder / "workspace/data/data/letters"),
    ):
        job = write(
            folder, JOB, inputs__letters={"path": path}, task__environment=f"{long}/environments/mine/versions/1"
        )
        assert options(job)["inputs"]["letters"].places() == (str(expected),)


def test_an_environment_that_is_not_registered_is_said_by_run_and_refused_by_submit(
    folder: Path, ws: Workspace
) -> None:
    job = write(folder, JOB, task__environment="azureml:mine@latest")
    said: list[str] = []
    assert options_of_job(job, say=said.append).get("python") is None
    assert said[0] == "environment 'azureml:mine@latest' is not registered here: the present Python runs the script."
    with pytest.raises(UsageError, match="There is no environment 'mine'"):
        Pipeline.load(job, ws)


def test_azures_own_environments_are_said_once(folder: Path) -> None:
    with pytest.warns(IgnoredWarning, match="AzureML-sklearn-1.0:3 had a meaning in Azure alone"):
        options(write(folder, JOB, task__environment="azureml:AzureML-sklearn-1.0:3"))


# Outputs that are files, and what may stand in their paths


def consumer(folder: Path, ws: Workspace, output: Any, **given: Any) -> tuple[Any, Any]:
    """How `score_it` reads what `prepare` writes, and what `prepare` is told of it."""
    read = {"path": "${{parent.jobs.prepare.outputs.prepared}}", **given}
    changes: dict[str, Any] = {
        "jobs__prepare__outputs": {"prepared": output},
        "jobs__score_it__inputs__scored": read if given else read["path"],
        "jobs__score_it__mini_batch_size": None,
    }
    prepare, score = Pipeline.load(write(folder, PIPELINE, **changes), ws).as_document()["steps"]
    return score["inputs"][0]["dataset"]["output"]["reading"], prepare["arguments"]


def test_an_output_that_is_a_file_is_one_for_the_next_job(folder: Path, ws: Workspace) -> None:
    file = {"type": "uri_file", "path": "azureml://datastores/workspaceblobstore/paths/o/${{name}}/told.txt"}
    told = {"join": [{"output": "prepared"}, "/told.txt"]}
    assert consumer(folder, ws, file) == ({"type": "file", "glob": "told.txt"}, [told])
    assert consumer(folder, ws, file, type="uri_file")[0] == {"type": "file", "glob": "told.txt"}
    assert consumer(folder, ws, file, type="mltable")[0] == {"type": "tabular", "glob": "told.txt"}
    assert consumer(folder, ws, file, type="uri_folder")[0] == {"type": "file"}  # as it was asked for
    assert consumer(folder, ws, None) == ({"type": "file"}, [{"output": "prepared"}])
    assert consumer(folder, ws, {"type": "uri_folder"})[0] == {"type": "file"}


def test_a_file_without_a_path_has_the_usual_name(folder: Path, ws: Workspace) -> None:
    name = "parallel_run_step.txt"
    told = {"join": [{"output": "prepared"}, f"/{name}"]}
    assert consumer(folder, ws, {"type": "uri_file"}) == ({"type": "file", "glob": name}, [told])


def test_a_pipelines_output_that_is_a_file(folder: Path, ws: Workspace) -> None:
    changes = {"jobs__prepare__inputs__again": "${{parent.jobs.score_it.outputs.final}}"}
    changes["jobs__score_it__inputs__scored"] = "${{parent.inputs.letters}}"
    changes["jobs__score_it__mini_batch_size"] = "1"
    score, prepare = Pipeline.load(write(folder, PIPELINE, **changes), ws).as_document()["steps"]
    assert prepare["side_inputs"][0]["dataset"]["output"]["reading"] == {"type": "file", "glob": "all.csv"}
    assert (score["name"], score["output"]["path"]) == ("score_it", "{run-id}")


@pytest.mark.parametrize(
    "path",
    [
        "azureml://datastores/workspaceblobstore/paths/o/${{name}}.csv",
        "azureml://datastores/workspaceblobstore/paths/${{ output_name }}",
        "azureml://datastores/workspaceblobstore/paths/${{inputs.topic}}/o.csv",
        "azureml://datastores/${{name}}/paths/o/o.csv",
        "out/${{name}}/o.csv",
        "out/${{name}}.csv",
    ],
)
def test_expressions_stand_where_they_mean_something(folder: Path, ws: Workspace, path: str) -> None:
    told = r"path of the output 'scores': \${{name}} and \${{output_name}} may stand for folders in a datastore alone"
    with pytest.raises(UsageError, match=told):
        Pipeline.load(write(folder, JOB, outputs__scores__path=path), ws)


def test_expressions_in_the_folders_of_a_datastore(folder: Path, ws: Workspace) -> None:
    path = "azureml://datastores/${{ default_datastore }}/paths/o/${{ name }}/${{output_name}}/s.csv"
    (step,) = Pipeline.load(write(folder, JOB, outputs__scores__path=path), ws).as_document()["steps"]
    assert (step["output"]["datastore"], step["output"]["path"]) == (None, "o/{run-id}/{output-name}")
    local = write(folder, JOB, outputs__scores={"type": "uri_folder", "path": "out/${{name}}"})
    with pytest.raises(UsageError, match="may stand for folders in a datastore alone"):
        Pipeline.load(local, ws)


# MLTable


def mltable(folder: Path, content: str) -> Any:
    (folder / "MLTable").write_text(content)
    return read_mltable(folder / "MLTable", lambda path: str(folder / path))


def test_delimited_text(folder: Path) -> None:
    made = mltable(
        folder,
        """
        type: mltable
        paths: [{pattern: "rows/*.csv"}, {file: rows/a.csv}]
        transformations:
          - read_delimited: {delimiter: ";", header: no_header, encoding: latin1, include_path_column: true}
          - convert_column_types:
              - {columns: [a, b], column_type: string}
              - columns: day
                column_type: {datetime: {formats: ["%d/%m/%Y"]}}
          - extract_columns_from_partition_format: {store:yyyy}
          - keep_columns: [b, day]
          - skip: 2
          - take: 5
        """,
    )
    assert isinstance(made, TabularDataset)
    assert made.sources == (str(folder / "rows/*.csv"), str(folder / "rows/a.csv"))
    assert (made.separator, made.header, made.include_path) == (";", "none", True)
    assert (made.skipped, made.taken, made.partition_format) == (2, 5, "{store:yyyy}")
    assert dict(made.dtype or {})["b"] == "string"
    assert tuple(made.columns or ()) == ("b", "day")


@pytest.mark.parametrize(
    ("reader", "kind", "form"),
    [
        ("read_parquet: {include_path_column: false}", TabularDataset, "parquet"),
        ("read_json_lines: {encoding: utf8}", TabularDataset, "jsonl"),
        ("read_delimited:", TabularDataset, "csv"),
        ("take: 3", FileDataset, None),
    ],
)
def test_readers(folder: Path, reader: str, kind: type, form: str | None) -> None:
    made = mltable(folder, f"paths: [{{folder: rows}}]\ntransformations: [{{{reader}}}]")
    assert type(made) is kind
    assert getattr(made, "format", None) == form


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("paths: []", "paths must be a list such as"),
        ("paths: [{url: x}]", "Each of paths must be a file, a folder or a pattern"),
        ("paths: [{file: x}]\ntransformations: [{filter: a}]", "the transformation 'filter' cannot be had here"),
        (
            "paths: [{file: x}]\ntransformations: [read_delta_lake]",
            "the transformation .read_delta_lake. cannot",
        ),
        ("paths: [{file: x}]\ntransformations: [{read_parquet: {delimiter: x}}]", "read_parquet has no 'delimiter'"),
        ("paths: [{file: x}]\ntransformations: [{read_delimited: {header: a}}]", "header must be no_header"),
        ("paths: [{file: x}]\ntransformations: 3", "transformations must be a list"),
    ],
)
def test_tables_that_are_refused(folder: Path, content: str, told: str) -> None:
    with pytest.raises(UsageError, match=rf"MLTable': {told}"):
        mltable(folder, content)


def test_a_folder_with_such_a_file_is_a_table(folder: Path) -> None:
    (folder / "rows" / "MLTable").write_text("paths: [{pattern: ./*.csv}]\ntransformations: [read_delimited]")
    made = options(write(folder, JOB, inputs__letters={"type": "mltable", "path": "./rows"}, mini_batch_size="2kb"))
    assert isinstance(made["inputs"]["letters"], TabularDataset)
    assert made["inputs"]["letters"].paths == (str(folder / "rows/*.csv"),)
    assert made["mini_batch_size"] == "2KB"
