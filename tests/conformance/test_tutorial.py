"""The tutorial's calls, in its order: with imports from daskbatch, and with Azure's through the shim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DIRECT = """
from daskbatch import (
    AmlCompute, ComputeTarget, CondaDependencies, Dataset, DatasetConsumptionConfig, Datastore, Environment,
    Experiment, Model, OutputFileDatasetConfig, ParallelRunConfig, ParallelRunStep, Pipeline, PipelineData,
    PipelineParameter, RunDetails, Workspace,
)
"""

SHIM = """
from azureml.core import Dataset, Datastore, Environment, Experiment, Model, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.conda_dependencies import CondaDependencies
from azureml.data import OutputFileDatasetConfig
from azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter
from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep
from azureml.widgets import RunDetails
"""

PROGRAM = """
import json
import os

told = {}


def refusal(call, *given, **named):
    try:
        call(*given, **named)
    except Exception as error:
        return str(error)


ws = Workspace.from_config()
told["workspace"] = [ws.name, ws.subscription_id, Workspace.get(name="tutorial").name]

if "cpu-cluster" in ws.compute_targets:
    compute_target = ws.compute_targets["cpu-cluster"]
else:
    cfg = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", min_nodes=0, max_nodes=4)
    compute_target = ComputeTarget.create(ws, "cpu-cluster", cfg)
    compute_target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
told["compute"] = [ws.compute_targets["cpu-cluster"].get_status().serialize(), sorted(ws.compute_targets)]

container = dict(datastore_name="blobs", container_name="sampledata", account_name="pipelinedata")
blobs = Datastore.register_azure_blob_container(ws, **container, overwrite=True)
default = ws.get_default_datastore()
default.upload(src_dir="up", target_path="side", overwrite=True, show_progress=False)
default.download(target_path="down", prefix="side", overwrite=True, show_progress=False)
told["datastore"] = {
    "again": refusal(Datastore.register_azure_blob_container, ws, **container),
    "down": sorted(os.listdir("down/side")),
    "ours": Datastore.register(ws, "more", os.path.abspath("up"), overwrite=True).name,
    "path": blobs.path("mnist/").path_on_datastore,
}

files = Dataset.File.from_files(path=blobs.path("mnist/"), validate=False)
registered = files.register(ws, name="mnist", description="digits", create_new_version=True)
table = Dataset.Tabular.from_delimited_files(path=(default, "side/table.csv"))
table.to_pandas_dataframe().to_parquet("up/table.parquet")
told["dataset"] = {
    "version": [registered.version, Dataset.get_by_name(ws, "mnist").version],
    "by list": Dataset.File.from_files(path=[(blobs, "mnist/0.txt"), blobs.path("mnist/3*.txt")]).to_path(),
    "missing": refusal(Dataset.File.from_files, path=blobs.path("nothing/")),
    "rows": table.to_pandas_dataframe().to_dict("list"),
    "parquet": len(Dataset.Tabular.from_parquet_files("up/table.parquet").to_pandas_dataframe()),
    "unknown": refusal(Dataset.get_by_name, ws, "mnits"),
}

images = DatasetConsumptionConfig("images", PipelineParameter(name="images_param", default_value=registered)).as_mount()
side = Dataset.File.from_files(path=(default, "side/words.txt"))
words, copied = side.as_named_input("words").as_mount(), side.as_named_input("copied").as_download()

model = Model.register(
    model_path="names", model_name="names", tags={"for": "digits"}, description="Names of digits", workspace=ws
)
told["model"] = [
    os.path.isfile(os.path.join(Model.get_model_path("names", _workspace=ws), "names.txt")),
    [(one.name, one.tags) for one in Model.list(ws)],
    model.version,
]

environment = Environment(name="batch")
environment.python.conda_dependencies = CondaDependencies.create(
    pip_packages=["azureml-core", "no-such-package==1.0"], conda_packages=["pip==20.2.4"]
)
environment.docker.enabled = True
environment.docker.base_image = "mcr.microsoft.com/azureml/base"
environment.spark.precache_packages = False

