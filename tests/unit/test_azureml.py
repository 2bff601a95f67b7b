from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daskbatch.worker.shim_names import MODULES


def python(*arguments: str, sdk: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python; with a package that passes for the Azure ML SDK where that is given."""
    if sdk is not None:
        (sdk / "azureml" / "core").mkdir(parents=True)
        (sdk / "azureml" / "core" / "__init__.py").write_text("Model = 'real'\n")
        arguments = ("-c", f"import sys; sys.path.insert(0, {str(sdk)!r})\n{arguments[1]}")
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_every_name_of_the_table_is_there() -> None:
    names = {module: list(MODULES[module]) for module in MODULES}
    listed = sorted({name for found in names.values() for name in found})
    done = python(
        "-c",
        "import importlib, daskbatch.azureml\n"
        f"for module, names in {names!r}.items():\n"
        "    for name in names:\n"
        "        assert getattr(importlib.import_module(module), name) is not None\n"
        "import daskbatch, azureml.core, azureml.widgets\n"
        "assert azureml.core.Model is daskbatch.Model and azureml.widgets.RunDetails is daskbatch.RunDetails\n"
        "assert azureml.core.Run is not daskbatch.Run\n"
        f"assert set(daskbatch.azureml.switch.HOMES) <= set({listed!r})\n"
        "azureml.core.Run.get_context().log('a', 1)\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("|a: 1\n")


def test_all_kinds_of_runs_are_runs(tmp_path: Path) -> None:
    done = python(
        "-c",
        "import daskbatch.azureml\n"
        "from azureml.core import Run\n"
        "from azureml.pipeline.core import PipelineRun, StepRun\n"
        "kinds = [kind.__new__(kind) for kind in (PipelineRun, StepRun)]\n"
        "print([isinstance(one, Run) for one in (*kinds, Run.get_context(), 'run')])\n",
    )
    assert (done.stdout, done.stderr) == ("[True, True, True, False]\n", "")


def test_what_other_steps_take_holds_an_environment() -> None:
    done = python(
        "-W", "always", "-c",
        "import daskbatch.azureml\n"
        "from azureml.core.conda_dependencies import CondaDependencies\n"
        "from azureml.core.runconfig import DockerConfiguration, RunConfiguration\n"
        "packages = CondaDependencies.create(pip_packages=['numpy'])\n"
        "config = RunConfiguration(framework='python', conda_dependencies=packages)\n"
        "config.docker = DockerConfiguration(use_docker=True)\n"
        "print(config.environment.python.conda_dependencies.serialize_to_string().count('numpy'))\n",
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr
    for told in ("RunConfiguration: framework", "RunConfiguration: docker", "DockerConfiguration: use_docker"):
        assert f"IgnoredWarning: {told} had a meaning in Azure alone" in done.stderr


def test_an_unknown_name_tells_what_there_is() -> None:
    done = python("-c", "import daskbatch.azureml\nfrom azureml.core import Webservice")
    assert "daskbatch's stand-in for azureml.core has no 'Webservice'. It has: ComputeTarget, Dataset" in done.stderr


def test_an_installed_sdk_stays_and_that_is_said(tmp_path: Path) -> None:
    done = python("-c", "import daskbatch.azureml\nfrom azureml.core import Model\nprint(Model)", sdk=tmp_path)
    assert done.stdout == "real\n"
    assert "what you submit goes to Azure" in done.stderr


def test_an_installed_sdk_is_shadowed_where_that_is_asked_for(tmp_path: Path) -> None:
    program = (
        "import daskbatch.azureml\ndaskbatch.azureml.enable(first=True)\nfrom azureml.core import Model\nprint(Model)"
    )
    assert python("-c", program, sdk=tmp_path / "a").stdout == "<class 'daskbatch.api.model.Model'>\n"
    done = python("-c", f"import azureml.core\n{program}", sdk=tmp_path / "b")
    assert "it cannot be shadowed" in done.stderr


def test_a_script_is_run_as_python_does(tmp_path: Path) -> None:
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    (script.parent / "beside.py").write_text("from azureml.core import Dataset\n")
    script.write_text(
        "import sys\nfrom beside import Dataset\nprint(__name__, sys.argv[1:], Dataset.__module__)\nsys.exit(3)\n"
    )
    done = python("-m", "daskbatch.azureml", "--first", str(script), "--a", "1")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "__main__ ['--a', '1'] daskbatch.api.dataset_factory\n"


@pytest.mark.parametrize("arguments", [[], ["--first"], ["none.py"]])
def test_no_script(arguments: list[str]) -> None:
    done = python("-m", "daskbatch.azureml", *arguments)
    assert done.returncode == 2
    assert "Usage: python -m daskbatch.azureml" in done.stderr


def test_the_magic_turns_it_on() -> None:
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'daskbatch.azureml')\n"
        "from azureml.core import Workspace\nprint(Workspace.__module__)"
    )
    assert python("-c", program).stdout == "daskbatch.api.workspace\n"


def test_steps_of_a_sequence_wait_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "data").mkdir()
    done = python(
        "-c",
        "import os, daskbatch.azureml\n"
        "from azureml.core import Dataset, Environment, Workspace\n"
        "from azureml.data.azure_storage_datastore import AzureBlobDatastore\n"
        "from azureml.pipeline.core import Pipeline, PipelineData, StepSequence\n"
        "from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "ws = Workspace.create('w')\n"
        "assert isinstance(ws.get_default_datastore(), AzureBlobDatastore)\n"
        "config = ParallelRunConfig(environment=Environment('e'), entry_script='score.py', error_threshold=0,\n"
        "    output_action='append_row', compute_target='local', node_count=1)\n"
        "data = Dataset.File.from_files('data', validate=False)\n"
        "def step(name):\n"
        "    return ParallelRunStep(name, config, inputs=[data], output=PipelineData('of_' + name))\n"
        "steps = StepSequence(steps=[step('aaa'), [step('bbb'), step('ccc')], step('ddd')])\n"
        "made = Pipeline(workspace=ws, steps=steps).as_document()['steps']\n"
        "print([(one['name'], one['after']) for one in made])\n",
    )
    assert done.stdout == ("[('aaa', []), ('bbb', ['aaa']), ('ccc', ['aaa']), ('ddd', ['bbb', 'ccc'])]\n"), done.stderr
