from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daskbatch.worker.entry import EntryScript
from daskbatch.worker.shim import shim_for_scripts
from daskbatch.worker.shim_names import IN_RUNNERS, MODULES


@pytest.fixture
def shim() -> Iterator[None]:
    with shim_for_scripts():
        yield


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that can hold packages."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("azureml", "azureml_user")]:
        del sys.modules[name]


def test_every_module_between_is_in_the_table() -> None:
    for module in MODULES:
        parent = module.rpartition(".")[0]
        assert not parent or parent in MODULES
        assert list(MODULES[module]) == sorted(MODULES[module])
    listed = {name for names in MODULES.values() for name in names}
    assert set(IN_RUNNERS) <= listed


@pytest.mark.usefixtures("shim")
def test_what_entry_scripts_import_is_there() -> None:
    import azureml.core
    import azureml.core.model as model_module
    from azureml.core import Model, Run
    from azureml_user.parallel_run import EntryScript as Imported

    assert Imported is EntryScript
    assert azureml.core.Model is Model is model_module.Model
    assert Run.get_context().id == EntryScript().agent_name
    assert "Model" in dir(azureml.core)


@pytest.mark.usefixtures("shim")
def test_what_has_no_other_home_is_daskbatchs() -> None:
    from azureml.core import Workspace
    from azureml.core.environment import Environment

    import daskbatch

    assert Workspace is daskbatch.Workspace
    assert Environment is daskbatch.Environment


@pytest.mark.usefixtures("shim")
def test_a_models_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azureml.core.model import Model

    version = tmp_path / "workspace" / "models" / "mnist" / "2"
    (version / "files").mkdir(parents=True)
    (version / "model.json").write_text(json.dumps({"path": "mnist.h5", "created": "2026-01-01T00:00:00+00:00"}))
    monkeypatch.setenv("DASKBATCH_WORKSPACE", str(tmp_path))
    assert Model.get_model_path("mnist") == str(version / "files" / "mnist.h5")
    assert Model.get_model_path(model_name="mnist", version=2) == str(version / "files" / "mnist.h5")


@pytest.mark.usefixtures("shim")
def test_metrics_go_to_the_scripts_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from azureml.core.run import Run

    said: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: said.append(record.getMessage()))
    EntryScript().logger.addHandler(handler)
    try:
        Run.get_context(allow_offline=True).log("loss", 0.5, description="of the model")
        Run.get_context().log_row("row", x=1)
        Run.get_context().log_image("map", path="map.png")
        Run.get_context().tag("kind", "night")
        Run.get_context().flush()
    finally:
        EntryScript().logger.removeHandler(handler)
    assert said == ["loss: 0.5", "row: {'x': 1}", "map: map.png", "kind: night"]
    with pytest.raises(AttributeError, match="has no 'upload_file' here"):
        Run.get_context().upload_file  # noqa: B018


@pytest.mark.usefixtures("shim")
def test_the_ids_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from azureml.core.run import Run

    assert Run.get_context().experiment.name == ""
    monkeypatch.setenv("AZUREML_ARM_PROJECT_NAME", "night")
    monkeypatch.setenv("AZUREML_RUN_ID", "1-score")
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "1")
    run = Run.get_context()
    assert (run.id, run.parent.id, run.parent.parent.id, run.experiment.name) == ("1-score", "1", "1", "night")
    assert run.get_details()["runId"] == "1-score"


@pytest.mark.usefixtures("shim")
def test_side_inputs_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from azureml.core.run import Run, _OfflineRun

    monkeypatch.setenv("AZUREML_DATAREFERENCE_labels", "/data/labels.txt")
    run = Run.get_context()
    assert run.input_datasets["labels"] == "/data/labels.txt"
    with pytest.raises(KeyError, match="no side input 'digits' of files; it has: labels"):
        run.input_datasets["digits"]
    assert run.get_details()["inputDatasets"] == {"labels": "/data/labels.txt"}
    assert run.parent is run
    assert not isinstance(run, _OfflineRun)


