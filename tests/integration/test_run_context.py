"""``Run.get_context()`` in the scripts of a pipeline: the ids that the run has outside, and reuse in spite of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lives import PATIENCE

from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    Model,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineRun,
    Workspace,
)

SCRIPT = """
import json
import os

from azureml.core import Run


def run(mini_batch):
    me = Run.get_context()
    me.tag("kind", "night")
    me.flush()
    told = [me.id, me.parent.id, me.experiment.name, os.environ["AZUREML_RUN_ID"], os.environ["AZUREML_MODEL_DIR"]]
    return [json.dumps(told)] * len(mini_batch)
"""


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    return Workspace.create("w", tmp_path / "ws")


def submitted(ws: Workspace) -> PipelineRun:
    folder = ws.root.parent
    config = ParallelRunConfig(Environment("e"), folder / "score.py", 0, "append_row", "local", 1)
    data = Dataset.File.from_files(str(folder / "in"))
    run = Experiment(ws, "night").submit(
        Pipeline(ws, [ParallelRunStep("score", config, [data], PipelineData("scores"))])
    )
    run.wait_for_completion(timeout_seconds=PATIENCE)
    return run


def test_the_ids_that_a_script_sees(ws: Workspace) -> None:
    for name in ("one", "two"):
        Model.register(ws, ws.root / "config.json", name)
    run = submitted(ws)
    step = run.get_steps()[0]
    port = step.get_output_data("scores")
    result = Path(port.datastore.local_path(port.path_on_datastore), "parallel_run_step.txt")
    assert json.loads(result.read_text()) == [step.id, run.id, "night", step.id, str(ws.folder / "models")]
    # they are no part of what the step is: the next run takes its result
    assert submitted(ws).get_steps()[0].is_reused
