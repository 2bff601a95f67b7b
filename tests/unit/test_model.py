from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daskbatch import IgnoredWarning, Model, NotFound, UsageError, Workspace
from daskbatch.api import ignored
from daskbatch.worker import models


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignored, "_said", set())
    monkeypatch.delenv("DASKBATCH_WORKSPACE", raising=False)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace.create("w", tmp_path / "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as TensorFlow saves it."""
    (tmp_path / "models" / "variables").mkdir(parents=True)
    (tmp_path / "models" / "saved.meta").write_text("graph")
    (tmp_path / "models" / "variables" / "data").write_text("weights")
    return tmp_path / "models"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "iris.pkl").write_text("pickle")
    return tmp_path / "iris.pkl"


def test_a_folder(ws: Workspace, folder: Path) -> None:
    model = Model.register(
        model_path="models/", model_name="mnist", tags={"area": "digits", "n": 1}, description="d", workspace=ws
    )
    assert (model.name, model.version, model.id, model.description) == ("mnist", 1, "mnist:1", "d")
    assert model.tags == {"area": "digits", "n": "1"}
    path = Model.get_model_path("mnist", _workspace=ws)
    assert path == model.path == str(ws.folder / "models" / "mnist" / "1" / "files" / "models")
    assert Path(path, "variables", "data").read_text() == "weights"
    shutil.rmtree(folder)
    assert Path(path, "saved.meta").read_text() == "graph"


def test_a_file(ws: Workspace, file: Path) -> None:
    Model.register(ws, file, "iris")
    assert Path(Model.get_model_path("iris", _workspace=ws)).read_text() == "pickle"


def test_versions(ws: Workspace, file: Path) -> None:
    for text in ("one", "two", "three"):
        file.write_text(text)
        Model.register(ws, file, "iris", tags={"text": text})
    assert Model(ws, "iris").version == ws.models["iris"].version == 3
    assert Path(Model.get_model_path("iris", 2, _workspace=ws)).read_text() == "two"
    assert Model(ws, id="iris:1").tags == {"text": "one"}
    with pytest.raises(NotFound, match=r"no version 4.*There are: 1, 2, 3"):
        Model(ws, "iris", version=4)
    for wrong in ("x", True, 0, -1, "../1"):
        with pytest.raises(NotFound, match="has no version"):
            Model.get_model_path("iris", wrong, _workspace=ws)  # type: ignore[arg-type]


def test_the_folder_of_the_one_model(ws: Workspace, file: Path) -> None:
    variables = {"DASKBATCH_WORKSPACE": str(ws.root)}
    assert models.model_variables({}) == {}
    of_all = {"AZUREML_MODEL_DIR": str(ws.folder / "models")}
    assert models.model_variables(variables) == of_all
    Model.register(ws, file, "iris")
    model = Model.register(ws, file, "iris")
    assert models.model_variables(variables) == {"AZUREML_MODEL_DIR": str(Path(model.path).parent)}
    Model.register(ws, file, "another")  # which one is meant is unknown
    assert models.model_variables(variables) == of_all
    assert Model.get_model_path("iris", _workspace=ws).startswith(of_all["AZUREML_MODEL_DIR"])


def test_deleted_numbers_are_not_used_again(ws: Workspace, file: Path) -> None:
    for _ in range(2):
        Model.register(ws, file, "iris")
    Model(ws, "iris", version=2).delete()
    assert Model(ws, "iris").version == 1
    assert Model.register(ws, file, "iris").version == 3
    for model in Model.list(ws, "iris"):
        model.delete()
    assert list(ws.models) == []
    with pytest.raises(NotFound):
        Model(ws, "iris")


def test_list(ws: Workspace, file: Path) -> None:
    Model.register(ws, file, "b", tags={"area": "x"})
    Model.register(ws, file, "b", tags={"area": "y"}, properties={"p": 1})
    Model.register(ws, file, "a")
    assert [model.id for model in Model.list(ws)] == ["a:1", "b:2", "b:1"]
    assert [model.id for model in Model.list(ws, latest=True)] == ["a:1", "b:2"]
    assert [model.id for model in Model.list(ws, "b")] == ["b:2", "b:1"]
    assert [model.id for model in Model.list(ws, tags=["area"])] == ["b:2", "b:1"]
    assert [model.id for model in Model.list(ws, tags=[["area", "x"]])] == ["b:1"]
    assert [model.id for model in Model.list(ws, properties=[("p", "1")])] == ["b:2"]
    assert dict(ws.models)["b"].version == 2


def test_what_is_being_registered_is_not_seen(ws: Workspace, file: Path) -> None:
    Model.register(ws, file, "iris")
    (ws.folder / "models" / "iris" / "2" / "files").mkdir(parents=True)
    assert Model(ws, "iris").version == 1
    assert Model.register(ws, file, "iris").version == 3


def test_the_nearest_names_are_told(ws: Workspace, file: Path) -> None:
    Model.register(ws, file, "mnist-prs")
    with pytest.raises(NotFound, match=r"no model 'mnist_prs'.*Did you mean 'mnist-prs'.*Registered are: mnist-prs"):
        Model.get_model_path("mnist_prs", _workspace=ws)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", ".", "a b"])
def test_names_cannot_lead_out(ws: Workspace, file: Path, name: str) -> None:
    before = sorted(ws.root.parent.rglob("*"))
    with pytest.raises(UsageError, match="model_name must begin"):
        Model.register(ws, file, name)
    with pytest.raises(NotFound):
        Model.get_model_path(name, _workspace=ws)
    assert sorted(ws.root.parent.rglob("*")) == before


