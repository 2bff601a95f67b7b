"""The tutorial as Azure's users wrote it, with Azure's imports and in its order, on handwritten digits."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
COUNT = 40

TUTORIAL = """
import json
import os
import sys
import tempfile

import azureml.core
from azureml.core import Workspace

print("SDK version:", azureml.core.VERSION)
ws = Workspace.from_config()
print(ws.name, ws.resource_group, ws.location, ws.subscription_id, sep="\\n")

from azureml.core.compute import AmlCompute, ComputeTarget

compute_name = "cpu-cluster"
if compute_name in ws.compute_targets:
    compute_target = ws.compute_targets[compute_name]
else:
    provisioning_config = AmlCompute.provisioning_configuration(
        vm_size="STANDARD_D2_V2", min_nodes=0, max_nodes=4
    )
    compute_target = ComputeTarget.create(ws, compute_name, provisioning_config)
    compute_target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
print(compute_target.get_status().serialize())

from azureml.core.datastore import Datastore

mnist_data = Datastore.register_azure_blob_container(
    ws,
    datastore_name="mnist_datastore",
    container_name="sampledata",
    account_name="pipelinedata",
    overwrite=True,
)
def_data_store = ws.get_default_datastore()

from azureml.core.dataset import Dataset

path_on_datastore = mnist_data.path("mnist/")
input_mnist_ds = Dataset.File.from_files(path=path_on_datastore, validate=False)
registered_mnist_ds = input_mnist_ds.register(ws, "mnist_sample_data", create_new_version=True)

from azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from azureml.pipeline.core import PipelineParameter

pipeline_param = PipelineParameter(name="mnist_param", default_value=registered_mnist_ds)
input_mnist_ds_consumption = DatasetConsumptionConfig("minist_param_config", pipeline_param).as_mount()

from azureml.pipeline.core import PipelineData

output_dir = PipelineData(name="inferences", datastore=def_data_store)

from azureml.core.model import Model

model = Model.register(
    model_path="models/",
    model_name="mnist-prs",
    tags={"pretrained": "mnist"},
    description="Handwritten digits",
    workspace=ws,
)

from azureml.core import Environment
from azureml.core.runconfig import DEFAULT_CPU_IMAGE, CondaDependencies

batch_conda_deps = CondaDependencies.create(
    conda_packages=["pip==20.2.4"], pip_packages=["tensorflow", "pillow", "azureml-core"]
)
batch_env = Environment(name="batch_environment")
batch_env.python.conda_dependencies = batch_conda_deps
batch_env.docker.base_image = DEFAULT_CPU_IMAGE

from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep

parallel_run_config = ParallelRunConfig(
    source_directory="scripts",
    entry_script="digit_identification.py",
    mini_batch_size=PipelineParameter(name="batch_size_param", default_value="5"),
    error_threshold=10,
    output_action="append_row",
    append_row_file_name="mnist_outputs.txt",
    environment=batch_env,
    compute_target=compute_target,
    process_count_per_node=PipelineParameter(name="process_count_param", default_value=2),
    node_count=2,
)
parallelrun_step = ParallelRunStep(
    name="predict-digits-mnist",
    parallel_run_config=parallel_run_config,
    inputs=[input_mnist_ds_consumption],
    output=output_dir,
    allow_reuse=False,
)

from azureml.core import Experiment
from azureml.pipeline.core import Pipeline

pipeline = Pipeline(workspace=ws, steps=[parallelrun_step])
experiment = Experiment(ws, "digit_identification")
pipeline_run = experiment.submit(pipeline)

from azureml.widgets import RunDetails

RunDetails(pipeline_run).show()
pipeline_run.wait_for_completion(show_output=True)

import pandas as pd


def results(run):
    batch_run = run.find_step_run(parallelrun_step.name)[0]
    batch_output = batch_run.get_output_data(output_dir.name)
    target_dir = tempfile.mkdtemp(dir=".")
    batch_output.download(local_path=target_dir)
    result_file = os.path.join(
        target_dir, batch_output.path_on_datastore, parallel_run_config.append_row_file_name
    )
    df = pd.read_csv(result_file, delimiter=":", header=None)
    df.columns = ["Filename", "Prediction"]
    return {"rows": df.values.tolist(), "metrics": batch_run.get_metrics()}


