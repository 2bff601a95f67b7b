from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from daskbatch import CondaDependencies, Environment, IgnoredWarning, Workspace
from daskbatch.api import ignored
from daskbatch.api.execution import environment_options
from daskbatch.environments import resolve
from daskbatch.errors import NotFound, UsageError


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    """What an environment needs of a workspace."""
    return SimpleNamespace(name="here", folder=tmp_path / "workspace")


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignored, "_said", set())


# Packages


def test_a_list_is_made_and_changed() -> None:
    packages = CondaDependencies.create(
        pip_packages=["tensorflow==1.15.2", "pillow"], conda_packages=["numpy"], python_version="3.8"
    )
    packages.add_pip_package("tensorflow==2.3")
    packages.add_conda_package("scipy=1.5")
    packages.remove_pip_package("Pillow")
    packages.set_pip_option("--pre")
    packages.set_index_url("https://x/simple")
    packages.set_index_url("--index-url https://y/simple")
    assert packages.pip_packages == ["tensorflow==2.3"]
    assert packages.pip_options == ["--index-url https://y/simple", "--pre"]
    assert packages.conda_packages == ["python=3.8", "numpy", "scipy=1.5"]
    assert packages.get_python_version() == "3.8"
    packages.set_python_version("3.9.1")
    packages.remove_pip_option("--pre")
    packages.remove_conda_package("scipy")
    assert packages.as_document() == {
        "name": "project_environment",
        "dependencies": ["python=3.9.1", "numpy", {"pip": ["--index-url https://y/simple", "tensorflow==2.3"]}],
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"pip_packages": "numpy"}, "pip_packages must be a list"),
        ({"pip_packages": ["numpy=1"]}, "A pip package must be"),
        ({"conda_packages": ["a b c"]}, "A conda package must be"),
        ({"conda_packages": [5]}, "conda_packages must be a list"),
        ({"python_version": "three"}, "python_version must be a version such as"),
    ],
)
def test_what_is_no_list_of_packages_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        CondaDependencies.create(**given)


def test_a_conda_file_is_read_and_written(tmp_path: Path) -> None:
    given = {
        "name": "mine",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.8", "numpy", {"pip": ["--pre", "pillow"]}],
    }
    (tmp_path / "env.yml").write_text(yaml.safe_dump(given))
    read = CondaDependencies(tmp_path / "env.yml")
    assert read.as_document() == given
    assert read.conda_channels == ["conda-forge"]
    saved = read.save(tmp_path / "out" / "again.yml")
    assert CondaDependencies(saved) == read
    assert Path(read.save_to_file(tmp_path)).name == "conda_dependencies.yml"
    assert yaml.safe_load(read.serialize_to_string()) == given


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a", "must hold name, channels and dependencies, got list"),
        ("dependencies: [", "is no YAML"),
        ("dependencies: numpy", "dependencies must be a list, got 'numpy'"),
        ("dependencies: [{npm: [a]}]", "only pip may have a list of its own"),
        ("dependencies: [{pip: a}]", "pip must be a list"),
        ("dependencis: []", "has 'dependencis'. A conda file has name, channels, dependencies"),
        ("!!python/object/apply:os.system ['touch /tmp/x']", "is no YAML"),
        ("dependencies: [numpy, 5]", "A conda package must be"),
    ],
)
def test_a_file_that_is_no_conda_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "env.yml").write_text(text)
    with pytest.raises(UsageError, match=told):
        CondaDependencies(tmp_path / "env.yml")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for read in (Environment.from_conda_specification, Environment.from_pip_requirements):
        with pytest.raises(UsageError, match="cannot be read"):
            read("env", tmp_path / "gone")


def test_a_requirements_file_is_read_with_those_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.whl").write_text("")
    (tmp_path / "sub" / "more.txt").write_text("pillow\n./a.whl\n--find-links=.\n")
    (tmp_path / "requirements.txt").write_text(
        "# what we need\nnumpy>=1.20  # for arrays\n\n-r sub/more.txt\n--extra-index-url https://x/#y\nscipy \\\n >=1\n"
    )
    lines = Environment.from_pip_requirements("env", tmp_path / "requirements.txt").python.conda_dependencies.pip
    folder = tmp_path / "sub"
    assert lines == [
        "numpy>=1.20",
        "pillow",
        f"{folder}/a.whl",
        f"--find-links {folder}",
        "--extra-index-url https://x/#y",
        "scipy   >=1",
    ]


