"""Uses the public API as users do. It is type-checked, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import daskbatch


class Model:
    """A class: its constructor is ``init``."""

    def __init__(self) -> None:
        self.offset = 1

    def run(self, mini_batch: list[str]) -> list[str]:
        """Return one result a file."""
        return [path + str(self.offset) for path in mini_batch]

    def shutdown(self) -> None:
        """Let the model go."""


def double(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """Return one row a row."""
    return mini_batch * 2


def use() -> None:
    """Run it all three ways."""
    run = daskbatch.run("score.py", "photos/*.png", output="out", mini_batch_size=10)
    daskbatch.run(
        "score.py",
        ["a.csv", "b.csv"],
        output="out",
        mini_batch_size="1MB",
        process_count_per_node=2,
        error_threshold=-1,
        run_invocation_timeout=1.5,
        arguments=["--model", "m.keras"],
        environment_variables={"OMP_NUM_THREADS": "1"},
        progress=False,
    )
    targets = daskbatch.Workspace.from_config().compute_targets
    daskbatch.run(Model, "photos", output="out", compute=targets["gpus"], node_count=8)
    daskbatch.run(double, "table.parquet", output="out", append_row_file_name="scores.parquet")
    status: str = run.summary["status"]
    frame: pd.DataFrame = run.to_pandas()
    path: Path | daskbatch.StorePath | None = run.output_file
    failed: list[dict[str, object]] = run.failed_items()
    print(status, frame, path, failed, daskbatch.__version__)


def datasets() -> None:
    """Datasets have names, parts and rows."""
    workspace = daskbatch.Workspace.from_config()
    store = workspace.get_default_datastore()
    files: daskbatch.FileDataset = daskbatch.Dataset.File.from_files((store, "photos/*.png"), validate=False)
    named: daskbatch.FileDataset = files.take(10).register(workspace, "photos", create_new_version=True)
    table = daskbatch.Dataset.Tabular.from_delimited_files(
        store.path("t/"), set_column_types={"id": daskbatch.DataType.to_string()}
    )
    frame: pd.DataFrame = table.skip(1).to_pandas_dataframe()
    parameter = daskbatch.PipelineParameter(name="photos", default_value=named)
    side = daskbatch.DatasetConsumptionConfig("photos", parameter).as_mount()
    output: daskbatch.PipelineData = daskbatch.PipelineData("scores", store).read_delimited_files()
    print(frame, side.mode, output.as_input().name, daskbatch.OutputFileDatasetConfig("out").as_upload().path("1"))


def catch() -> None:
    """Errors have a tree."""
    try:
        daskbatch.run("score.py", "data", output="out")
    except daskbatch.InputError as error:
        print(error)
    except daskbatch.RunFailed as error:
        print(error)
    except daskbatch.DaskbatchError as error:
        print(error)


def register() -> None:
    """A workspace holds what is registered."""
    ws = daskbatch.Workspace.create("mine", "folder", exist_ok=True)
    store: daskbatch.Datastore = daskbatch.Datastore.register(ws, "photos", Path("photos"), overwrite=True)
    path: daskbatch.DataPath = ws.datastores["photos"].path("2024/*.png")
    ws.get_default_datastore().upload("photos", target_path="photos", overwrite=True)
    copied: int = store.download("copies", prefix="2024/")
    model: daskbatch.Model = daskbatch.Model.register(ws, "model.keras", "digits", tags={"area": "images"})
    models: list[daskbatch.Model] = daskbatch.Model.list(ws, latest=True)
    where: str = daskbatch.Model.get_model_path("digits", version=model.version)
    config = daskbatch.AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=4)
    target: daskbatch.ComputeTarget = daskbatch.ComputeTarget.create(ws, "cpu-cluster", config)
    target.wait_for_completion(show_output=True)
    print(path, copied, models, where, target.get_status().serialize())


def declare() -> None:
    """Steps of a pipeline are declared as in Azure."""
    ws = daskbatch.Workspace.from_config()
    size = daskbatch.PipelineParameter(name="batch_size_param", default_value="5")
    config = daskbatch.ParallelRunConfig(
        environment=daskbatch.Environment("digits"),
        entry_script="score.py",
        source_directory=Path("src"),
        error_threshold=10,
        output_action="append_row",
        compute_target=ws.compute_targets["local"],
        node_count=1,
        mini_batch_size=size,
        environment_variables={"A": "b"},
    )
    config.save_to_yaml("config.yml")
    config = daskbatch.ParallelRunConfig.load_yaml(workspace=ws, path="config.yml")
    labels = daskbatch.FileDataset("labels").as_named_input("labels").as_mount()
    output = daskbatch.PipelineData(name="scores", datastore=ws.get_default_datastore())
    step = daskbatch.ParallelRunStep(
        name="score-digits",
        parallel_run_config=config,
        inputs=[daskbatch.FileDataset("images").as_named_input("images")],
        output=output,
        side_inputs=[labels],
        arguments=["--labels", labels, "--top", 3],
        allow_reuse=False,
    )
    pipeline = daskbatch.Pipeline(workspace=ws, steps=[step])
    pipeline.save("pipeline.yml")
    problems: list[str] = daskbatch.Pipeline.load("pipeline.yml", ws).validate()
    document: dict[str, Any] = pipeline.bind({"batch_size_param": 1})
    print(problems, document, pipeline.parameters["batch_size_param"].default_value)
