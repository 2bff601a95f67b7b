from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from wheels import make_wheel

from daskbatch import environments_build
from daskbatch.environments import resolve
from daskbatch.environments_build import cache_folder
from daskbatch.environments_packages import conda_package, pins_tensorflow_below_2, pip_package
from daskbatch.errors import UsageError

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def document(*conda: str, pip: list[str] | None = None, **python: Any) -> dict[str, Any]:
    """An environment's document."""
    dependencies: list[Any] = [*conda, *([{"pip": pip}] if pip else [])]
    own = {"user_managed_dependencies": False, "interpreter_path": "python"}
    return {"name": "env", "python": {**own, "conda_dependencies": {"dependencies": dependencies}, **python}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of environments, empty; no pip settings of whoever runs the tests, and no uv."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(environments_build.shutil, "which", lambda name: None)
    return tmp_path / "cache" / "daskbatch" / "environments"


# Packages, as pip and conda write them


@pytest.mark.parametrize(
    ("conda", "pip"),
    [
        ("numpy", "numpy"),
        ("NumPy", "numpy"),
        ("numpy=1.19", "numpy==1.19.*"),
        ("numpy==1.19.2", "numpy==1.19.2"),
        ("numpy=1.19.2=py38_0", "numpy==1.19.2.*"),
        ("numpy 1.19.*", "numpy==1.19.*"),
        ("numpy >=1.19", "numpy>=1.19"),
        ("conda-forge::numpy>=1.19,<2", "numpy<2,>=1.19"),
        ("numpy=*", "numpy"),
        ("pytorch=2.1", "torch==2.1.*"),
        ("pip=20.1.1", ""),
        ("cudatoolkit=10.0", ""),
    ],
)
def test_conda_packages_in_pips_words(conda: str, pip: str) -> None:
    assert conda_package(conda).pip == pip


@pytest.mark.parametrize("text", ["", "a b c", "numpy[version='>=1']", "numpy=>1", 5, None, "numpy\nscipy"])
def test_what_is_no_conda_package_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="A conda package must be written as"):
        conda_package(text)


@pytest.mark.parametrize("text", ["numpy>=1.20", "Azureml_Core", "a[b]==1; python_version < '3'", "git+https://x/y"])
def test_pip_packages_stay_as_they_are(text: str) -> None:
    assert pip_package(f" {text} ").pip == text


@pytest.mark.parametrize("text", ["", "foo bar", "numpy=1.19", 5, "a\nb"])
def test_what_is_no_pip_package_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="A pip package must be"):
        pip_package(text)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ("==1.15.2", True),
        ("<2", True),
        ("<2.0.0", True),
        ("<=1.15", True),
        ("~=1.13", True),
        ("==1.*", True),
        (">=1.13,<2.0", True),
        ("", False),
        (">=1.15", False),
        ("==2.3", False),
        (">2.4,<2.6", False),
    ],
)
def test_a_tensorflow_below_2_is_known_by_its_versions(versions: str, expected: bool) -> None:
    assert pins_tensorflow_below_2(document(pip=["pillow", "tensorflow" + versions])) is expected
    assert pins_tensorflow_below_2(document(pip=["tensorflow-gpu" + versions])) is expected


def test_a_tensorflow_below_2_may_be_condas() -> None:
    assert pins_tensorflow_below_2(document("tensorflow-gpu=1.15"))
    assert not pins_tensorflow_below_2(document("tensorflow", "numpy=1.15"))


