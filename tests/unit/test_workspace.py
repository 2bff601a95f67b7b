from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from daskbatch import Datastore, IgnoredWarning, NotFound, TabularDataset, UsageError, Workspace
from daskbatch.api import ignored, workspace
from daskbatch.api.environment import Environment
from daskbatch.cli import cli

AZURE = {"subscription_id": "s-1", "resource_group": "group", "workspace_name": "w"}


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignored, "_said", set())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folder: Path, **content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    return folder / "config.json"


def test_create_and_find_it_from_below(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Workspace.create("mine", root / "project")
    assert made.root == root / "project"
    assert made.folder == root / "project" / "workspace"
    below = root / "project" / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Workspace.from_config() == made
    assert Workspace.get("mine") == Workspace(workspace_name="mine") == made
    assert sorted(os.listdir(root / "project")) == ["config.json", "notebooks"]


def test_the_file_that_azure_gives(root: Path) -> None:
    config(root, **AZURE)
    ws = Workspace.from_config()
    assert (ws.name, ws.subscription_id, ws.resource_group, ws.location) == ("w", "s-1", "group", "local")
    assert ws.get_details()["resourceGroup"] == "group"
    assert Workspace("s-1", "group", "w") == ws


def test_the_hidden_folder(root: Path) -> None:
    config(root / "a" / ".azureml", **AZURE)
    (root / "a" / "b").mkdir()
    assert Workspace.from_config(root / "a" / "b").root == root / "a"
    assert Workspace.from_config(root / "a" / ".azureml" / "config.json").root == root / "a"


def test_a_path_in_the_file(root: Path) -> None:
    config(root / "a", workspace_name="w", path="../shared")
    assert Workspace.from_config("a").root == root / "shared"


def test_files_of_other_programs_are_passed_over(root: Path) -> None:
    config(root, workspace_name="w")
    other = config(root / "model", hidden_size=768)
    assert Workspace.from_config(root / "model").root == root
    with pytest.raises(UsageError, match="names no workspace"):
        Workspace.from_config(other)


def test_there_is_none(root: Path) -> None:
    config(root, hidden_size=768)
    with pytest.raises(NotFound, match=r"There is no workspace in.*Passed over.*config\.json.*daskbatch init"):
        Workspace.from_config()
    with pytest.raises(NotFound, match="no file or folder"):
        Workspace.from_config(root / "nowhere")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"workspace_name": "../x"}, "workspace_name.*must begin"),
        ({"workspace_name": None}, "workspace_name.*must begin"),
        ({"workspace_name": "w", "path": "s3://bucket"}, "local path"),
        ({"workspace_name": "w", "redirect": ["a"]}, "must be an object"),
        ({"workspace_name": "w", "redirect": {"a/b": 3}}, "must lead from"),
        ({"workspace_name": "w", "redirect": {"": "x"}}, "must lead from"),
        ({"workspace_name": "w", "redirect": {"a/b": "s3://k:v@bucket"}}, "must not hold a key"),
    ],
)
def test_files_that_are_wrong(root: Path, content: dict[str, Any], told: str) -> None:
    config(root, **content)
    with pytest.raises(UsageError, match=told):
        Workspace.from_config()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"steps_at_once": "two"}, "\"steps_at_once\" in '.*config.json' must be a whole number from 1 .* got 'two'"),
        ({"steps_at_once": 0}, "must be a whole number from 1 "),
        ({"steps_at_once": None}, "must be a whole number from 1 "),
        ({"build_environments": "yes"}, "\"build_environments\" in .* must be true or false, got 'yes'"),
    ],
)
def test_what_runs_look_up_is_checked_at_once(root: Path, content: dict[str, Any], told: str) -> None:
    config(root, workspace_name="w", **content)
    with pytest.raises(UsageError, match=told):
        Workspace.from_config()
    config(root, workspace_name="w", steps_at_once=3, build_environments=True)
    assert Workspace.from_config().config["steps_at_once"] == 3


def test_another_name_is_another_workspace(root: Path) -> None:
    config(root, **AZURE)
    with pytest.raises(NotFound, match="no workspace with workspace_name 'other'"):
        Workspace.get("other")
    with pytest.raises(NotFound, match="no workspace with subscription_id 'x'"):
        Workspace.get("w", subscription_id="x")


def test_create_twice(root: Path) -> None:
    made = Workspace.create("w", location="westeurope")
    assert made.location == "westeurope"
    with pytest.raises(UsageError, match=r"is there already, of the workspace 'w'.*exist_ok=True"):
        Workspace.create("w")
    assert Workspace.create("w", exist_ok=True) == made
    with pytest.raises(UsageError, match="of the workspace 'w'"):
        Workspace.create("v", exist_ok=True)


