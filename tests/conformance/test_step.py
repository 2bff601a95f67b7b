"""ParallelRunStep, argument by argument."""

from __future__ import annotations

import itertools
import json

import pytest
from lab import Lab, output_of, step_of, told

from daskbatch import Dataset, OutputFileDatasetConfig, Pipeline, PipelineParameter, PipelineRun, UsageError


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def runs(lab: Lab) -> list[PipelineRun]:
    """The same steps, submitted twice."""
    side = Dataset.File.from_files(str(lab.write("words.txt", "hello"))).as_named_input("words").as_mount()
    output = OutputFileDatasetConfig("kept", (lab.ws.get_default_datastore(), "kept/{run-id}"))
    first, second = lab.files.take(2).as_named_input("first"), lab.files.skip(2).take(3).as_named_input("second")
    steps = [
        lab.step("several", lab.config(mini_batch_size=4), [first, second], output=output),
        lab.step(
            "arguments",
            side_inputs=[side],
            arguments=["--side", side, "--word", PipelineParameter("word", "hello"), "--out", own_output()],
            output=own_output(),
        ),
        lab.step("always", allow_reuse=False),
    ]
    return [lab.submit(*steps), lab.submit(*steps)]


def own_output(made: list[OutputFileDatasetConfig] = []) -> OutputFileDatasetConfig:  # noqa: B006 - one for both places
    """The output of the step `arguments`, which is among its arguments."""
    if not made:
        made.append(OutputFileDatasetConfig("arguments"))
    return made[0]


@pytest.mark.parametrize("name", ["ab", "a" * 33, "Score", "1score", "score-", "score_it"])
def test_name(lab: Lab, name: str) -> None:
    with pytest.raises(UsageError, match="3 to 32 lower-case letters"):
        lab.step(name)
    twice = [lab.step("same"), lab.step("same")]
    with pytest.raises(UsageError, match="same"):
        Pipeline(lab.ws, twice)


def test_inputs(lab: Lab, runs: list[PipelineRun]) -> None:
    seen = [(one["name"], one["dataset"], one["size"]) for one in told_of_several(runs[0])]
    assert [name for name, _, _ in seen] == ["f00", "f01", "f02", "f03", "f04"]
    # Each is cut by itself, and the script is told which it has
    assert [(dataset, size) for _, dataset, size in seen] == [("first", 2)] * 2 + [("second", 3)] * 3
    with pytest.raises(UsageError, match="inputs"):
        lab.step("mixed", inputs=[lab.files, lab.tables])


def told_of_several(run: PipelineRun) -> list[dict[str, object]]:
    port = step_of(run, "several").get_output_data("kept")
    with open(f"{port.datastore.local_path(port.path_on_datastore)}/parallel_run_step.txt") as lines:
        return [json.loads(line) for line in lines]


def test_output(runs: list[PipelineRun]) -> None:
    port = step_of(runs[0], "several").get_output_data("kept")
    assert port.path_on_datastore == f"kept/{step_of(runs[0], 'several').id}"
    assert output_of(runs[0], "always").parts[-3:] == ("azureml", step_of(runs[0], "always").id, "always")


def test_side_inputs(runs: list[PipelineRun]) -> None:
    assert {one["side"] for one in told(runs[0], "arguments")} == {"hello"}


def test_arguments(runs: list[PipelineRun]) -> None:
    assert {one["word"] for one in told(runs[0], "arguments")} == {"hello"}
    assert (output_of(runs[0], "arguments") / "own.txt").read_text() == "by the script"


def test_allow_reuse(runs: list[PipelineRun]) -> None:
    reused = {step.name: step.is_reused for step in runs[1].get_steps()}
    assert reused == {"several": True, "arguments": True, "always": False}
    assert told(runs[1], "arguments") == told(runs[0], "arguments")
    assert len(set(itertools.chain.from_iterable([step.id for step in run.get_steps()] for run in runs))) == 6