# The present Python


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this Python has."""
    versions = {"numpy": "2.4.1", "pandas": "3.0", "pillow": "13.0", "tensorflow": "2.21.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr("daskbatch.environments.version", version)


@pytest.mark.usefixtures("installed")
def test_what_this_python_lacks_is_told_package_by_package() -> None:
    # Given the tutorial's packages, some of which are not for this Python
    env = document(
        "python=3.6.2", "pip", "numpy=1.1", "pandas",
        pip=["azureml-core", "azureml-dataset-runtime[fuse]", "tensorflow==1.15.2", "no-such-package>=3", "pillow"],
    )  # fmt: skip
    # When nothing is built
    python, notices = resolve(env)
    # Then the present Python runs it
    assert python is None
    assert [notice.removeprefix("environment 'env': ") for notice in notices] == [
        "azureml-core, azureml-dataset-runtime[fuse]: daskbatch stands in for what scripts import from azureml",
        f"python=3.6.2 is asked for, this is Python {'.'.join(map(str, sys.version_info[:3]))}",
        "numpy=1.1 is asked for, this Python has 2.4.1",
        "tensorflow==1.15.2 is asked for, this Python has 2.21.0: `import tensorflow` is its tensorflow.compat.v1",
        "no-such-package>=3 is asked for, this Python has no no-such-package",
        (
            f'{sys.executable} runs the script all the same; "build_environments": true in config.json makes a Python'
            " that has them"
        ),
    ]


@pytest.mark.usefixtures("installed")
def test_nothing_is_told_where_nothing_is_lacking() -> None:
    env = document(
        f"python={PYTHON}", "pip=20", "numpy>=1",
        pip=["pandas", "tensorflow-gpu>=2", "--extra-index-url https://x", "nothing; python_version < '3'"],
    )  # fmt: skip
    assert resolve(env) == (None, [])
    assert resolve(document()) == (None, [])


def test_a_path_without_a_name_cannot_be_judged() -> None:
    assert "cannot be told" in resolve(document(pip=["./some.whl"]))[1][0]


# A Python that is there


def test_an_interpreter_that_is_managed_by_its_user_is_taken_as_it_is(tmp_path: Path) -> None:
    managed = document(pip=["no-such-package"], user_managed_dependencies=True)
    assert resolve(managed) == (None, [])
    managed["python"]["interpreter_path"] = sys.executable
    assert resolve(managed) == (sys.executable, [])
    managed["python"]["interpreter_path"] = str(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"interpreter_path of environment 'env' must be .* does not exist"):
        resolve(managed)


# A Python that is built


def offline(*packages: str, index: Path) -> list[str]:
    return ["--no-index", f"--find-links {index}", *packages]


def output_of(*command: object) -> str:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of packages, in the place of an index."""
    make_wheel(tmp_path / "index", "tiny", "1.5", "VALUE = 'tiny'")
    return tmp_path / "index"


def test_an_environment_is_built_once_with_what_it_asks_for(cache: Path, index: Path) -> None:
    # Given an environment with a package that this Python lacks
    env = document(f"python={PYTHON}", "tiny=1.5", "pip", pip=offline("azureml-core", index=index))
    # When it is built
    python, notices = resolve(env, build=True)
    # Then its Python has the package, and nothing else of ours
    assert python is not None
    assert output_of(python, "-c", "import tiny, sys; print(tiny.VALUE, sys.prefix)").split() == [
        "tiny",
        str(Path(python).parents[1]),
    ]
    assert subprocess.run([python, "-c", "import dask"], capture_output=True, check=False).returncode == 1
    assert notices == [
        "environment 'env': azureml-core: daskbatch stands in for what scripts import from azureml",
        "environment 'env': there is no conda here; pip installs tiny=1.5 as tiny==1.5.*",
        "environment 'env': pip: left out, as pip has no such package",
    ]
    # And programs work, although it was built under another name
    assert output_of(Path(python).with_name("tiny-program")) == "tiny\n"
    # And there is nothing but it in the cache: no list of packages either, which may hold a password
    assert os.listdir(cache) == [Path(python).parents[1].name]
    assert not (Path(python).parents[1] / "requirements.txt").exists()
    # When it is asked for again, it is found, without pip
    made = os.stat(python).st_ino
    (index / "tiny-1.5-py3-none-any.whl").unlink()
    assert resolve(env, build=True)[0] == python
    assert os.stat(python).st_ino == made


def test_of_two_builders_at_once_one_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a second builder, that builds the same while the first is under way
    env, call, built = document(), environments_build._call, []

    def during(name: str, command: Any) -> None:
        call(name, command)
        if not built:
            built.append(None)
            built[0] = resolve(env, build=True)[0]

    monkeypatch.setattr(environments_build, "_call", during)
    # When both are done
    first = resolve(env, build=True)[0]
    # Then they have the same one, and nothing is left of the other
    assert first is not None
    assert built == [first]
    assert os.listdir(cache) == [Path(first).parents[1].name]
    assert output_of(first, "-c", "print(1)") == "1\n"


