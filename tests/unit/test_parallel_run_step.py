from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskbatch import (
    Dataset,
    DatasetConsumptionConfig,
    Environment,
    FileDataset,
    IgnoredWarning,
    OutputFileDatasetConfig,
    ParallelRunConfig,
    ParallelRunStep,
    PipelineData,
    PipelineParameter,
    TabularDataset,
    UsageError,
    Workspace,
)

FILES = FileDataset("/data/images")
MODEL = FileDataset("/data/model").as_named_input("model").as_mount()
ROWS = TabularDataset("/data/rows.csv")


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "score.py"
    path.write_text("def run(mini_batch):\n    return mini_batch\n")
    return path


def step(name: str = "score", inputs: Any = (FILES,), *, config: Any = None, **arguments: Any) -> ParallelRunStep:
    made = ParallelRunConfig(Environment("e"), "score.py", -1, "append_row", "local", 1, **(config or {}))
    return ParallelRunStep(name=name, parallel_run_config=made, inputs=inputs, **arguments)


@pytest.mark.parametrize("name", ["abc", "a-1", "a" * 32, "predict-digits-mnist"])
def test_names_that_are_taken(name: str) -> None:
    assert step(name).name == name


@pytest.mark.parametrize("name", ["ab", "a" * 33, "Abc", "1bc", "a_c", "abc-", "-abc", "abc\n", "a.c", None, 3])
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="name of a ParallelRunStep must be 3 to 32 lower-case letters"):
        step(name)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"inputs": FILES}, r"inputs must be a list, \[\.\.\.\]"),
        ({"inputs": []}, "inputs must be a list of at least one"),
        ({"inputs": ["/data"]}, "Each of inputs must be a dataset, .* got '/data' of type str"),
        ({"inputs": [PipelineParameter("p", 3)]}, "Each of inputs must be a dataset"),
        (
            {"inputs": [FILES, ROWS]},
            r"must be of one type, files or tables, got both: input_\w+ is files, ",
        ),
        ({"inputs": [FILES, FILES]}, "must have different names, got 'input_"),
        ({"inputs": [FILES.as_named_input("model")], "side_inputs": [MODEL]}, "different names, got 'model' twice"),
        ({"side_inputs": MODEL}, "side_inputs must be a list"),
        ({"output": "out"}, r"output must be a PipelineData or an OutputFileDatasetConfig, got 'out'"),
        ({"arguments": "--a 1"}, r"arguments must be a list such as"),
        ({"arguments": [None]}, "Each of arguments must be a text, .* got None"),
        ({"arguments": ["a\0b"]}, "Each of arguments must be a text"),
        (
            {"arguments": ["--model", MODEL]},
            "is none of the step's inputs, .* in side_inputs too",
        ),
        ({"arguments": [PipelineData("other")]}, "is none of the step's inputs"),
        ({"arguments": [PipelineParameter("data", FILES)]}, "is none of the step's inputs"),
        ({"allow_reuse": "yes"}, "allow_reuse must be True or False, got 'yes'"),
        ({"config": {"mini_batch_size": "1MB"}}, r"must be a count of files >= 1 for a FileDataset, got '1MB'\. Sizes"),
        ({"config": {"mini_batch_size": "5rows"}}, "must be a count of files >= 1 for a FileDataset"),
        ({"config": {"mini_batch_size": PipelineParameter("s", "1KB")}}, "must be a count of files >= 1"),
        (
            {"config": {"partition_keys": ["store"]}},
            r"no key 'store'\. They have none\. .*partition_format='/{store}/",
        ),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        step(**arguments)


def test_the_config_must_be_one_and_is_checked_again(script: Path) -> None:
    with pytest.raises(UsageError, match="parallel_run_config must be a ParallelRunConfig, got None"):
        ParallelRunStep("score", None, [FILES])  # type: ignore[arg-type]
    made = ParallelRunConfig(Environment("e"), "score.py", -1, "append_row", "local", 1)
    script.unlink()
    with pytest.raises(UsageError, match="does not exist"):
        ParallelRunStep("score", made, [FILES])


def test_keys_of_files_are_those_of_their_paths() -> None:
    keyed = FileDataset("/data", partition_format="/{store}/{day:yyyy-MM-dd}/*.csv")
    assert step(inputs=[keyed], config={"partition_keys": ["store"]}).inputs[0].kind == "file"
    with pytest.raises(UsageError, match=r"no key 'stor'\. Did you mean 'store'\? They have store, day"):
        step(inputs=[keyed], config={"partition_keys": ["stor"]})
    with pytest.raises(UsageError, match=r"no key 'column'.*, or table.partition_by\(\['column'\], folder\)"):
        step(inputs=[ROWS], config={"partition_keys": ["column"]})
    rows = TabularDataset("/data", partition_format="/{store}/*.csv")
    assert step(inputs=[rows], config={"partition_keys": ["store"]}).inputs[0].kind == "tabular"
    with pytest.raises(UsageError, match=r"take\(\) and skip\(\) leave rows of the input"):
        step(inputs=[rows.take(5)], config={"partition_keys": ["store"]})


def test_sizes_of_tables() -> None:
    for size in ("1MB", "5000rows", 10, PipelineParameter("size", "1MB")):
        step(inputs=[ROWS], config={"mini_batch_size": size})


