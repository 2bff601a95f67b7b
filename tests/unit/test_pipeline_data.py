from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from daskbatch.api import ignored
from daskbatch.api.consumption import DatasetConsumptionConfig
from daskbatch.api.data_types import DataType
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.datastore import Datastore
from daskbatch.api.ignored import IgnoredWarning
from daskbatch.api.outputs import OutputFileDatasetConfig, PipelineData, read_output
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.references import as_document
from daskbatch.api.workspace import Workspace
from daskbatch.errors import UsageError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create("w", path=tmp_path / "ws")


@pytest.fixture
def store(workspace: Workspace) -> Datastore:
    return workspace.get_default_datastore()


# PipelineParameter

FILES, TABLE = FileDataset("/a"), TabularDataset("/a.csv")


@pytest.mark.parametrize(
    ("default", "given", "expected"),
    [
        ("5", 1, "1"),
        ("5", "1MB", "1MB"),
        (2, "1", 1),
        (2, 7, 7),
        (2, 7.0, 7),
        (0.5, "1.5", 1.5),
        (0.5, 2, 2.0),
        (True, "False", False),
        (True, False, False),
        (FILES, FileDataset("/b"), FileDataset("/b")),
        (TABLE, TABLE, TABLE),
    ],
)
def test_values_are_of_the_defaults_type(default: Any, given: Any, expected: Any) -> None:
    found = PipelineParameter("p", default).value(given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("default", "given", "message"),
    [
        (2, "many", "'p' must be a whole number, got 'many' of type str"),
        (2, 1.5, "must be a whole number"),
        (2, True, "must be a whole number"),
        (2, None, "must be a whole number"),
        (0.5, "x", "must be a number"),
        (True, 1, "must be True or False"),
        ("a", FILES, "must be a text"),
        ("a", "b\nc", "must be a text of one line"),
        (FILES, TABLE, "must be a FileDataset, as its default value is"),
        (TABLE, "/a.csv", "must be a TabularDataset"),
    ],
)
def test_values_of_another_type(default: Any, given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PipelineParameter("p", default).value(given)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a.b", 5, None, "x" * 256])
def test_names_of_parameters(name: Any) -> None:
    with pytest.raises(UsageError, match="name of a PipelineParameter must begin with"):
        PipelineParameter(name=name, default_value=1)


@pytest.mark.parametrize("default", [None, ["a"], {"a": 1}, b"x", object()])
def test_defaults_of_parameters(default: Any) -> None:
    with pytest.raises(UsageError, match="default_value of the PipelineParameter 'p' must be"):
        PipelineParameter("p", default)


def test_a_path_in_a_datastore_is_a_parameter(store: Datastore) -> None:
    parameter = PipelineParameter("p", store.path("a"))
    assert parameter.is_data
    assert PipelineParameter("p", FILES).is_data
    assert parameter.value(store.path("b")) == store.path("b")
    assert repr(PipelineParameter("p", 5)) == "PipelineParameter(name='p', default_value=5)"
    with pytest.raises(UsageError, match="must be a DataPath"):
        parameter.value("b")


# DatasetConsumptionConfig


def test_how_an_input_is_delivered() -> None:
    named = FILES.as_named_input("photos")
    assert named == DatasetConsumptionConfig("photos", FILES)
    assert (named.mode, named.path_on_compute) == ("direct", None)
    assert (named.as_mount("/mnt/x").mode, named.as_mount("/mnt/x").path_on_compute) == ("mount", "/mnt/x")
    assert named.as_download().mode == "download"
    assert named.as_mount("/x").as_named_input("other").name == "other"


def test_an_input_without_a_name_gets_one_that_stays() -> None:
    first, second = FILES.as_mount(), FileDataset("/a").as_download()
    assert first.name == second.name
    assert first.name != FileDataset("/b").as_mount().name
    assert (first.mode, second.mode) == ("mount", "download")
    assert first.name.isidentifier()


@pytest.mark.parametrize("dataset", [FILES, TABLE, PipelineParameter("p", FILES), PipelineData("o")])
def test_what_can_be_an_input(dataset: Any) -> None:
    assert DatasetConsumptionConfig("a", dataset, "Mount").mode == "mount"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a-b", FILES), "name of an input must begin with"),
        (("", FILES), "name of an input must begin with"),
        (("a", "/path"), "dataset of the input 'a' must be"),
        (("a", PipelineParameter("p", 5)), "dataset of the input 'a' must be"),
        (("a", FILES, "copy"), "mode must be direct, mount or download"),
    ],
)
def test_what_cannot_be_an_input(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DatasetConsumptionConfig(*arguments)


# Outputs


def test_pipeline_data(store: Datastore) -> None:
    output = PipelineData("inferences", store)
    assert output.as_document() == {
        "name": "inferences", "datastore": "workspaceblobstore", "path": "azureml/{run-id}/{output-name}",
        "register": None,
    }  # fmt: skip
    assert output.path("r1") == "azureml/r1/inferences"
    assert PipelineData(name="a").datastore_name is None
    assert PipelineData("a", output_name="b").as_document()["output_name"] == "b"


def test_an_output_is_known_whatever_is_made_of_it() -> None:
    output = PipelineData("a")
    same = [
        output.as_dataset(),
        output.as_input("x").dataset,
        output.as_mount().dataset,
        output.as_dataset().parse_delimited_files(separator=";"),
        output.read_parquet_files(),
    ]
    assert all(one.origin is output.origin for one in same)
    # Two outputs of one name are two: names are only different within a step
    assert PipelineData("a").origin is not output.origin
    assert PipelineData("a") != output


def test_an_output_becomes_a_dataset(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "predictions.txt").write_text("n;day\n1;31/12/2020\n")
    (folder / "log.txt").write_text("nothing")
    output = PipelineData("a").read_delimited_files(
        separator=";", path_glob="pred*", set_column_types={"day": DataType.to_datetime("%d/%m/%Y")}
    )
    reading = json.loads(json.dumps(output.reading))
    made = read_output(reading, folder, workspace)
    assert isinstance(made, TabularDataset)
    assert made.to_pandas_dataframe()["day"].dt.year.to_list() == [2020]
    files = read_output(PipelineData("a").reading, folder, workspace)
    assert files.to_path() == ["/log.txt", "/predictions.txt"]
    place = workspace.get_default_datastore().path("azureml/r1/a")
    assert as_document(read_output(reading, place, workspace))["paths"] == [
        {"datastore": "workspaceblobstore", "path": "azureml/r1/a/pred*"}
    ]


def test_output_file_dataset_config(store: Datastore) -> None:
    assert OutputFileDatasetConfig().path("r1") == "dataset/r1/output"
    assert OutputFileDatasetConfig("x", store).path("r1") == "dataset/r1/x"
    for destination in ((store, "out/{run-id}/{output-name}"), store.path("out/{run-id}/{output-name}")):
        output = OutputFileDatasetConfig("scores", destination)
        assert (output.datastore_name, output.path("r1")) == ("workspaceblobstore", "out/r1/scores")
    made = output.as_upload().as_mount().read_parquet_files(path_glob="*.parquet").register_on_complete("my scores")
    assert made.origin is output.origin
    assert made.as_document()["register"] == {
        "name": "my scores", "description": None, "tags": {},
        "reading": {"type": "tabular", "format": "parquet", "glob": "*.parquet"},
    }  # fmt: skip
    assert made.as_input().name == "scores"
    assert made.as_named_input("again").mode == "direct"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PipelineData("a b"), "name of a PipelineData must be letters, digits and '_'"),
        (lambda: PipelineData(""), "name of a PipelineData must be"),
        (lambda: PipelineData("a", output_name="../b"), "output_name of a PipelineData must be"),
        (lambda: PipelineData("a", "store"), "datastore of the PipelineData 'a' must be a Datastore"),
        (lambda: PipelineData("a", output_mode="copy"), "output_mode must be mount or upload"),
        (lambda: OutputFileDatasetConfig("a-b"), "name of an OutputFileDatasetConfig must be"),
        (lambda: OutputFileDatasetConfig("a", "/folder"), "destination must be"),
        (lambda: OutputFileDatasetConfig("a").register_on_complete("../b"), "name must begin with"),
        (lambda: PipelineData("a").read_delimited_files(path_glob="../*"), "path_glob must be a path inside"),
    ],
)
def test_what_cannot_be_an_output(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_what_means_nothing_here_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignored, "_said", set())
    with pytest.warns(IgnoredWarning, match="PipelineData: output_overwrite, data_type"):
        PipelineData("a", output_overwrite=True, data_type="x", is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PipelineData("a", output_overwrite=True)
