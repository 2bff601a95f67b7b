from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from daskbatch import (
    Dataset,
    DatasetConsumptionConfig,
    Datastore,
    Environment,
    Experiment,
    FileDataset,
    OutputFileDatasetConfig,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineParameter,
    TabularDataset,
    UsageError,
    Workspace,
)
from daskbatch.api.code_snapshot import with_snapshot
from daskbatch.api.ignored import IgnoredWarning
from daskbatch.api.pipeline_document import needs_of
from daskbatch.api.published import PublishedPipeline
from daskbatch.errors import NotFound


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / f"{name}.txt").write_text(name)
    return Workspace.create("w", tmp_path)


def step(name: str = "score", inputs: Any = None, *, config: Any = None, **arguments: Any) -> ParallelRunStep:
    options = {"compute_target": "local", **(config or {})}
    made = ParallelRunConfig(
        Environment("e"), "score.py", error_threshold=-1, output_action="append_row", node_count=1, **options
    )
    return ParallelRunStep(name, made, [FileDataset("data/a")] if inputs is None else inputs, **arguments)


def names(pipeline: Pipeline) -> list[str]:
    return [one["name"] for one in pipeline.as_document()["steps"]]


def parameterised(name: str = "score") -> ParallelRunStep:
    data = PipelineParameter("input_images", FileDataset("data/a"))
    return step(
        name,
        [DatasetConsumptionConfig("images", data).as_mount()],
        config={
            "mini_batch_size": PipelineParameter("batch_size_param", 5),
            "process_count_per_node": PipelineParameter("process_count_param", 2),
            "environment_variables": {"parameter": "batch_size_param"},
        },
        output=PipelineData("scores"),
        arguments=["--topic", PipelineParameter("topic", "x")],
    )


# Steps


def test_steps_stand_behind_what_they_read(ws: Workspace) -> None:
    one, two = PipelineData("one"), OutputFileDatasetConfig("two")
    last = step("last", [two], side_inputs=[one])
    middle = step("middle", [one], output=two)
    first = step("first", output=one)
    made = Pipeline(ws, [last, middle, first])
    assert names(made) == ["first", "middle", "last"]
    assert [needs_of(one) for one in made.as_document()["steps"]] == [[], ["first"], ["middle", "first"]]


def test_steps_that_are_needed_come_along(ws: Workspace) -> None:
    output = PipelineData("one")
    step("first", output=output)  # no one holds it
    first = step("first", output=output)
    last = step("last", [output])
    del first
    other = step("other")
    last.run_after(other)
    assert sorted(names(Pipeline(ws, [last]))) == ["first", "last", "other"]
    assert names(Pipeline(ws, last)) == names(Pipeline(ws, [last]))  # type: ignore[arg-type]
    assert sorted(names(Pipeline(ws, [last, other, last]))) == ["first", "last", "other"]
    with pytest.raises(UsageError, match="The output 'one' is an input, but no step of the pipeline writes it"):
        Pipeline(ws, [last], resolve_closure=False)