def test_a_requirements_file_that_names_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(UsageError, match="names itself"):
        Environment.from_pip_requirements("env", tmp_path / "a.txt")


# Environments


def environment(name: str = "env") -> Environment:
    made = Environment(name)
    made.python.conda_dependencies = CondaDependencies.create(pip_packages=["pillow"])
    made.environment_variables = {"OMP_NUM_THREADS": 1}  # type: ignore[dict-item]
    return made


def test_a_document_makes_it_again() -> None:
    made = environment()
    document = made.as_document()
    assert json.loads(json.dumps(document)) == document
    assert document["environment_variables"] == {"OMP_NUM_THREADS": "1"}
    again = Environment.from_document(document)
    assert again == made
    assert again.clone("other").as_document() == {**document, "name": "other"}
    with pytest.raises(UsageError, match="no document of an environment"):
        Environment.from_document({"name": "env"})


def test_an_interpreter_may_be_given(tmp_path: Path) -> None:
    made = Environment("env", python=tmp_path / "venv" / "bin" / "python")
    assert made.python.user_managed_dependencies
    assert made.as_document()["python"]["interpreter_path"] == str(tmp_path / "venv" / "bin" / "python")


def test_a_conda_file_may_be_named(tmp_path: Path) -> None:
    path = CondaDependencies.create(pip_packages=["pillow"]).save(tmp_path / "env.yml")
    made = Environment("env")
    made.python.conda_dependencies_file = path
    assert made.python.conda_dependencies.pip_packages == ["pillow"]
    assert Environment.from_conda_specification("env", path) == made


def test_what_azures_container_was_is_kept_and_said_once(tmp_path: Path) -> None:
    made = Environment("env")
    with pytest.warns(IgnoredWarning, match=r"Environment\.docker: base_image had a meaning in Azure alone"):
        made.docker.base_image = "mcr.microsoft.com/azureml/base-gpu"
    with pytest.warns(IgnoredWarning, match="enabled"):
        made.docker.enabled = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.docker.enabled = True
        made.docker.arguments = None
        again = Environment.from_document(made.as_document())
    assert again.docker.base_image == "mcr.microsoft.com/azureml/base-gpu"
    assert again.docker.shm_size is None
    image = Environment.from_docker_image("env", "image:1", pip_requirements=_requirements(tmp_path))
    assert image.docker.base_image == "image:1"
    assert image.python.conda_dependencies.pip_packages == ["pillow"]


def test_spark_is_ignored() -> None:
    made = Environment("env")
    made.spark.precache_packages = False  # as Microsoft's samples do: nothing to say
    with pytest.warns(IgnoredWarning, match=r"Environment\.spark: packages had a meaning in Azure alone"):
        made.spark.packages = "one"
    assert copy.deepcopy(made).spark.packages == "one"
    with pytest.raises(AttributeError, match="Did you mean 'repositories'"):
        made.spark.repository = []


def _requirements(folder: Path) -> Path:
    path = folder / "requirements.txt"
    path.write_text("pillow\n")
    return path


def test_an_attribute_that_is_not_there_is_told() -> None:
    made = Environment("env")
    with pytest.raises(AttributeError, match="Did you mean 'base_image'"):
        made.docker.base_imag = "x"
    with pytest.raises(AttributeError, match="Did you mean 'enabled'"):
        print(made.docker.enable)
    with pytest.raises(AttributeError):
        made.conda_dependencies = CondaDependencies()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        made.python.conda = CondaDependencies()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"CondaDependencies\.create"):
        made.python.conda_dependencies = ["numpy"]  # type: ignore[assignment]


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 300, None])
def test_a_name_must_do_for_a_file(name: Any) -> None:
    with pytest.raises(UsageError, match="must begin with a letter or digit"):
        Environment(name)


def test_a_password_is_not_stored(workspace: Any) -> None:
    made = environment()
    made.python.conda_dependencies.set_index_url("https://me:secret@x/simple")
    with pytest.raises(UsageError, match="must not hold a key, token or password") as error:
        made.register(workspace)
    assert "secret@" not in str(error.value)
    assert not workspace.folder.exists()


# In a workspace