def test_what_cannot_be_registered(ws: Workspace, folder: Path, file: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        Model.register(ws, "none", "m")
    with pytest.raises(UsageError, match="holds the workspace itself"):
        Model.register(ws, ".", "m")
    with pytest.raises(UsageError, match="with a name"):
        Model.register(ws, "/", "m")
    with pytest.raises(UsageError, match="tags must be a dict"):
        Model.register(ws, file, "m", tags=["a"])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="child_paths must be a path inside"):
        Model.register(ws, folder, "m", child_paths=["../iris.pkl"])
    with pytest.raises(NotFound, match="no file 'none'"):
        Model.register(ws, folder, "m", child_paths=["none"])
    with pytest.raises(UsageError, match=r"has no argument 'tag'. Did you mean"):
        Model.register(ws, file, "m", tag=1, model_framework=None)
    assert list(ws.models) == []
    assert not (ws.folder / "models").exists()


@pytest.mark.parametrize(
    ("target", "why"), [("nowhere", "is a link that leads nowhere"), (".", "is a link to .*, which it is in")]
)
def test_links_that_cannot_be_copied(ws: Workspace, folder: Path, target: str, why: str) -> None:
    os.symlink(target, folder / "link")
    with pytest.raises(UsageError, match=f"model_path: '{folder}/link' {why}. Remove it") as raised:
        Model.register(ws, folder, "m")
    assert len(str(raised.value)) < 500
    assert not (ws.folder / "models" / "m").exists()


def test_a_copy_that_fails_leaves_no_version(ws: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(source: Path, target: Path, **_: object) -> None:
        target.mkdir()
        raise shutil.Error([(f"{source}/a", f"{target}/a", "no space"), (f"{source}/b", f"{target}/b", "no space")])

    monkeypatch.setattr(shutil, "copytree", copy)
    with pytest.raises(UsageError, match=f"cannot be copied to .*: {folder}/a: no space. See") as raised:
        Model.register(ws, folder, "m")
    assert f"{folder}/b" not in str(raised.value)
    assert list(ws.models) == []
    assert os.listdir(ws.folder / "models" / "m") == []


def test_children(ws: Workspace, folder: Path) -> None:
    model = Model.register(ws, folder, "m", child_paths=["variables/data"])
    assert [path.name for path in Path(model.path).rglob("*")] == ["variables", "data"]
    with pytest.raises(UsageError, match="child_paths must be a path inside model_path"):
        Model.register(ws, folder, "m", child_paths=["../data"])
    assert Model.register(ws, ".", "own", child_paths=["models/saved.meta"]).version == 1


def test_what_azure_takes_besides(ws: Workspace, file: Path) -> None:
    with pytest.warns(IgnoredWarning, match=r"Model\.register: model_framework") as seen:
        Model.register(ws, file, "m", model_framework="TensorFlow")
    assert seen[0].filename == __file__


def test_download(ws: Workspace, folder: Path, file: Path, tmp_path: Path) -> None:
    Model.register(ws, folder, "m")
    Model.register(ws, file, "f")
    got = Model(ws, "m").download(tmp_path / "to")
    assert got == str(tmp_path / "to" / "models")
    assert Path(got, "variables", "data").read_text() == "weights"
    with pytest.raises(UsageError, match=r"is there already.*exist_ok=True"):
        Model(ws, "m").download(tmp_path / "to")
    assert Model(ws, "m").download(tmp_path / "to", exist_ok=True) == got
    assert Path(Model(ws, "f").download(tmp_path / "to")).read_text() == "pickle"


@pytest.mark.parametrize("path", ["../../../x", "..", "/etc/passwd", "", None])
def test_a_document_that_leads_out(ws: Workspace, file: Path, path: object) -> None:
    Model.register(ws, file, "m")
    document = ws.folder / "models" / "m" / "1" / "model.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), "path": path}))
    with pytest.raises(UsageError, match="cannot be read"):
        Model.get_model_path("m", _workspace=ws)


def test_where_the_workspace_is_found(ws: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Model.register(ws, file, "m").path
    with pytest.raises(NotFound, match="no workspace"):
        Model.get_model_path("m")
    monkeypatch.setenv("DASKBATCH_WORKSPACE", str(ws.root))
    assert Model.get_model_path("m") == models.get_model_path("m") == path
    monkeypatch.delenv("DASKBATCH_WORKSPACE")
    with pytest.raises(UsageError, match="DASKBATCH_WORKSPACE is not set"):
        models.get_model_path("m")
    monkeypatch.chdir(ws.root)
    assert Model.get_model_path("m") == path


def test_an_entry_script_needs_the_standard_library_alone(ws: Workspace, file: Path) -> None:
    path = Model.register(ws, file, "m").path
    package = Path(models.__file__).parents[2]
    program = (
        f"import os, sys; sys.path.insert(0, {str(package)!r}); os.environ['DASKBATCH_WORKSPACE'] = {str(ws.root)!r}\n"
        "from daskbatch import Model\n"
        f"assert Model.get_model_path('m') == {path!r}\n"
        "own = {'daskbatch', 'daskbatch.api', 'daskbatch.api.model', 'daskbatch.errors', 'daskbatch.layout',\n"
        "       'daskbatch.nearest', 'daskbatch.worker', 'daskbatch.worker.local_scratch',\n"
        "       'daskbatch.worker.model_pins', 'daskbatch.worker.models', 'daskbatch.worker.shared_folder'}\n"
        "assert {name for name in sys.modules if name.startswith('daskbatch')} == own\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
