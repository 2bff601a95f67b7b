from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskbatch.api.data_types import DataType, PromoteHeadersBehavior
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_factory import Dataset
from daskbatch.api.datastore import Datastore
from daskbatch.api.references import as_document, from_document, localised, places
from daskbatch.api.workspace import Workspace
from daskbatch.errors import InputError, NotFound, UsageError
from daskbatch.remote.errors import StorageError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create("w", path=tmp_path / "ws")


@pytest.fixture
def store(workspace: Workspace) -> Datastore:
    """Return the default datastore with ``cats/2018/1.jpg``, ``cats/2018/2.jpg``, ``cats/2019/1.jpg``, ``t/a.csv``."""
    store = workspace.get_default_datastore()
    for name in ("cats/2018/1.jpg", "cats/2018/2.jpg", "cats/2019/1.jpg"):
        path = Path(store.local_path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    Path(store.local_path("t")).mkdir()
    Path(store.local_path("t/a.csv")).write_text("n;text\n1;a\n2;b\n")
    return store


# Factories


@pytest.mark.parametrize(
    "path",
    [
        lambda store: store.path("cats/"),
        lambda store: (store, "cats"),
        lambda store: [(store, "cats/2018/*.jpg"), store.path("cats/2019")],
        lambda store: (store, ["cats/2018", "cats/2019/1.jpg"]),
        lambda store: store.local_path("cats"),
        lambda store: Path(store.local_path("cats")),
        lambda store: [store.local_path("cats/*/?.jpg")],
    ],
)
def test_where_files_may_be(store: Datastore, path: Any) -> None:
    dataset = Dataset.File.from_files(path(store))
    assert dataset.to_path() == ["/2018/1.jpg", "/2018/2.jpg", "/2019/1.jpg"]


def test_a_relative_path_is_made_absolute(store: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.local_path("cats"))
    dataset = Dataset.File.from_files("2018")
    monkeypatch.chdir("/")
    assert dataset.to_path() == ["/1.jpg", "/2.jpg"]
    assert dataset.references == (store.local_path("cats/2018"),)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (5, "path must be a path or URL"),
        ([], "got an empty list"),
        (["a", 5], "path must be a path or URL"),
        ("s3://key:secret@bucket/a", "must not hold a key"),
        ("/there/is/nothing", "does not exist"),
        ("", "must be a path"),
    ],
)
def test_where_files_may_not_be(path: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Dataset.File.from_files(path)


def test_what_is_not_validated_is_looked_at_later(store: Datastore) -> None:
    dataset = Dataset.File.from_files((store, "dogs"), validate=False)
    with pytest.raises(InputError, match="does not exist"):
        dataset.to_path()
    with pytest.raises(InputError, match=r"2018/1.jpg does not end as partition_format"):
        Dataset.File.from_files((store, "cats"), partition_format="/{year:yyyy}/{n}.png")


def test_a_store_is_asked_at_once_where_it_is_validated(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket = Datastore.register(workspace, "bucket", "s3://bucket/photos")
    with pytest.raises(StorageError, match="no credentials found"):
        Dataset.File.from_files((bucket, "a"))
    dataset = Dataset.File.from_files([(bucket, "a/*.png")], validate=False)
    assert dataset.paths == ("s3://bucket/photos/a/*.png",)
    assert as_document(dataset)["paths"] == [{"datastore": "bucket", "path": "a/*.png"}]
    assert dataset.spec().paths == dataset.paths


def test_a_url_is_read_where_it_is_redirected_to(tmp_path: Path) -> None:
    (tmp_path / "ws" / "copies").mkdir(parents=True)
    (tmp_path / "ws" / "copies" / "a.csv").write_text("n\n1\n")
    config = {"workspace_name": "w", "redirect": {"https://host/data": "copies"}}
    (tmp_path / "ws" / "config.json").write_text(json.dumps(config))
    workspace = Workspace.from_config(tmp_path / "ws")
    dataset = Dataset.Tabular.from_delimited_files("https://host/data/*.csv")
    assert places(dataset, workspace) == [str(tmp_path / "ws" / "copies" / "*.csv")]
    assert localised(dataset, workspace).to_pandas_dataframe()["n"].to_list() == [1]
    other = Dataset.File.from_files("https://other/data", validate=False)
    assert places(other, workspace) == ["https://other/data"]


def test_delimited_files_are_read_as_told(store: Datastore) -> None:
    dataset = Dataset.Tabular.from_delimited_files((store, "t/*.csv"), separator=";")
    assert dataset.to_pandas_dataframe()["n"].to_list() == [1, 2]
    assert dataset.options() == {"input_format": "csv", "separator": ";"}
    none = Dataset.Tabular.from_delimited_files((store, "t"), separator=";", header=False, encoding="windows1252")
    assert none.to_pandas_dataframe()["0"].to_list() == ["n", "1", "2"]


def test_any_suffix_can_be_delimited_text(tmp_path: Path) -> None:
    (tmp_path / "empty.data").touch()
    (tmp_path / "rows.data").write_text('a,b\n1,"x\ny"\n')
    dataset = Dataset.Tabular.from_delimited_files(tmp_path / "*.data", support_multi_line=True)
    assert dataset.to_pandas_dataframe()["b"].to_list() == ["x\ny"]


def test_other_tables(tmp_path: Path) -> None:
    pd.DataFrame({"n": [1, 2]}).to_parquet(tmp_path / "a.pq")
    (tmp_path / "a.txt").write_text('{"n": 1}\n{"n": 2}\n')
    for made in (
        Dataset.Tabular.from_parquet_files(tmp_path / "a.pq"),
        Dataset.Tabular.from_json_lines_files(tmp_path / "a.txt"),
    ):
        assert made.to_pandas_dataframe()["n"].to_list() == [1, 2]


HEADERS = PromoteHeadersBehavior


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"header": HEADERS.ONLY_FIRST_FILE_HAS_HEADERS}, "files are read by themselves"),
        ({"header": "yes"}, "header must be True, False or a PromoteHeadersBehavior"),
        ({"header": 1}, "header must be True, False or a PromoteHeadersBehavior"),
        ({"separator": ";;"}, "separator must be one ASCII character"),
        ({"encoding": "utf9"}, "encoding must be a text encoding"),
        ({"empty_as_string": True}, "an empty field is a missing value"),
        ({"set_column_types": {"n": "int"}}, "set_column_types must be a dict such as"),
        ({"include_path": "yes"}, "include_path must be True or False"),
        ({"partition_format": "a.csv"}, "must name a key in braces"),
    ],
)
def test_wrong_arguments_are_errors_at_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Dataset.Tabular.from_delimited_files("/nowhere", validate=False, **given)