def test_steps_that_wait_for_each_other(ws: Workspace) -> None:
    one, two = PipelineData("one"), PipelineData("two")
    first, second = step("first", [two], output=one), step("second", [one], output=two)
    with pytest.raises(UsageError, match="steps wait for each other: first -> second -> first"):
        Pipeline(ws, [first, second, step("third", [one])])
    alone = PipelineData("alone")
    with pytest.raises(UsageError, match="steps wait for each other: itself -> itself"):
        Pipeline(ws, [step("itself", [alone], output=alone)])
    late, early = step("late"), step("early")
    early.run_after(late)
    late.run_after(early)
    with pytest.raises(UsageError, match="steps wait for each other: early -> late -> early"):
        Pipeline(ws, [early])


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (list, "must have at least one step, got none"),
        (lambda: ["score"], "steps must be a list of ParallelRunStep, got 'score'"),
        (lambda: [step(), step()], "steps must have different names, got 'score' 2 times"),
        (lambda: [step(config={"compute_target": "gpu"})], "'score': There is no compute target 'gpu'.* local"),
    ],
)
def test_steps_that_are_refused(ws: Workspace, steps: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Pipeline(ws, steps())


def test_an_output_has_one_writer(ws: Workspace) -> None:
    output = PipelineData("one")
    with pytest.raises(UsageError, match="'one' is written by two steps, 'first' and 'second'"):
        Pipeline(ws, [step("first", output=output), step("second", output=output)])


def test_datastores_must_be_registered(ws: Workspace, tmp_path: Path) -> None:
    other = Datastore.register(ws, "other", tmp_path / "other")
    default = ws.get_default_datastore()
    made = Pipeline(ws, [step(output=PipelineData("one", datastore=other))], default_datastore=default)
    assert made.as_document()["steps"][0]["output"]["datastore"] == "other"
    other.unregister()
    assert len(made.validate()) == 1
    assert "no datastore 'other'" in made.validate()[0]
    made = Pipeline(ws, [step(output=PipelineData("one"))], default_datastore=default)
    assert made.as_document()["steps"][0]["output"]["datastore"] == "workspaceblobstore"


def test_validate_looks_again(ws: Workspace) -> None:
    made = Pipeline(ws, [step("first"), step("second")])
    assert made.validate() == []
    Path("score.py").unlink()
    assert [problem.partition(":")[0] for problem in made.validate()] == ["The step 'first'", "The step 'second'"]


# Parameters


def test_parameters_are_collected(ws: Workspace) -> None:
    made = Pipeline(ws, [parameterised()])
    assert set(made.parameters) == {"input_images", "batch_size_param", "process_count_param", "topic"}
    assert made.as_document()["parameters"]["batch_size_param"] == {"default": 5}
    assert made.as_document()["parameters"]["input_images"]["default"]["type"] == "file"
    json.dumps(made.as_document())


def test_two_parameters_of_one_name(ws: Workspace) -> None:
    first = step("first", arguments=[PipelineParameter("p", 1)])
    assert list(Pipeline(ws, [first, step("second", arguments=[PipelineParameter("p", 1)])]).parameters) == ["p"]
    with pytest.raises(UsageError, match="the name 'p', with the default values 1 and 2"):
        Pipeline(ws, [first, step("second", arguments=[PipelineParameter("p", 2)])])


def test_parameters_are_filled_in(ws: Workspace) -> None:
    made = Pipeline(ws, [parameterised()])
    (bound,) = made.bind()["steps"]
    assert (bound["config"]["mini_batch_size"], bound["config"]["process_count_per_node"]) == ("5", 2)
    assert bound["config"]["environment_variables"] == {"parameter": "batch_size_param"}
    assert bound["arguments"] == ["--topic", "x"]
    assert bound["inputs"][0]["dataset"]["paths"] == [str(Path("data/a").absolute())]
    document = made.bind({"batch_size_param": "1", "topic": 7, "input_images": FileDataset("data/b")})
    (bound,) = document["steps"]
    assert (bound["config"]["mini_batch_size"], bound["arguments"]) == ("1", ["--topic", "7"])
    assert bound["inputs"][0]["dataset"]["paths"] == [str(Path("data/b").absolute())]
    assert document["parameters"]["batch_size_param"] == {"default": 1}
    assert made.bind()["steps"][0]["config"]["mini_batch_size"] == "5"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"batch_size": 1}, r"no parameter 'batch_size'\. Did you mean 'batch_size_param'\? It has: "),
        ({"batch_size_param": 0}, "The step 'score': mini_batch_size must be a count of files"),
        ({"batch_size_param": "many"}, "'batch_size_param' must be a whole number, got 'many'"),
        ({"process_count_param": 0}, "The step 'score': process_count_per_node must be a whole number from 1"),
        ({"input_images": TabularDataset("data/a")}, "'input_images' must be a FileDataset"),
        ({"input_images": "nowhere"}, "There is no dataset and no path 'nowhere'.* Registered are: letters"),
        ({"input_images": "letters:3"}, "has no version '3'"),
    ],
)
def test_values_that_are_refused(ws: Workspace, values: dict[str, Any], told: str) -> None:
    FileDataset("data/b").register(ws, "letters")
    with pytest.raises(UsageError, match=told):
        Pipeline(ws, [parameterised()]).bind(values)