def test_what_is_registered_is_found_by_name_and_version(workspace: Any) -> None:
    assert environment().register(workspace).version == "1"
    changed = environment()
    changed.python.conda_dependencies.add_pip_package("numpy")
    assert changed.register(workspace).version == "2"
    # The very same again is the same version
    assert changed.register(workspace).version == "2"
    latest = Environment.get(workspace, "env")
    assert (latest.version, latest.python.conda_dependencies.pip_packages) == ("2", ["pillow", "numpy"])
    assert latest.register(workspace).version == "2"
    first = Environment.get(workspace, "env", version="1")
    assert (first.version, first.python.conda_dependencies.pip_packages) == ("1", ["pillow"])
    environment("other").register(workspace)
    assert {name: one.version for name, one in Environment.list(workspace).items()} == {"env": "2", "other": "1"}


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        (
            "enw",
            None,
            "There is no environment 'enw' in the workspace 'here'. Did you mean 'env'? Registered are: env.",
        ),
        ("env", 7, "has no version 7 in the workspace 'here'. There are: 1."),
        ("../env", None, "There is no environment"),
        ("AzureML-Minimal", None, "Azure's own environments are not here"),
    ],
)
def test_what_is_not_registered_is_told(workspace: Any, name: str, version: Any, told: str) -> None:
    environment().register(workspace)
    with pytest.raises(NotFound) as error:
        Environment.get(workspace, name, version=version)
    assert told in str(error.value)


# In folders


def test_a_folder_holds_it(tmp_path: Path) -> None:
    made = environment()
    made.save_to_directory(tmp_path / "env")
    assert sorted(path.name for path in (tmp_path / "env").iterdir()) == [
        "azureml_environment.json",
        "conda_dependencies.yml",
    ]
    assert Environment.load_from_directory(tmp_path / "env") == Environment.from_document(made.as_document())
    with pytest.raises(UsageError, match=r"exists\. Add overwrite=True"):
        made.save_to_directory(tmp_path / "env")
    made.save_to_directory(tmp_path / "env", overwrite=True)
    with pytest.raises(UsageError, match=r"There is no azureml_environment\.json"):
        Environment.load_from_directory(tmp_path)


def test_values_of_variables_are_for_their_owner(tmp_path: Path) -> None:
    ws = Workspace.create("w", tmp_path)
    made = Environment("e")
    for private in (False, True):
        if private:
            made.environment_variables = {"TOKEN": "s3cret"}
        made.save_to_directory(tmp_path / "saved", overwrite=True)
        version = made.register(ws).version
        for path in (
            tmp_path / "saved" / "azureml_environment.json",
            ws.folder / "environments" / "e" / f"{version}.json",
        ):
            assert ("s3cret" in path.read_text()) is (path.stat().st_mode & 0o077 == 0) is private


def test_values_of_variables_are_not_told() -> None:
    for value in ("s3cr\0et", ["s3cret"], {"a": "s3cret"}):
        made = Environment("e")
        made.environment_variables = {"TOKEN": value}  # type: ignore[dict-item]
        with pytest.raises(UsageError, match="TOKEN") as raised:
            made.as_document()
        assert "s3cr" not in str(raised.value)


def test_a_conda_environment_of_the_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NotFound, match="Known are: none"):
        Environment.from_existing_conda_environment("env", "torch")
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text("/opt/conda\n/opt/conda/envs/torch\n")
    made = Environment.from_existing_conda_environment("env", "torch")
    assert made.python.interpreter_path == "/opt/conda/envs/torch/bin/python"
    with pytest.raises(NotFound, match="Did you mean 'torch'"):
        Environment.from_existing_conda_environment("env", "torhc")


def test_the_document_is_what_is_resolved() -> None:
    python, notices = resolve(Environment("env").as_document())
    assert (python, notices) == (None, [])


def test_a_command_that_starts_the_interpreter(workspace: Any, tmp_path: Path) -> None:
    env = Environment("tf", python="python3", command_prefix=["env", "A=b c"])
    for same in (
        Environment.from_document(json.loads(json.dumps(env.as_document()))),
        env.register(workspace).clone("tf"),
        _through_files(env, tmp_path),
    ):
        assert (same.python.interpreter_path, same.python.command_prefix) == ("python3", ["env", "A=b c"])
    options = environment_options(env.as_document(), None, print)
    assert options == {"python": "python3", "command_prefix": ["env", "A=b c"], "tensorflow1": None}
    own = Environment("own", command_prefix="nice")
    assert environment_options(own.as_document(), None, print)["python"] is None
    assert "command_prefix" not in Environment("plain").as_document()["python"]


def _through_files(env: Environment, folder: Path) -> Environment:
    env.save_to_directory(folder / "saved")
    return Environment.load_from_directory(folder / "saved")