def test_headers() -> None:
    for header, expected in (
        *((value, "first_row") for value in (True, HEADERS.COMBINE_ALL_FILES_HEADERS)),
        (HEADERS.ALL_FILES_HAVE_SAME_HEADERS, "first_row"),
        *((value, "none") for value in (False, HEADERS.NO_HEADERS)),
    ):
        assert Dataset.Tabular.from_delimited_files("a", validate=False, header=header).header == expected


@pytest.mark.parametrize("formats", ["day", "%Y %f", 5, ["%Y", 5], "%Y|%m", []])
def test_what_is_no_format_of_a_time(formats: Any) -> None:
    with pytest.raises(UsageError, match="formats must be one or more such as"):
        DataType.to_datetime(formats)


def test_lines_are_not_dropped_unseen() -> None:
    with pytest.raises(UsageError, match="invalid_lines must be 'error'"):
        Dataset.Tabular.from_json_lines_files("a", invalid_lines="drop")


# Registration


def test_what_is_registered_is_found_again(workspace: Workspace, store: Datastore) -> None:
    made = Dataset.Tabular.from_delimited_files((store, "t"), separator=";", include_path=True)
    registered = made.register(workspace, "my table", "what it is", {"season": "winter"})
    assert (made.name, made.version) == (None, None)
    assert (registered.name, registered.version) == ("my table", 1)
    for found in (Dataset.get_by_name(workspace, "my table"), workspace.datasets["my table"]):
        assert found == registered == made
        assert (found.name, found.version, found.description) == ("my table", 1, "what it is")
        assert found.tags == {"season": "winter"}
        assert isinstance(found, TabularDataset)
        assert len(found.to_pandas_dataframe()) == 2
    assert Dataset.get_all(workspace) == {"my table": registered}
    # And the file is one that people can read
    document = json.loads((workspace.folder / "datasets" / "my table" / "1.json").read_text())
    assert document["dataset"] == {
        "type": "tabular", "paths": [{"datastore": "workspaceblobstore", "path": "t"}], "format": "csv",
        "separator": ";", "include_path": True,
    }  # fmt: skip


def test_a_name_is_taken_once(workspace: Workspace, store: Datastore) -> None:
    cats, tables = Dataset.File.from_files((store, "cats")), Dataset.File.from_files((store, "t"))
    cats.register(workspace, "pets")
    # The same again is the same
    assert cats.register(workspace, "pets").version == 1
    assert cats.register(workspace, "pets", create_new_version=True).version == 1
    with pytest.raises(UsageError, match=r"version 1 of it is another dataset.*create_new_version=True"):
        tables.register(workspace, "pets")
    with pytest.raises(UsageError, match="is taken"):
        cats.register(workspace, "pets", tags={"a": "b"})
    assert tables.register(workspace, "pets", create_new_version=True).version == 2
    assert cats.register(workspace, "pets", create_new_version=True).version == 3
    assert [Dataset.get_by_name(workspace, "pets", v).version for v in (1, "2", "latest")] == [1, 2, 3]
    assert Dataset.get_by_name(workspace, "pets", version=2) == tables