inferences = PipelineData(name="inferences", datastore=default)
config = ParallelRunConfig(
    source_directory="scripts",
    entry_script="score.py",
    mini_batch_size=PipelineParameter(name="batch_size_param", default_value="5"),
    error_threshold=10,
    output_action="append_row",
    append_row_file_name="outputs.txt",
    environment=environment,
    compute_target=compute_target,
    process_count_per_node=PipelineParameter(name="process_count_param", default_value=2),
    node_count=2,
)
score = ParallelRunStep(
    name="score-digits",
    parallel_run_config=config,
    inputs=[images],
    side_inputs=[words, copied],
    output=inferences,
    arguments=["--words", words, "--copied", copied],
    allow_reuse=False,
)
lengths = OutputFileDatasetConfig("lengths", (default, "lengths/{run-id}"))
count = ParallelRunStep(
    name="count-lines",
    parallel_run_config=ParallelRunConfig(
        source_directory="scripts", entry_script="count.py", error_threshold=0, output_action="append_row",
        environment=environment, compute_target=compute_target, node_count=1, append_row_file_name="lengths.txt",
    ),
    inputs=[inferences.as_input("results")],
    output=lengths,
)

pipeline = Pipeline(workspace=ws, steps=[count, score])
experiment = Experiment(ws, "digits")
run = experiment.submit(pipeline)
told["first status"] = run.get_status()
RunDetails(run).show()
run.wait_for_completion(show_output=True)
told["last status"] = run.get_status()
RunDetails(run).show()


def result(run, step, name, file, folder):
    found = run.find_step_run(step)[0].get_output_data(name)
    found.download(local_path=folder, show_progress=False)
    return open(os.path.join(folder, found.path_on_datastore, file)).read().splitlines()


told["first"] = result(run, score.name, inferences.name, "outputs.txt", "first")
told["counted"] = result(run, "count-lines", "lengths", "lengths.txt", "counted")

one = Dataset.File.from_files(path=blobs.path("mnist/7.txt"), validate=False)
again = {"images_param": one, "batch_size_param": "1", "process_count_param": 1}
second = experiment.submit(pipeline, pipeline_parameters=again)
second.wait_for_completion()
told["second"] = result(second, score.name, inferences.name, "outputs.txt", "second")
told["wrong parameter"] = refusal(experiment.submit, pipeline, pipeline_parameters={"batch_size": 1})
told["runs"] = [one.id for one in experiment.get_runs()] == [second.id, run.id]
third = pipeline.submit("again", pipeline_parameters=again, continue_on_step_failure=False, regenerate_outputs=True)
third.wait_for_completion()
told["third"] = result(third, score.name, inferences.name, "outputs.txt", "third")
told["third of"] = [third.experiment.name, third.id in [one.id for one in Experiment(ws, "again").get_runs()]]

with open("told.json", "w") as file:
    json.dump(told, file)
"""

SCORE = """
import argparse
import os

parser = argparse.ArgumentParser()
parser.add_argument("--words")
parser.add_argument("--copied")
args, _ = parser.parse_known_args()


def init():
    global names
    with open(os.path.join(Model.get_model_path("names"), "names.txt")) as file:
        names = file.read().split()


def run(mini_batch):
    side = open(args.words).read() + open(args.copied).read()
    return [f"{os.path.basename(path)}:{names[int(open(path).read())]}:{len(mini_batch)}:{side}" for path in mini_batch]
"""

COUNT = """
def run(mini_batch):
    return [len(open(path).read().splitlines()) for path in mini_batch]
