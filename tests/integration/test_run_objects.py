"""What runs of pipelines tell while they go on and after, under the names that they have in Azure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineRun,
    StepRun,
    Workspace,
)

SCRIPT = """
import os, time

def run(mini_batch):
    while not os.path.exists({gate!r}) and not mini_batch[0].endswith("0"):
        time.sleep(0.01)
    return ["done"] * len(mini_batch)
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """All mini-batches but the first wait for it."""
    return tmp_path / "gate"


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(Workspace.create("house", tmp_path / "ws"), "exp")


@pytest.fixture
def pipeline(experiment: Experiment, tmp_path: Path, gate: Path) -> Pipeline:
    """Two steps with an output each, the second after the first."""
    (tmp_path / "score.py").write_text(SCRIPT.format(gate=str(gate)))
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"f{number}").write_text("x")
    config = ParallelRunConfig(
        environment=Environment("env"), entry_script=str(tmp_path / "score.py"), error_threshold=0, mini_batch_size="1",
        output_action="append_row", compute_target="local", node_count=1, process_count_per_node=1, run_max_try=1,
    )  # fmt: skip
    data = Dataset.File.from_files(str(tmp_path / "in"))
    one = ParallelRunStep("one", config, inputs=[data], output=PipelineData("first"))
    two = ParallelRunStep("two", config, inputs=[data], output=PipelineData("second"))
    two.run_after(one)
    return Pipeline(experiment.workspace, [one, two])


def test_counts_have_the_same_names_while_it_runs_and_after(
    experiment: Experiment, pipeline: Pipeline, gate: Path
) -> None:
    run = experiment.submit(pipeline)

    def counts() -> Mapping[str, Any]:
        found: Mapping[str, Any] = run.get_metrics().get("one", {})
        return found

    now = wait_for(lambda: (found := counts()).get("mini_batches_succeeded") and found, "the first mini-batch")
    assert (now["mini_batches_total"], now["mini_batches_succeeded"], now["items_succeeded"]) == (3, 1, 1)
    assert (now["mini_batches_failed"], now["items_failed"], now["tries"]) == (0, 0, 1)
    gate.touch()
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert set(now) == set(counts()) - {"items_total"}
    assert counts()["tries"] == 3
    assert run.get_metrics("tries") == {"one": {"tries": 3}, "two": {"tries": 3}}


def test_counts_of_a_resumed_run_grow(experiment: Experiment, pipeline: Pipeline, gate: Path, tmp_path: Path) -> None:
    # Given a run that has failed in the second of three mini-batches
    script, bad = tmp_path / "score.py", tmp_path / "bad"
    text = script.read_text().replace('not mini_batch[0].endswith("0")', 'mini_batch[0].endswith("2")')
    check = f'    assert not (mini_batch[0].endswith("1") and os.path.exists({str(bad)!r}))\n'
    script.write_text(text.replace("    return", f"{check}    return"))
    bad.touch()
    run = experiment.submit(pipeline)
    run.wait_for_completion(timeout_seconds=PATIENCE, raise_on_error=False)
    assert run.get_status() == "Failed"
    assert run.get_metrics()["one"]["mini_batches_succeeded"] == 1
    # When it is mended, and its last mini-batch waits
    bad.unlink()
    run.resume()

    def counts() -> Mapping[str, Any]:
        found: Mapping[str, Any] = run.get_metrics().get("one", {})
        return found

    # Then the counts are those of now
    wait_for(lambda: counts().get("mini_batches_succeeded") == 2, "the second mini-batch")
    assert (run.get_status(), counts()["mini_batches_failed"]) == ("Running", 0)
    gate.touch()
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert counts()["mini_batches_succeeded"] == 3


def test_what_is_found_by_a_run(experiment: Experiment, pipeline: Pipeline, gate: Path, tmp_path: Path) -> None:
    gate.touch()
    first = experiment.submit(pipeline, tags={"color": "red"})
    first.wait_for_completion(timeout_seconds=PATIENCE)
    reused = experiment.submit(pipeline)
    reused.wait_for_completion(timeout_seconds=PATIENCE)
    # Steps and outputs
    children = first.get_children()
    one = next(children)
    assert (one.name, [step.name for step in children]) == ("one", ["two"])
    assert list(one.get_outputs()) == ["first"]
    place = first.get_pipeline_output("second")
    assert place.path_on_datastore == first.find_step_run("two")[0].get_output("second").path_on_datastore
    assert place.get_port_data_reference() is place
    with pytest.raises(daskbatch.NotFound, match=r"no output of the run .* 'secnd'\. Did you mean 'second'"):
        first.get_pipeline_output("secnd")
    # By the workspace and the experiment
    assert experiment.workspace.get_run(first.id).id == first.id
    found = list(experiment.get_runs(include_children=True))
    assert [type(run) for run in found] == [PipelineRun, StepRun, StepRun] * 2
    assert [run.id for run in experiment.get_runs("azureml.StepRun", include_children=True)] == [
        step.id for run in (reused, first) for step in run.get_steps()
    ]
    where = {"azureml.isreused": "true"}
    assert len(list(experiment.get_runs(properties=where, status="Completed", include_children=True))) == 2
    assert first.get_properties()["folder"] == str(first.folder)
    # Tags
    first.tag("shape")
    first.set_tags({"size": "9"})
    again = PipelineRun(experiment, first.id)
    assert again.get_tags() == again.tags == {"color": "red", "shape": "", "size": "9"}
    assert [run.id for run in experiment.get_runs(tags="shape")] == [first.id]
    again.remove_tags(["color", "none"])
    assert first.tags == {"shape": "", "size": "9"}
    with pytest.raises(daskbatch.UsageError, match="tags must be a mapping"):
        first.set_tags(["red"])  # type: ignore[arg-type]
    # Logs, which of reused steps lie with another run
    names = [
        {Path(path).relative_to(tmp_path / run.id) for path in run.get_all_logs(tmp_path / run.id)}
        for run in (first, reused)
    ]
    assert names[0] == names[1]
    assert Path("steps/one/logs/job_result.txt") in names[1]