def test_what_is_not_registered(workspace: Workspace, store: Datastore) -> None:
    Dataset.File.from_files((store, "cats")).register(workspace, "cats")
    with pytest.raises(NotFound, match=r"no dataset 'cast'\. Did you mean 'cats'"):
        Dataset.get_by_name(workspace, "cast")
    for version in (2, 0, -1, "x", "1.0"):
        with pytest.raises(NotFound, match="has no version"):
            Dataset.get_by_name(workspace, "cats", version)
    for name in ("", "../up", "a/b", ".hidden", 5):
        with pytest.raises(UsageError, match="name must begin with"):
            FileDataset("a").register(workspace, name)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tags must be a dict"):
        FileDataset("a").register(workspace, "b", tags=["c"])  # type: ignore[arg-type]


def test_a_dataset_of_a_datastore_that_is_gone(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").touch()
    store = Datastore.register(workspace, "mine", folder)
    Dataset.File.from_files(store).register(workspace, "all")
    store.unregister()
    with pytest.raises(NotFound, match="no datastore 'mine'"):
        Dataset.get_by_name(workspace, "all")


@pytest.mark.parametrize(
    "dataset",
    [
        FileDataset("/a/*.png"),
        FileDataset(["/a", "/b"], partition_format="/{x}/*").skip(3).take(4),
        TabularDataset("/a", "csv", ";", "none", "latin-1", True, {"a": int, "b": "string"}),
        TabularDataset("/a", include_path=True, infer_column_types=False, partition_format="{y:yyyy}.csv").take(0),
        Dataset.File.from_files("https://host/data", validate=False),
    ],
)
def test_documents(workspace: Workspace, dataset: Any) -> None:
    document = json.loads(json.dumps(as_document(dataset)))
    found = from_document(document, workspace)
    assert type(found) is type(dataset)
    assert found.paths == dataset.paths
    assert (found.taken, found.skipped, found.partition_format) == (
        dataset.taken, dataset.skipped, dataset.partition_format,
    )  # fmt: skip
    assert as_document(found) == document


@pytest.mark.parametrize(
    "document", [{}, {"type": "file"}, {"type": "table", "paths": ["a"]}, {"type": "file", "paths": []}]
)
def test_what_is_no_document(workspace: Workspace, document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must have a"):
        from_document(document, workspace)


# Copies


def test_download_keeps_the_folders(store: Datastore, tmp_path: Path) -> None:
    dataset = Dataset.File.from_files((store, "cats/**"))
    copies = dataset.download(tmp_path / "copy")
    assert copies == [str(tmp_path / "copy" / name) for name in ("2018/1.jpg", "2018/2.jpg", "2019/1.jpg")]
    assert Path(copies[2]).read_text() == "cats/2019/1.jpg"
    with pytest.raises(UsageError, match="is there already"):
        dataset.download(tmp_path / "copy")
    Path(copies[2]).write_text("other")
    dataset.download(tmp_path / "copy", overwrite=True)
    assert Path(copies[2]).read_text() == "cats/2019/1.jpg"
    (elsewhere,) = dataset.skip(2).download()
    assert elsewhere.endswith("/2019/1.jpg")


def test_download_of_some_rows_is_a_table(store: Datastore, tmp_path: Path) -> None:
    dataset = Dataset.Tabular.from_delimited_files((store, "t"), separator=";")
    (copy,) = dataset.skip(1).download(tmp_path / "copy")
    assert TabularDataset(copy).to_pandas_dataframe()["n"].to_list() == [2]
    assert [Path(path).name for path in dataset.download(tmp_path / "copy")] == ["a.csv"]


def test_a_folder_is_uploaded_as_a_dataset(workspace: Workspace, store: Datastore) -> None:
    made = Dataset.File.upload_directory(store.local_path("cats"), (store, "copy"), show_progress=False)
    assert made.to_path() == ["/2018/1.jpg", "/2018/2.jpg", "/2019/1.jpg"]
    assert as_document(made)["paths"] == [{"datastore": "workspaceblobstore", "path": "copy"}]
    with pytest.raises(UsageError, match="target must be"):
        Dataset.File.upload_directory(store.local_path("cats"), "/tmp/x")


def test_a_dataframe_is_written_and_registered(workspace: Workspace, store: Datastore) -> None:
    frame = pd.DataFrame({"n": [1, 2], "text": ["a", None]}, index=[5, 6])
    made = Dataset.Tabular.register_pandas_dataframe(frame, (store, "frames"), "frame", "d", {"a": "b"})
    assert (made.name, made.version) == ("frame", 1)
    again = Dataset.Tabular.register_pandas_dataframe(frame.head(1), (store, "frames"), "frame")
    assert again.version == 2
    found = Dataset.get_by_name(workspace, "frame", 1)
    assert isinstance(found, TabularDataset)
    pd.testing.assert_frame_equal(found.to_pandas_dataframe(), frame.reset_index(drop=True))
    with pytest.raises(UsageError, match="dataframe must be a pandas DataFrame"):
        Dataset.Tabular.register_pandas_dataframe([1], (store, "frames"), "frame")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="target must be"):
        Dataset.Tabular.register_pandas_dataframe(frame, "folder", "frame")