@pytest.mark.parametrize("given", ["letters", "letters:1", "data/b", Path("data/b")])
def test_a_dataset_by_name_or_path(ws: Workspace, given: Any) -> None:
    FileDataset("data/b").register(ws, "letters")
    (bound,) = Pipeline(ws, [parameterised()]).bind({"input_images": given})["steps"]
    assert bound["inputs"][0]["dataset"]["paths"] == [str(Path("data/b").absolute())]


def test_a_table_for_a_size_in_bytes(ws: Workspace) -> None:
    size = PipelineParameter("size", "1MB")
    made = Pipeline(ws, [step(inputs=[TabularDataset("data/a")], config={"mini_batch_size": size})])
    assert made.bind({"size": "2KB"})["steps"][0]["config"]["mini_batch_size"] == "2KB"
    with pytest.raises(UsageError, match="mini_batch_size must be a count"):
        made.bind({"size": "2XB"})


def test_a_data_path_for_a_parameter(ws: Workspace) -> None:
    store = ws.get_default_datastore()
    made = Pipeline(ws, [step(inputs=[PipelineParameter("data", store.path("a"))])])
    (bound,) = made.bind({"data": store.path("b")})["steps"]
    assert bound["inputs"][0]["dataset"] == {
        "type": "file",
        "paths": [{"datastore": "workspaceblobstore", "path": "b"}],
    }


def test_a_pipeline_submits_itself_as_its_experiment_would(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Pipeline(ws, [parameterised()])
    got: list[Any] = []
    monkeypatch.setattr(Experiment, "submit", lambda self, *given, **named: got.append((self.name, given, named)))
    made.submit("exp", {"topic": "y"}, True, True, tags={"a": "b"})
    named = {"pipeline_parameters": {"topic": "y"}, "continue_on_step_failure": True, "regenerate_outputs": True}
    assert got == [("exp", (made,), named | {"tags": {"a": "b"}})]
    monkeypatch.undo()
    with pytest.raises(UsageError, match="no parameter 'topik'"):
        made.submit("exp", pipeline_parameters={"topik": 1})
    with pytest.raises(UsageError, match="no argument 'regenerate_output'"):
        made.submit("exp", regenerate_output=True)


# Files


def test_a_pipeline_is_saved_and_loaded(ws: Workspace) -> None:
    prepared = OutputFileDatasetConfig("prepared").read_delimited_files(separator=";")
    made = Pipeline(
        ws,
        [parameterised("first-step"), step("second", output=prepared), step("third", [prepared])],
        description="Scores images.",
    )
    made.save("pipelines/p.yml")
    assert os.stat("pipelines/p.yml").st_mode & 0o077 == 0  # it has an environment variable
    back = Pipeline.load("pipelines/p.yml")
    assert back.as_document() == made.as_document()
    assert back.description == "Scores images."
    assert {name: type(one.default_value) for name, one in back.parameters.items()} == {
        name: type(one.default_value) for name, one in made.parameters.items()
    }
    values = {"batch_size_param": 1}
    assert back.bind(values) == made.bind(values)
    assert list(Path("pipelines").iterdir()) == [Path("pipelines/p.yml")]
    assert Pipeline.load("pipelines/p.yml", workspace=ws).workspace == ws


def test_a_bound_pipeline_can_be_saved_too(ws: Workspace) -> None:
    bound = Pipeline(ws, [parameterised()]).bind()
    Path("p.json").write_text(json.dumps(bound))
    assert Pipeline.load("p.json").as_document() == bound


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda doc: doc.update(version=2), "version of the pipeline must be 1, got 2"),
        (lambda doc: doc.update(stepz=[]), r"The pipeline has no 'stepz'\. Did you mean 'steps'"),
        (lambda doc: doc.update(steps=[]), "at least one step"),
        (lambda doc: doc.update(steps=3), "must have a list 'steps'"),
        (lambda doc: doc["steps"][0].update(name="../x"), "name of a step must begin with a letter"),
        (lambda doc: doc["steps"][0].update(imputs=[]), r"The step 'score' has no 'imputs'\. Did you mean 'inputs'"),
        (lambda doc: doc["steps"][0]["config"].update(run_max_try=0), "'score': run_max_try must be"),
        (lambda doc: doc["steps"][0]["config"].update(run_max=1), "There is no option 'run_max'"),
        (lambda doc: doc["steps"][0]["config"].update(mini_batch_size="1MB"), "a count of files >= 1 for a File"),
        (lambda doc: doc["steps"][0]["config"].update(partition_keys=["a"]), "both say how the input is cut"),
        (lambda doc: doc["parameters"].pop("topic"), r"There is no parameter 'topic'\. There are: "),
        (lambda doc: doc["parameters"].update(input_images={"default": 3}), "must be a dataset to be an input, got 3"),
        (lambda doc: doc["steps"][0].update(after=["none"]), "There is no step 'none'"),
        (lambda doc: doc["steps"][0].update(arguments=[{"input": "x"}]), "There is no input 'x'. There are: images"),
        (lambda doc: doc["steps"][0].update(arguments=[{"output": "x"}]), "There is no output 'x'. There are: scores"),
        (lambda doc: doc["steps"][0].update(arguments=[{"parameter": "input_images"}]), "is a dataset: name the input"),
        (lambda doc: doc["steps"][0].update(arguments=[3]), "Each of arguments must be a text or one of"),
        (lambda doc: doc["steps"][0].update(inputs=[]), "inputs must be one or more"),
        (lambda doc: doc["steps"][0].update(inputs=[3]), "no document of a pipeline"),
        (lambda doc: doc["steps"][0].update(environment={"name": "e"}), "no document of an environment"),
        (lambda doc: doc["steps"][0].update(entry_script="none.py"), "'score': The entry script .*none.py' does not"),
        (
            lambda doc: doc["steps"][0]["inputs"][0].update(dataset={"output": {"step": "score", "name": "x"}}),
            "reads the output 'x' of the step 'score', which has the output 'scores'",
        ),
        (
            lambda doc: doc["steps"][0]["inputs"][0].update(
                dataset={"type": "file", "paths": [{"datastore": "gone", "path": "a"}]}
            ),
            "There is no datastore 'gone'",
        ),
    ],
)
def test_a_file_that_was_changed_by_hand(ws: Workspace, change: Any, told: str) -> None:
    document = Pipeline(ws, [parameterised()]).as_document()
    change(document)
    Path("p.yml").write_text(yaml.safe_dump(document))
    with pytest.raises(UsageError, match=told) as caught:
        Pipeline.load("p.yml")
    assert "p.yml" in str(caught.value)