@pytest.mark.usefixtures("shim")
def test_azures_exceptions_are_ours() -> None:
    from azureml._common.exceptions import AzureMLException
    from azureml.exceptions import ActivityFailedException, ServiceException, UserErrorException, WebserviceException

    from daskbatch import DaskbatchError, NotFound, RunFailed, UsageError

    ours = (DaskbatchError, RunFailed, UsageError, NotFound)
    assert (AzureMLException, ActivityFailedException, UserErrorException, WebserviceException) == ours
    assert issubclass(ServiceException, AzureMLException)
    with pytest.raises(UserErrorException) as error:
        raise NotFound("There is no model 'm'.")
    assert error.value.message == "There is no model 'm'."


@pytest.mark.usefixtures("shim")
def test_nobody_logs_in_and_no_secret_is_kept() -> None:
    from azureml.core.authentication import MsiAuthentication, ServicePrincipalAuthentication

    given = {"tenant_id": "t", "service_principal_id": "i", "service_principal_password": "not-to-be-kept"}
    with pytest.warns(UserWarning, match="Nothing is asked for, and what was given is not kept") as said:
        made = [ServicePrincipalAuthentication(**given), ServicePrincipalAuthentication(**given), MsiAuthentication()]
    assert [str(one.message).partition(":")[0] for one in said] == [
        "ServicePrincipalAuthentication",
        "MsiAuthentication",
    ]
    assert vars(made[0]) == made[0].get_authentication_header() == {}


@pytest.mark.usefixtures("shim")
def test_what_is_not_there_is_told() -> None:
    import azureml.core

    with pytest.raises(ImportError, match=r"azureml\.core has no 'Modell'\. Did you mean 'Model'\?"):
        from azureml.core import Modell  # noqa: F401
    with pytest.raises(ImportError, match=r"azureml has no 'train'\. .*It has: contrib, core, data, exceptions, p"):
        import azureml.train.automl
    with pytest.raises(AttributeError, match="Did you mean 'Workspace'"):
        azureml.core.Workspaces  # noqa: B018
    assert not hasattr(azureml.core, "Workspaces")
    assert importlib.util.find_spec("azureml.core.run") is not None


def test_it_goes_again(package: Path) -> None:
    with shim_for_scripts():
        import azureml.core  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="No module named 'azureml'"):
        importlib.import_module("azureml")
    assert not [name for name in sys.modules if name.partition(".")[0] in ("azureml", "azureml_user")]


@pytest.mark.usefixtures("shim")
def test_a_real_sdk_is_not_shadowed(package: Path) -> None:
    # Given the SDK's core, without its pipelines
    (package / "azureml" / "core").mkdir(parents=True)
    (package / "azureml" / "core" / "__init__.py").write_text("Model = 'real'\n")
    # Then it is what is imported, and no part of it is ours
    from azureml.core import Model

    assert Model == "real"
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'azureml\.pipeline'"):
        importlib.import_module("azureml.pipeline.steps")
    # But for what exists only in Azure's own runs
    from azureml_user.parallel_run import EntryScript as Imported

    assert Imported is EntryScript


@pytest.mark.usefixtures("shim")
def test_a_part_of_the_sdk_keeps_its_own_modules(package: Path) -> None:
    # Given a package that lives in the SDK's name, and no SDK
    (package / "azureml" / "mlflow").mkdir(parents=True)
    (package / "azureml" / "mlflow" / "__init__.py").write_text("VALUE = 1\n")
    from azureml.core import Run
    from azureml.mlflow import VALUE

    assert VALUE == 1
    assert Run.__module__ == "daskbatch.worker.shim_core"
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'azureml\.train'"):
        importlib.import_module("azureml.train")


def test_in_a_runner_it_needs_the_standard_library_alone() -> None:
    program = """
import sys
from daskbatch.worker import child, shim
from daskbatch.worker.shim_names import IN_RUNNERS
shim.install(IN_RUNNERS)
from azureml.core import Model, Run
from azureml_user.parallel_run import EntryScript
loaded = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(sorted(name for name in loaded if not name.startswith("_")))
"""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r})\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['azureml', 'azureml_user', 'daskbatch']"
    # And what is more than that says so
    done = subprocess.run(
        [*command[:-1], command[-1] + "\nfrom azureml.core import Workspace"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ImportError: azureml.core.Workspace stands for daskbatch.Workspace here" not in done.stderr:
        assert done.returncode == 0, done.stderr