@pytest.mark.parametrize("killed", [False, True])
def test_a_build_that_fails_shows_pips_own_words_and_leaves_nothing(
    cache: Path, index: Path, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if killed:

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(environments_build.subprocess, "run", interrupt)
    with pytest.raises((UsageError, KeyboardInterrupt)) as error:
        resolve(document(pip=offline("absent==3", index=index)), build=True)
    if not killed:
        assert "The environment 'env' could not be built" in str(error.value)
        assert "No matching distribution found for absent==3" in str(error.value)
        assert "Next: mend" in str(error.value)
    assert os.listdir(cache) == []


def test_one_whose_python_is_gone_is_built_again(cache: Path) -> None:
    python = resolve(document(), build=True)[0]
    assert python is not None
    Path(python).unlink()
    Path(python).symlink_to("/gone/python")
    assert resolve(document(), build=True)[0] == python
    assert output_of(python, "-c", "print(1)") == "1\n"
    assert len(os.listdir(cache)) == 1


def test_what_killed_builders_have_left_is_swept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, age in ((".building-old", 90000), (".building-new", 0)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (os.stat(cache).st_mtime - age,) * 2)
    environments_build._sweep(cache)
    assert os.listdir(cache) == [".building-new"]


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], tuple[str, list[str]]]:
    """What would be built: the environment's folder, and the lines for pip."""
    seen: list[Any] = []
    monkeypatch.setattr(environments_build, "_build", lambda name, lines, uv, python, home: seen.append(lines))

    def home(env: dict[str, Any]) -> tuple[str, list[str]]:
        python, _ = resolve(env, build=True)
        assert python is not None
        return Path(python).parents[1].name, list(seen[-1])

    return home


def test_content_makes_the_environment(homes: Callable[..., Any], tmp_path: Path) -> None:
    names = {
        homes(env)[0]
        for env in (
            document(),
            document(pip=["a"]),
            document(pip=["a", "b"]),
            document(pip=["--pre", "a"]),
            document("a"),
            document("a=1"),
        )
    }
    assert len(names) == 5  # a is the same, from conda or from pip
    assert homes(document(pip=["a"]))[0] in names
    # A package in a file counts by its content
    wheel = make_wheel(tmp_path, "local")
    before = homes(document(pip=[str(wheel)]))[0]
    make_wheel(tmp_path, "local", source="VALUE = 2")
    assert homes(document(pip=[str(wheel)]))[0] != before


def test_what_reads_tables_comes_with_azures_package(homes: Callable[..., Any]) -> None:
    lines = homes(document("pandas=1.5", pip=["azureml-dataset-runtime[fuse]", "--pre", "tiny"]))[1]
    assert lines == ["--pre", "pandas==1.5.*", "tiny", "pyarrow"]
    assert homes(document(pip=["azureml-core"]))[1] == []


def test_an_old_python_is_told_and_a_missing_one_refused(
    homes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = resolve(document("python=3.6.2"), build=True)[1]
    assert "runners need 3.9 or later" in notices[0]
    with pytest.raises(UsageError, match=r"asks for Python 3\.99, and there is none on PATH"):
        resolve(document("python=3.99"), build=True)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="Set XDG_CACHE_HOME to a folder"):
        resolve(document(), build=True)


def test_uv_is_taken_where_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def call(name: str, command: list[Any]) -> None:
        words = [word for word in command if word is not None]
        calls.append(words)
        if words[1] == "venv":
            python = Path(words[-1], "bin", "python")
            python.parent.mkdir()
            python.symlink_to(sys.executable)

    monkeypatch.setattr(environments_build.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(environments_build, "_call", call)
    resolve(document("python=3.10", "tiny"), build=True)
    assert calls[0][:4] == ["/bin/uv", "venv", "--python", "3.10"]
    assert calls[1][:4] == ["/bin/uv", "pip", "install", "--python"]
    assert calls[1][5] == "-r"


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/me/.cache/daskbatch/environments")