def test_what_is_no_pipeline(ws: Workspace) -> None:
    Path("p.yml").write_text("a: 1")
    with pytest.raises(UsageError, match=r"p.yml': type must be 'parallel' or 'pipeline', got None"):
        Pipeline.load("p.yml")
    Path("p.yml").write_text("!!python/name:os.system")
    with pytest.raises(UsageError, match="is no YAML"):
        Pipeline.load("p.yml")


def test_a_dataframe_is_kept_and_cannot_be_saved(ws: Workspace) -> None:
    frame = Dataset.Tabular.from_pandas_dataframe(pd.DataFrame({"a": [1]}))
    made = Pipeline(ws, [step(inputs=[frame.as_named_input("frame")])])
    assert made.live_inputs == {("score", "frame"): frame}
    assert made.bind()["steps"][0]["inputs"][0]["dataset"] == {"live": True, "type": "tabular"}
    with pytest.raises(UsageError, match="The input 'frame' of the step 'score' is a dataframe in this program"):
        made.save("p.yml")
    assert not Path("p.yml").exists()


def test_a_pipeline_is_as_it_was_when_it_was_made(ws: Workspace) -> None:
    one = step()
    made = Pipeline(ws, [one])
    one.parallel_run_config.node_count = 9
    made.as_document()["steps"].clear()
    assert made.as_document()["steps"][0]["config"]["node_count"] == 1
    assert repr(made) == "<Pipeline: score>"


# What a workspace keeps