@pytest.mark.parametrize("name", ["../w", "a/b", "", ".w", "w\n"])
def test_create_checks_the_name(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name must begin"):
        Workspace.create(name)
    assert os.listdir(root) == []


def test_create_where_nothing_can_be_written(root: Path) -> None:
    (root / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Workspace.create("w", root / "file" / "below")


def test_what_azure_has_besides_is_said_once(root: Path) -> None:
    with pytest.warns(IgnoredWarning, match=r"Workspace\.create: sku, auth had a meaning in Azure alone") as seen:
        Workspace.create("w", sku="basic", auth=object(), tags=None, show_output=True)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Workspace.create("w", exist_ok=True, sku="basic")
    with pytest.raises(UsageError, match=r"has no argument 'locaton'. Did you mean 'location'"):
        Workspace.create("w", locaton="x")


def test_write_config(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config(root / "a", **AZURE, redirect={"acc/con": "copies"})
    ws = Workspace.from_config("a")
    (root / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(root / "b")
    ws.write_config()
    found = Workspace.from_config(root / "b" / "c")
    assert found == ws
    assert found.redirects == ws.redirects == {"acc/con": str(root / "a" / "copies")}
    with pytest.raises(UsageError, match="file_name must begin"):
        ws.write_config(file_name="../../x.json")


def test_the_default_datastore(root: Path) -> None:
    ws = Workspace.create("w")
    assert list(ws.datastores) == ["workspaceblobstore"]
    assert ws.get_default_datastore().local_path() == str(root / "workspace" / "data")
    Datastore.register(ws, "big", root / "big")
    ws.set_default_datastore("big")
    assert Workspace.from_config().get_default_datastore() == Datastore.get(ws, "big") == Datastore(ws)
    with pytest.raises(NotFound, match=r"no datastore 'bigg'. Did you mean 'big'"):
        ws.set_default_datastore("bigg")


def test_collections_are_read_when_they_are_asked(root: Path) -> None:
    ws = Workspace.create("w")
    stores = ws.datastores
    assert isinstance(stores, Mapping)
    Datastore.register(ws, "new", root / "new")
    assert "new" in stores
    assert len(stores) == 2
    assert stores["new"].url == str(root / "new")
    assert stores.get("none") is None
    assert "new" in repr(stores)
    with pytest.raises(KeyError) as caught:
        stores["nw"]
    assert "There is no datastore 'nw'. Did you mean 'new'?" in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_datasets(root: Path) -> None:
    ws = Workspace.create("w")
    assert dict(ws.datasets) == {}
    (root / "a.csv").write_text("x\n1\n")
    TabularDataset("a.csv").register(ws, "iris data")
    TabularDataset("a.csv", separator=";").register(ws, "iris data", create_new_version=True)
    (ws.folder / "datasets" / "empty").mkdir()
    found = ws.datasets["iris data"]
    assert list(ws.datasets) == ["iris data"]
    assert isinstance(found, TabularDataset)
    assert (found.version, found.separator) == (2, ";")
    with pytest.raises(NotFound, match="Did you mean 'iris data'"):
        ws.datasets["iris"]


def test_environments(root: Path) -> None:
    ws = Workspace.create("w")
    assert dict(ws.environments) == {}
    Environment("tf").register(ws)
    assert list(ws.environments) == ["tf"]
    assert ws.environments["tf"].name == "tf"


def test_experiments(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        workspace, "import_module", lambda name: SimpleNamespace(Experiment=lambda ws, name: (ws, name))
    )
    ws = Workspace.create("w")
    assert dict(ws.experiments) == {}
    (ws.folder / "experiments" / "first").mkdir(parents=True)
    assert dict(ws.experiments) == {"first": (ws, "first")}


def test_init_on_the_command_line(root: Path) -> None:
    done = CliRunner().invoke(cli, ["init", "project"])
    assert done.exit_code == 0, done.output
    assert Workspace.from_config("project").name == "project"
    again = CliRunner().invoke(cli, ["init", "project", "--name", "other"])
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert CliRunner().invoke(cli, ["init", "--name", "mine"]).exit_code == 0
    assert Workspace.from_config().name == "mine"
    wrong = CliRunner().invoke(cli, ["init", "two words"])
    assert wrong.exit_code == 2
    assert "name must begin" in wrong.stderr