first = results(pipeline_run)

single_image_ds = Dataset.File.from_files(path=mnist_data.path(f"mnist/{sys.argv[1]}"), validate=False)
single_image_ds.register(ws, "single_image", create_new_version=True)
pipeline_run_2 = experiment.submit(
    pipeline,
    pipeline_parameters={"mnist_param": single_image_ds, "batch_size_param": "1", "process_count_param": 1},
)
RunDetails(pipeline_run_2).show()
pipeline_run_2.wait_for_completion(show_output=True)
RunDetails(pipeline_run_2).show()

from azureml.core import Run

assert Run.get(ws, pipeline_run.id).get_status() == "Completed"
with open("told.json", "w") as told:
    json.dump([first, results(pipeline_run_2)], told)
"""

ENTRY = """
import os

import numpy as np
from PIL import Image

from azureml.core import Model


def init():
    global model
    import tensorflow as tf

    model_dir = Model.get_model_path("mnist-prs")
    model = tf.keras.models.load_model(os.path.join(model_dir, "model.keras"), compile=False)


def run(mini_batch):
    print(f"run method start: {__file__}, run({mini_batch})")
    resultList = []
    for image in mini_batch:
        data = np.array(Image.open(image)).reshape((1, 28, 28, 1))
        best_result = np.argmax(model(data, training=False))
        resultList.append("{}: {}".format(os.path.basename(image), best_result))
    return resultList
"""


@pytest.fixture
def place(tmp_path: Path, missing: Callable[[str], NoReturn]) -> Path:
    """A workspace like Azure's, the tutorial, its scripts, a trained model, and a copy of the container's data."""
    for package in ("tensorflow", "PIL", "sklearn"):
        if importlib.util.find_spec(package) is None:
            missing(f"{package} is not installed: pip install -e '.[demo]'")
    for program in ("make_data.py", "train.py"):
        subprocess.run([sys.executable, DIGITS / program, tmp_path], check=True, capture_output=True)
    images = tmp_path / "copies" / "mnist"
    images.mkdir(parents=True)
    for path in sorted((tmp_path / "images").iterdir())[-COUNT:]:  # the model has seen the first half
        shutil.copy(path, images)
    for folder in ("models", "scripts"):
        (tmp_path / folder).mkdir()
    shutil.copy(tmp_path / "model.keras", tmp_path / "models")
    (tmp_path / "scripts" / "digit_identification.py").write_text(ENTRY)
    (tmp_path / "tutorial.py").write_text(TUTORIAL)
    config = {"subscription_id": "s", "resource_group": "r", "workspace_name": "w"}
    redirect = {"redirect": {"pipelinedata/sampledata": "copies"}}
    (tmp_path / "config.json").write_text(json.dumps(config | redirect))
    return tmp_path


def test_the_tutorial_runs_unchanged(place: Path) -> None:
    """All pictures, and then one with other parameters of the same pipeline: both times the digits are recognised."""
    one = f"{1797 - COUNT:04}.png"
    command = [sys.executable, "-m", "daskbatch.azureml", "tutorial.py", one]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = json.loads((place / "told.json").read_text())

    digits = pd.read_csv(place / "labels.csv").tail(COUNT)
    assert [name for name, _ in first["rows"]] == digits["file"].tolist()
    right = sum(row[1] == digit for row, digit in zip(first["rows"], digits["digit"], strict=True))
    assert right >= 0.9 * COUNT
    assert (first["metrics"]["mini_batches_total"], first["metrics"]["items_succeeded"]) == (COUNT / 5, COUNT)

    assert second["rows"] == first["rows"][:1]
    assert second["rows"] == [[one, int(digits["digit"].iloc[0])]]
    assert (second["metrics"]["mini_batches_total"], second["metrics"]["items_succeeded"]) == (1, 1)
    # What was shown, and what was said of things that Azure alone has, of lines of the tutorial
    assert "predict-digits-mnist  ✓ Completed    1 of 1 mini-batch" in done.stdout
    assert "IgnoredWarning: Environment.docker: base_image" in done.stderr
    assert re.search(r"tutorial\.py:\d+: UserWarning: environment 'batch_environment': azureml-core: ", done.stderr)