def test_a_published_pipeline_is_found_again(ws: Workspace) -> None:
    pipeline = Pipeline(ws, [parameterised()], description="of the pipeline")
    first = pipeline.publish("digits", version="1.0")
    second = pipeline.publish(name="other", description="own", continue_on_step_failure=True)
    assert [one.id for one in PublishedPipeline.list(ws)] == [second.id, first.id]
    found = PublishedPipeline.get(ws, first.id)
    assert (found.name, found.version, found.description) == ("digits", "1.0", "of the pipeline")
    assert found.status == "Active"
    assert found.pipeline().as_document() == pipeline.as_document()
    assert second.pipeline().as_document()["continue_on_step_failure"] is True
    assert os.stat(found.endpoint).st_mode & 0o077 == 0  # values of environment variables are in it
    found.disable()
    assert [one.id for one in PublishedPipeline.list(ws)] == [second.id]
    with pytest.raises(UsageError, match=r"is disabled. Next: enable\(\) it"):
        PublishedPipeline.get(ws, first.id).submit(ws, "exp")
    found.enable()
    assert len(PublishedPipeline.list(ws)) == 2
    with pytest.raises(NotFound, match="There is no published pipeline with the id 'x'"):
        PublishedPipeline.get(ws, "x")


def test_a_dataframe_is_not_published(ws: Workspace) -> None:
    import dask.dataframe as dd

    data = TabularDataset.from_dask(dd.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1))
    with pytest.raises(UsageError, match="which no file can hold"):
        Pipeline(ws, [step(inputs=[data.as_named_input("rows")])]).publish("p")


def test_source_directories_are_copied_once_for_each_content(ws: Workspace, tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "inner").mkdir(parents=True)
    (code / "inner" / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (code / "labels.txt").write_text("a")
    (code / ".amlignore").write_text("*.bin\n")
    (code / "big.bin").write_text("b")
    options = {"source_directory": str(code)}
    made = ParallelRunConfig(
        Environment("e"), "inner/score.py", error_threshold=-1, output_action="append_row", node_count=1,
        compute_target="local", **options,
    )  # fmt: skip
    (document,) = Pipeline(ws, [ParallelRunStep("score", made, [FileDataset("data/a")])]).as_document()["steps"]
    first = with_snapshot(document, ws)
    assert first["entry_script"] == "inner/score.py"
    copy = Path(first["source_directory"])
    assert copy.parent == ws.folder / "snapshots"
    assert sorted(path.name for path in copy.rglob("*")) == [".amlignore", "inner", "labels.txt", "score.py"]
    assert with_snapshot(document, ws) == with_snapshot(first, ws) == first
    (code / "labels.txt").write_text("b")
    assert with_snapshot(document, ws)["source_directory"] != first["source_directory"]
    assert len(list(copy.parent.iterdir())) == 2
    left, under_way = copy.parent / ".0a.tmp", copy.parent / ".0b.tmp"
    for part in (left, under_way):
        part.mkdir()
    os.utime(left, (0, 0))
    with_snapshot(document, ws)
    assert (left.exists(), under_way.exists()) == (False, True)
    without = {**document, "source_directory": None}
    assert with_snapshot(without, ws) == without


# What inputs may be


def test_a_step_that_nobody_holds_is_found_by_its_output(ws: Workspace) -> None:
    scores = PipelineData("scores")
    step("first", output=scores)
    gc.collect()
    assert names(Pipeline(ws, [step("second", [scores])])) == ["first", "second"]


def test_a_path_in_a_datastore_as_a_parameter_that_is_mounted(ws: Workspace) -> None:
    store = Datastore.register(ws, "store", str(ws.root / "data"))
    one = DatasetConsumptionConfig("images", PipelineParameter("where", store.path("a"))).as_mount()
    pipeline = Pipeline(ws, [step(inputs=[one])])
    for given, path in (({}, "a"), ({"where": "b"}, "b"), ({"where": store.path("b/b.txt")}, "b/b.txt")):
        (dataset,) = (entry["dataset"] for entry in pipeline.bind(given)["steps"][0]["inputs"])
        assert dataset["paths"] == [{"datastore": "store", "path": path}]


@pytest.mark.usefixtures("ws")
def test_a_place_on_the_compute_is_said_to_mean_nothing() -> None:
    config = FileDataset("data/a").as_named_input("at_a_place").as_mount("/mnt/x")
    with pytest.warns(IgnoredWarning, match="'at_a_place', whose path is in the script's arguments: path_on_compute"):
        step(inputs=[config])
