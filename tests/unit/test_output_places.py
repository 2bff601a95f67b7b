from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daskbatch import (
    Dataset,
    Datastore,
    Environment,
    FileDataset,
    OutputFileDatasetConfig,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineParameter,
    UsageError,
    Workspace,
)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    made = Workspace.create("w", tmp_path)
    data = Path(made.get_default_datastore().local_path("in"))
    (data / "deep").mkdir(parents=True)
    (data / "deep" / "a.csv").write_text("a")
    (data / "b.csv").write_text("b")
    return made


def step(name: str, data: Any, output: Any, **options: Any) -> ParallelRunStep:
    config = ParallelRunConfig(
        Environment("e"), "score.py", -1, options.pop("action", "append_row"), "local", 1, **options
    )
    return ParallelRunStep(name, config, [data], output)


def fixed(ws: Workspace, path: str) -> OutputFileDatasetConfig:
    return OutputFileDatasetConfig("scores", destination=(ws.get_default_datastore(), path))


def stored(ws: Workspace, path: str) -> FileDataset:
    return Dataset.File.from_files((ws.get_default_datastore(), path))


@pytest.mark.parametrize(
    ("first", "second"),
    [("fixed", "fixed"), ("fixed", "fixed/more"), ("fixed/{output-name}", "fixed"), ("same/../fixed", "fixed")],
)
def test_outputs_of_two_steps_are_apart(ws: Workspace, tmp_path: Path, first: str, second: str) -> None:
    if ".." in first:  # another datastore that leads to the same place
        place = ws.get_default_datastore().local_path("")
        one = OutputFileDatasetConfig("a", destination=(Datastore.register(ws, "same", place), "fixed"))
    else:
        one = fixed(ws, first)
    data = stored(ws, "in")
    with pytest.raises(UsageError, match="outputs of the steps 'one' and 'two' are one folder, or one in the other"):
        Pipeline(ws, [step("one", data, one), step("two", data, fixed(ws, second))])


def test_outputs_with_places_of_their_own(ws: Workspace) -> None:
    data = stored(ws, "in")
    places = [PipelineData("scores"), PipelineData("scores"), OutputFileDatasetConfig(), fixed(ws, "fixed/{run-id}")]
    places += [fixed(ws, "fixed/{run-id}"), fixed(ws, "fixed-2"), fixed(ws, "fixed-2x"), None, None]
    steps = [step(f"step-{number}", data, place) for number, place in enumerate(places)]
    assert Pipeline(ws, steps).validate() == []


@pytest.mark.parametrize(
    ("data", "output", "options", "told"),
    [
        ("in", "in", {}, "lies inside the input folder"),
        ("in", "in/scores", {}, "lies inside the input folder"),
        ("", "scores", {}, "lies inside the input folder"),  # the whole datastore
        ("", None, {}, "lies inside the input folder"),
        ("*", None, {}, "is taken by the input"),
        ("**/*.csv", "scores", {"append_row_file_name": "x.csv"}, "is taken by the input"),
        ("in/deep", "in", {}, "holds the input folder"),
    ],
)
def test_an_output_is_not_where_its_step_reads(
    ws: Workspace, data: str, output: str | None, options: dict[str, Any], told: str
) -> None:
    place = PipelineData("scores") if output is None else fixed(ws, output)
    made = step("one", stored(ws, data), place, **options)
    with pytest.raises(UsageError, match=rf"The output of the step 'one' goes to '.*', which {told} .*Next: name"):
        Pipeline(ws, [made])


@pytest.mark.parametrize(
    ("data", "output", "options"),
    [
        ("in", None, {}),
        ("in", "out", {}),
        ("in/*.csv", "in", {}),  # it has no .txt
        ("**/*.csv", None, {}),
        ("**/*.csv", "in", {"append_row_file_name": "x.csv", "action": "summary_only"}),
        ("in/b.csv", "in", {"append_row_file_name": "x.csv"}),
    ],
)
def test_inputs_that_cannot_take_the_output(
    ws: Workspace, data: str, output: str | None, options: dict[str, Any]
) -> None:
    place = PipelineData("scores") if output is None else fixed(ws, output)
    assert Pipeline(ws, [step("one", stored(ws, data), place, **options)]).bind()


def test_a_parameter_is_looked_at_when_it_has_a_value(ws: Workspace) -> None:
    data = PipelineParameter("data", stored(ws, "in"))
    pipeline = Pipeline(ws, [step("one", data, fixed(ws, "fixed"))])
    assert pipeline.bind()
    with pytest.raises(UsageError, match="lies inside the input folder"):
        pipeline.bind({"data": stored(ws, "")})
