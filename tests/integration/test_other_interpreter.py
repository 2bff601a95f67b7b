"""Two Pythons: Dask's, and another one that runs the entry script."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from wheels import make_wheel

import daskbatch
from daskbatch.engine.ask import ask_workers
from daskbatch.environments import resolve

cloudpickle.register_pickle_by_value(sys.modules[__name__])

OPTIONS: dict[str, Any] = {"mini_batch_size": 2, "process_count_per_node": 1, "progress": False}

SCRIPT = """
import os
import sys

import tiny
from azureml_user.parallel_run import EntryScript

def init():
    EntryScript().logger.info("ready")

def run(mini_batch):
    try:
        import dask
        seen = "sees dask"
    except ImportError:
        seen = "sees no dask"
    return [[os.path.basename(path), tiny.VALUE, sys.executable, seen] for path in mini_batch]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a virtual environment that has the package ``tiny``, which Dask's has not, and nothing more."""
    index = tmp_path_factory.mktemp("index")
    make_wheel(index, "tiny", source="VALUE = 'from tiny'")
    env = daskbatch.Environment("tiny")
    env.python.conda_dependencies = daskbatch.CondaDependencies.create(pip_packages=["tiny"])
    for option in (f"--find-links {index}", "--no-index"):
        env.python.conda_dependencies.set_pip_option(option)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        path, notices = resolve(env.as_document(), build=True)
    assert notices == []
    assert path is not None
    return path


def test_a_script_whose_packages_dask_lacks_runs_in_its_own_python(
    python: str, script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    with pytest.raises(ModuleNotFoundError):
        import tiny  # noqa: F401
    # Given a script that imports what only the other Python has
    entry, inputs = script(SCRIPT), files(5)
    # When it runs there, by the command line
    command = [sys.executable, "-m", "daskbatch", "run", entry, inputs, "--output", str(tmp_path / "out")]
    own = ["--python", python, "--append-row-file-name", "out.jsonl", "--mini-batch-size", "2", "--quiet"]
    done = subprocess.run([*command, *own], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Then it did, and saw nothing of Dask's packages
    lines = (tmp_path / "out" / "out.jsonl").read_text().splitlines()
    wanted = [[f"f{number:02d}.bin", "from tiny", python, "sees no dask"] for number in range(5)]
    assert [list(json.loads(line).values()) for line in lines] == wanted
    logs = list((tmp_path / "out" / "logs" / "user" / "entry_script_log").rglob("*.txt"))
    assert logs
    assert all("ready" in log.read_text() for log in logs)
    # And the same command takes the result, but with another Python it is another run
    assert subprocess.run([*command, *own], capture_output=True, check=False).returncode == 0
    other = subprocess.run([*command, *own[2:]], capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert f"python was '{python}', now not given" in other.stderr


def test_tables_need_pandas_and_pyarrow_there(python: str, script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n2\n")
    with pytest.raises(daskbatch.InitFailed) as error:
        daskbatch.run(
            script("def run(mini_batch):\n    return mini_batch\n"), tmp_path / "in.csv", output=tmp_path / "out",
            python=python, process_count_per_node=1, progress=False,
        )  # fmt: skip
    assert f"{python} has no pandas and no pyarrow, which tables need" in str(error.value)
    assert f"{python} -m pip install pandas pyarrow" in str(error.value)


def test_objects_need_cloudpickle_there(python: str, files: Callable[[int], str], tmp_path: Path) -> None:
    with pytest.raises(daskbatch.InitFailed, match=r"has no cloudpickle.*-m pip install cloudpickle"):
        daskbatch.run(lambda paths: paths, files(1), output=tmp_path / "out", python=python, **OPTIONS)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A virtual environment whose packages are ours."""
    folder = tmp_path_factory.mktemp("full")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    version = ".".join(platform.python_version_tuple()[:2])
    packages = folder / "lib" / f"python{version}" / "site-packages"
    (packages / "ours.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(folder / "bin" / "python")


def double(frame: pd.DataFrame) -> pd.DataFrame:
    frame["prefix"] = sys.prefix
    return frame


def test_tables_and_functions_travel_to_another_python(full: str, tmp_path: Path) -> None:
    text = "number,word\n" + "".join(f"{number},w{number}\n" for number in range(500))
    (tmp_path / "in.csv").write_text(text)
    run = daskbatch.run(
        double, tmp_path / "in.csv", output=tmp_path / "out", python=full, mini_batch_size="1KB",
        process_count_per_node=2, progress=False,
    )  # fmt: skip
    prefix = str(Path(full).parents[1])
    assert run.output_file is not None
    assert run.output_file.read_text() == text.replace("\n", f",{prefix}\n").replace(f"word,{prefix}", "word,prefix", 1)


def test_workers_that_lack_it_are_named(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    entry, inputs = script("def run(mini_batch):\n    return mini_batch\n"), files(1)

    # Given a worker that does not see what the client saw
    def ask(*args: Any) -> None:
        python.unlink()
        ask_workers(*args)

    monkeypatch.setattr("daskbatch.engine.over_dask.ask_workers", ask)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(daskbatch.UsageError, match=r"^worker .* cannot use .*python': No such file"),
    ):
        daskbatch.run(entry, inputs, output=tmp_path / "out", python=python, client=client, **OPTIONS)


@pytest.mark.skipif("OLD_PYTHON" not in os.environ, reason="no Python 3.9 or 3.10 in OLD_PYTHON")
def test_an_old_python_runs_scripts(script: Callable[..., str], files: Callable[[int], str], tmp_path: Path) -> None:
    entry = script("import sys\n\ndef run(mini_batch):\n    return [sys.version_info[1]] * len(mini_batch)\n")
    run = daskbatch.run(entry, files(4), output=tmp_path / "out", python=os.environ["OLD_PYTHON"], **OPTIONS)
    assert set(run.to_pandas()["result"]) <= {9, 10}