"""

NAMES = "zero one two three four five six seven eight nine"


def begin(kind: str, place: Path) -> subprocess.Popen[str]:
    """Write the tutorial's project, and start it."""
    config = {"subscription_id": "s", "resource_group": "r", "workspace_name": "tutorial"}
    config |= {"redirect": {"pipelinedata/sampledata": "copies"}}  # type: ignore[dict-item]
    imports = "from daskbatch import Model" if kind == "direct" else "from azureml.core import Model"
    files = {
        # One finds its workspace in a folder above, the other in a hidden folder
        ".azureml/config.json" if kind == "shim" else "config.json": json.dumps(config),
        "work/tutorial.py": (DIRECT if kind == "direct" else SHIM) + PROGRAM,
        "work/scripts/score.py": imports + SCORE,
        "work/scripts/count.py": COUNT,
        "work/names/names.txt": NAMES,
        "work/up/words.txt": "w",
        "work/up/table.csv": "a,b\n1,x\n2,y\n",
        **{f"copies/mnist/{number}.txt": str(number) for number in range(8)},
    }
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    program = ["tutorial.py"] if kind == "direct" else ["-m", "daskbatch.azureml", "tutorial.py"]
    return subprocess.Popen(
        [sys.executable, *program], cwd=place / "work", env=os.environ | {"PYTHONWARNINGS": "always"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tutorials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What both programs told; they run at the same time."""
    places = {kind: tmp_path_factory.mktemp(kind) for kind in ("direct", "shim")}
    started = {kind: begin(kind, place) for kind, place in places.items()}
    told = {}
    for kind, process in started.items():
        out, err = process.communicate(timeout=150)
        assert process.returncode == 0, out + err
        told[kind] = {**json.loads((places[kind] / "work" / "told.json").read_text()), "out": out, "err": err}
        told[kind]["place"] = places[kind]
    yield told
    for process in started.values():
        process.kill()


@pytest.fixture(params=["direct", "shim"])
def told(request: pytest.FixtureRequest, tutorials: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return tutorials[request.param]


def test_workspace(told: dict[str, Any]) -> None:
    assert told["workspace"] == ["tutorial", "s", "tutorial"]
    assert (told["place"] / "workspace" / "datastores" / "blobs.json").is_file()


def test_compute_targets(told: dict[str, Any]) -> None:
    status, names = told["compute"]
    assert names == ["cpu-cluster", "local"]
    assert (status["provisioningState"], status["vmSize"]) == ("Succeeded", "STANDARD_D2_V2")
    assert "compute target 'cpu-cluster' (AmlCompute) is ready." in told["out"]
    assert "vm_size" in told["err"]  # ignored, and said


def test_datastores(told: dict[str, Any]) -> None:
    seen = told["datastore"]
    assert "overwrite=True" in seen["again"]
    assert seen["down"] == ["table.csv", "words.txt"]
    assert (seen["ours"], seen["path"]) == ("more", "mnist")


def test_datasets(told: dict[str, Any]) -> None:
    seen = told["dataset"]
    assert seen["version"] == [1, 1]
    assert seen["by list"] == ["/0.txt", "/3.txt"]
    assert "nothing" in seen["missing"]
    assert seen["rows"] == {"a": [1, 2], "b": ["x", "y"]}
    assert seen["parquet"] == 2
    assert "'mnist'" in seen["unknown"]


def test_named_inputs_mounts_and_downloads(told: dict[str, Any]) -> None:
    assert {line.split(":")[3] for line in told["first"]} == {"ww"}


def test_pipeline_parameters_and_consumption(told: dict[str, Any]) -> None:
    assert [line.split(":")[2] for line in told["first"]] == ["5"] * 5 + ["3"] * 3
    assert "no parameter 'batch_size'" in told["wrong parameter"]


def test_outputs_hand_on_what_a_step_wrote(told: dict[str, Any]) -> None:
    assert told["counted"] == ["8"]


def test_models(told: dict[str, Any]) -> None:
    assert told["model"] == [True, [["names", {"for": "digits"}]], 1]
    assert [line.split(":")[1] for line in told["first"]] == NAMES.split()[:8]  # read on the worker


def test_environments(told: dict[str, Any]) -> None:
    assert "no-such-package" in told["err"]  # asked for, absent, said
    assert "base_image" in told["err"]


def test_config_and_step(told: dict[str, Any]) -> None:
    assert [line.split(":")[0] for line in told["first"]] == [f"{number}.txt" for number in range(8)]


def test_pipeline_and_experiment(told: dict[str, Any]) -> None:
    assert told["runs"] is True
    # The step that reads stands first in the list, and is done last
    out = told["out"]
    assert out.index("The step score-digits is Completed") < out.index("The step count-lines is Running")


def test_a_pipeline_submits_itself(told: dict[str, Any]) -> None:
    assert told["third"] == told["second"]
    assert told["third of"] == ["again", True]


def test_following_a_run(told: dict[str, Any]) -> None:
    assert told["first status"] in ("NotStarted", "Running")
    assert told["last status"] == "Completed"
    assert "The step score-digits is Running." in told["out"]  # show_output
    assert "score-digits" in told["out"].split("is Completed.\n")[-1]  # RunDetails at the end


def test_fetching_the_result(told: dict[str, Any]) -> None:
    (found,) = (told["place"] / "work" / "first").rglob("outputs.txt")
    assert found.parent.parent.parent.name == "azureml"
    assert found.read_text().splitlines() == told["first"]


def test_resubmission(told: dict[str, Any]) -> None:
    assert told["second"] == ["7.txt:seven:1:ww"]


def test_only_the_imports_differ(tutorials: dict[str, dict[str, Any]]) -> None:
    assert tutorials["direct"]["first"] == tutorials["shim"]["first"]
    assert "import" not in PROGRAM.replace("import json\nimport os\n", "")
