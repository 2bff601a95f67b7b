from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daskbatch import Model, NotFound, Workspace
from daskbatch.worker import models
from daskbatch.worker.model_pins import Used, pinned, used


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """In the environment of an entry script."""
    ws = Workspace.create("w", tmp_path / "ws")
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("DASKBATCH_WORKSPACE", str(ws.root))
    monkeypatch.setenv("DASKBATCH_MODELS_USED", str(tmp_path / "state" / "models"))
    return ws


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "iris.pkl").write_text("pickle")
    return tmp_path / "iris.pkl"


def version(name: str = "iris") -> int:
    return int(Path(models.get_model_path(name)).parents[1].name)


def test_the_first_answer_holds(ws: Workspace, file: Path, tmp_path: Path) -> None:
    for _ in range(2):
        Model.register(ws, file, "iris")
    assert used(str(tmp_path / "state" / "models")) == []
    assert version() == 2
    Model.register(ws, file, "iris")
    assert version() == Model(ws, "iris").version == 2
    assert Path(models.get_model_path("iris", 3)).parents[1].name == "3"  # who names one gets it
    Model.register(ws, file, "another")
    assert version("another") == 1
    root = str(ws.root)
    assert used(str(tmp_path / "state" / "models")) == [Used(root, "another", 1), Used(root, "iris", 2)]
    assert not list((tmp_path / "state" / "models").glob("*.tmp"))


def test_a_version_that_is_deleted_meanwhile(ws: Workspace, file: Path) -> None:
    Model.register(ws, file, "iris")
    latest = Model.register(ws, file, "iris")
    assert version() == 2
    latest.delete()
    with pytest.raises(NotFound, match="no version 2"):
        version()


def test_a_pipeline_uses_what_was_there_when_it_was_submitted(
    ws: Workspace, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model.register(ws, file, "iris")
    (tmp_path / "run.json").write_text(json.dumps({"models": models.latest_versions(str(ws.root))}))
    monkeypatch.setenv("DASKBATCH_MODELS", str(tmp_path / "run.json"))
    Model.register(ws, file, "iris")
    Model.register(ws, file, "made-by-a-step")
    assert version() == 1
    assert version("made-by-a-step") == 1
    # Those of another workspace are others
    other = Workspace.create("other", tmp_path / "other")
    for _ in range(2):
        Model.register(other, file, "iris")
    assert Model(other, "iris").version == 2


def test_the_folder_of_the_one_model(ws: Workspace, file: Path, tmp_path: Path) -> None:
    model = Model.register(ws, file, "iris")
    variables = {"DASKBATCH_WORKSPACE": str(ws.root), "DASKBATCH_MODELS_USED": str(tmp_path / "state" / "models")}
    expected = {"AZUREML_MODEL_DIR": str(Path(model.path).parent)}
    assert models.model_variables(variables) == expected
    Model.register(ws, file, "iris")
    assert models.model_variables(variables) == expected
    assert [one.version for one in used(str(tmp_path / "state" / "models"))] == [1]


def test_many_at_once_agree(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    environment = {"DASKBATCH_MODELS_USED": str(tmp_path / "state" / "models")}
    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(lambda number: pinned(environment, "/root", "iris", number), range(64)))
    assert len(answers) == 1
    assert [one.version for one in used(str(tmp_path / "state" / "models"))] == list(answers)


def test_nothing_is_written_where_no_run_is(tmp_path: Path) -> None:
    assert pinned({"DASKBATCH_MODELS_USED": str(tmp_path / "gone" / "models")}, "/root", "iris", 7) == 7
    assert pinned({}, "/root", "iris", 7) == 7
    assert list(tmp_path.iterdir()) == []