def test_inputs_by_name_and_mode() -> None:
    output = PipelineData("prepared")
    prepare = step("prepare", output=output)
    parameter = PipelineParameter("data-set", FILES)
    consumed = DatasetConsumptionConfig("given", parameter).as_download("/data/x")
    made = step(inputs=[FILES, output, parameter, consumed], side_inputs=[MODEL, ROWS])
    document = made.as_document()
    assert [(one["name"], one["mode"], one["path_on_compute"]) for one in document["inputs"]] == [
        (made.inputs[0].name, "direct", None),
        ("prepared", "direct", None),
        ("data_set", "direct", None),
        ("given", "download", "/data/x"),
    ]
    assert [one["dataset"] for one in document["inputs"]] == [
        {"type": "file", "paths": ["/data/images"]},
        {"output": {"step": prepare.name, "name": "prepared", "reading": {"type": "file"}}},
        {"parameter": "data-set"},
        {"parameter": "data-set"},
    ]
    assert [one["name"] for one in document["side_inputs"]] == ["model", made.side_inputs[1].name]
    assert [one["mode"] for one in document["side_inputs"]] == ["mount", "mount"]


def test_arguments_become_references() -> None:
    data = FILES.as_named_input("data")
    side = FileDataset("/data/labels")
    output = OutputFileDatasetConfig("out")
    earlier = PipelineData("earlier")
    made = step(
        inputs=[data],
        side_inputs=[MODEL, side, earlier.as_mount(), PipelineParameter("lookup", FileDataset("/data/lookup"))],
        output=output,
        arguments=[
            *("--n", 3, 0.5, True, Path("a/b"), PipelineParameter("topic", "x")),
            *(MODEL, side, data, FILES, earlier, PipelineParameter("lookup", FileDataset("/data/lookup"))),
            *(output, output.read_delimited_files()),
        ],
    )
    assert made.arguments == [
        *("--n", "3", "0.5", "True", "a/b", {"parameter": "topic"}),
        *({"input": "model"}, {"input": made.side_inputs[1].name}, {"input": "data"}, {"input": "data"}),
        *({"input": "earlier"}, {"input": "lookup"}, {"output": "out"}, {"output": "out"}),
    ]
    assert [one.name for one in made.parameters()] == ["lookup", "topic", "lookup"]


def test_a_table_that_is_an_output_is_a_table() -> None:
    output = OutputFileDatasetConfig("rows")
    read = output.read_delimited_files(separator=";")
    made = step(inputs=[read], config={"mini_batch_size": "1MB"})
    assert made.inputs[0].kind == "tabular"
    writer = step("write", output=output)
    source = made.as_document()["inputs"][0]["dataset"]["output"]
    assert source["step"] == writer.name
    assert (source["reading"]["type"], source["reading"]["separator"]) == ("tabular", ";")


def test_the_whole_document(tmp_path: Path) -> None:
    ws = Workspace.create("w", tmp_path / "ws")
    output = PipelineData("scores", datastore=ws.get_default_datastore())
    document = step(output=output, allow_reuse=False).as_document()
    assert list(document) == [
        *("name", "entry_script", "source_directory", "config", "environment", "compute_target"),
        *("inputs", "side_inputs", "output", "arguments", "allow_reuse", "after", "regenerate_outputs"),
    ]
    assert document["output"] == {
        "name": "scores",
        "datastore": "workspaceblobstore",
        "path": "azureml/{run-id}/{output-name}",
        "register": None,
    }
    assert document["allow_reuse"] is False
    assert document["after"] == []
    assert step().as_document()["output"] is None


def test_outputs_and_what_is_waited_for() -> None:
    output = PipelineData("a")
    first = step("first", output=output)
    second = step("second", inputs=[output])
    third = step("third")
    third.run_after(second)
    assert first.outputs == [output]
    assert second.outputs == []
    assert (second.before(), third.before(), first.before()) == ([first], [second], [])
    assert third.as_document()["after"] == ["second"]
    with pytest.raises(UsageError, match="run_after takes a ParallelRunStep"):
        third.run_after("second")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="reads the output 'none', which no step writes"):
        step(inputs=[PipelineData("none")]).as_document()


def test_a_dataframe_stays_in_this_program() -> None:
    frame = Dataset.Tabular.from_pandas_dataframe(pd.DataFrame({"a": [1]}))
    made = step(inputs=[frame.as_named_input("frame")])
    assert made.live_inputs() == {"frame": frame}
    assert made.as_document()["inputs"][0]["dataset"] == {"live": True, "type": "tabular"}
    with pytest.raises(
        UsageError, match=r"arguments: the input 'frame' is a dataframe, .* has no path\. Next: write it"
    ):
        step(inputs=[frame.as_named_input("frame")], arguments=["--data", frame])
    with pytest.raises(UsageError, match=r"side_inputs: 'frame' is a dataframe, .* has no path\. Next: write it"):
        step(side_inputs=[frame.as_named_input("frame")])


def test_that_no_copy_is_made_is_said_once() -> None:
    with pytest.warns(IgnoredWarning, match="'never_copied', of which the script reads the original: as_download had"):
        step(side_inputs=[FILES.as_named_input("never_copied").as_download()], inputs=[ROWS])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(inputs=[FILES.as_named_input("never_copied_too").as_download()])  # mini-batches have its files
