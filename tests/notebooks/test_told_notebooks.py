"""The notebooks about workspaces, tables and dataframes: each runs as it stands, and what it shows is true."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import joblib
import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TUTORIAL, WITH_AZURES_IMPORTS = "2-tutorial", "3-azureml-imports"
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what the notebooks find around them; what one has made there serves the next, as it does its user."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "notebooks").mkdir()
    yield folder
    # Only what .gitignore knows of was left
    assert "/notebooks/work/" in (ROOT / ".gitignore").read_text().splitlines()
    assert sorted(os.listdir(folder / "notebooks")) in (["work"], [])
    assert sorted(os.listdir(folder)) == ["examples", "notebooks"]


@pytest.fixture
def run(clone: Path, execute: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Execute a notebook by name."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)

    def do(name: str) -> Any:
        return execute(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4), clone / "notebooks")

    return do


@pytest.fixture
def _needs_tensorflow(missing: Callable[[str], NoReturn]) -> None:
    for package in ("tensorflow", "PIL"):
        if importlib.util.find_spec(package) is None:
            missing(f"{package} is not installed: pip install -e '.[demo]'")


def result_of(work: Path, run_id: str, step: str, output: str, file: str) -> Path:
    return work / "workspace" / "data" / "azureml" / f"{run_id}-{step}" / output / file


@pytest.mark.usefixtures("_needs_tensorflow")
@pytest.mark.parametrize("name", [TUTORIAL, WITH_AZURES_IMPORTS])
def test_the_tutorial(name: str, run: Callable[[str], Any], clone: Path) -> None:
    done = run(name)
    work = clone / "notebooks" / "work" / "tutorial"

    labels = pd.read_csv(work / "labels.csv").tail(899).set_index("file")["digit"]
    second, first = re.findall(r"^(\S+) Completed$", done.told("get_runs()"), re.MULTILINE)[:2]
    where = ("predict-digits-mnist", "inferences", "mnist_outputs.txt")
    found = pd.read_csv(result_of(work, first, *where), sep=": ", header=None, index_col=0, engine="python")[1]
    assert found.index.tolist() == labels.index.tolist()
    accuracy = (found == labels).mean()
    assert accuracy > 0.9
    assert f"{accuracy:.1%} of 899 right" in done.told("both = df.merge")
    assert "Prediction has 899 rows" in done.told("df.head(10)")
    counts = {"mini_batches_total": 180, "mini_batches_failed": 0, "items_succeeded": 899, "items_failed": 0}
    shown = done.told("batch_run.get_metrics()")
    assert all(f"'{name}': {count}" in shown for name, count in counts.items())

    # The same picture alone
    assert result_of(work, second, *where).read_text() == f"1200.png: {found['1200.png']}\n"
    assert f"1200.png: {found['1200.png']} - in truth {labels['1200.png']}" in done.told("in truth")
    assert "180 of 180 mini-batches succeeded" in done.told("pipeline_run.wait_for_completion(show_output=True)")
    assert "1 of 1 mini-batch succeeded, 1 of 1 item succeeded" in done.told("RunDetails(pipeline_run_2)")
    assert "1 slot" in done.told("RunDetails(pipeline_run_2)")
    if name == WITH_AZURES_IMPORTS:
        assert "azureml.core has no 'Keyvault'" in done.told("Keyvault")
        assert "from azureml.core.model import Model" in (work / "scripts" / "digit_identification.py").read_text()


def test_both_tutorials_make_the_very_same_calls() -> None:
    """They differ in their imports alone, and in what the last cell shows of the shim."""

    def calls(name: str) -> list[str]:
        cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        others = (
            re.sub(r"^(from (daskbatch|azureml)\S* import .*|%load_ext .*)\n*", "", one, flags=re.MULTILINE)
            for one in code
        )
        return [one.strip() for one in others]

    ours, azures = calls(TUTORIAL), calls(WITH_AZURES_IMPORTS)
    assert azures[:-1] == ours
    assert "Keyvault" in azures[-1]


def test_tables(run: Callable[[str], Any], clone: Path) -> None:
    done = run("4-tables")
    work = clone / "notebooks" / "work" / "tables"

    files = sorted((work / "rentals").glob("*/*/*.csv"))
    tables = [pd.read_csv(file).assign(year=file.parts[-3], month=file.parts[-2]) for file in files]
    rows = pd.concat(tables, ignore_index=True)
    assert (len(files), len(rows)) == (36, 4400)
    monthly, smaller, poisoned, first = (
        path.name for path in sorted((work / "workspace/experiments/rentals").iterdir())[::-1]
    )

    # The first run: every row, as the model alone would have it
    model = joblib.load(work / "rentals.joblib")
    expected = model.predict(rows[["hour", "weekday", "temperature"]]).round(1)
    got = pd.read_csv(
        result_of(work, first, "predict", "predictions", "predictions.csv"), dtype={"year": str, "month": str}
    )
    assert got.columns.tolist() == ["time", "year", "month", "rentals", "predicted"]
    pd.testing.assert_frame_equal(got, rows.assign(predicted=expected)[got.columns.tolist()], check_dtype=False)
    error = (expected - rows["rentals"]).abs().mean()
    assert error < 0.15 * rows["rentals"].mean()
    assert f"4400 rows, off by {error:.1f} on average" in done.told("rows, off by")

    # With a row that cannot be scored: its file is lost, and in smaller mini-batches its neighbours alone
    lost = len(pd.read_csv(work / "rentals/2024/02/days-16-31.csv"))
    assert done.told('["mini_batches_failed"]') == f"({lost}, 1, {4400 - lost})"
    told = done.told("def show_failed")
    assert re.fullmatch(
        r"2024/02/days-16-31\.csv, bytes 0 to \d+: ValueError after 3 tries\n +Input X contains NaN\.\n", told
    )
    assert done.told('"10rows"').startswith("10 rows failed\n2024/02/days-16-31.csv, bytes")
    assert "Input X contains NaN" in done.told("RunDetails(run)")
    for run_id, number in ((poisoned, 4400 - lost), (smaller, 4390)):
        assert len(pd.read_csv(result_of(work, run_id, "predict", "predictions", "predictions.csv"))) == number

    # A month a mini-batch
    shares = pd.read_csv(result_of(work, monthly, "shares", "shares", "predictions.csv"))
    months = rows.groupby(["year", "month"])["rentals"]
    np.testing.assert_allclose(shares["share"], rows["rentals"] / months.transform("sum"))
    assert (shares["period"] == rows["year"] + "-" + rows["month"]).all()
    assert shares["time"].tolist() == rows["time"].tolist()
    shown = done.told("by_month =")
    assert shown.startswith("18 mini-batches\n")
    for (year, month), size in months.size().items():
        assert re.search(rf"^{year}-{month} +{size} +1\.0$", shown, re.MULTILINE)


def test_a_dask_dataframe(run: Callable[[str], Any], clone: Path) -> None:
    done = run("5-dask-dataframe")
    work = clone / "notebooks" / "work" / "in-memory"

    digits = load_digits()
    expected = SVC(gamma=0.001).fit(digits.data[:-1000], digits.target[:-1000]).predict(digits.data[-1000:])
    (scored,) = (work / "workspace/data/azureml").glob("*-score/scores/scores.csv")
    for got in (pd.read_parquet(work / "scores" / "scores.parquet"), pd.read_csv(scored)):
        assert got["digit"].tolist() == expected.tolist()
        assert got["label"].tolist() == digits.target[-1000:].tolist()
    right = f"{(expected == digits.target[-1000:]).mean():.1%} of 1000 right"
    assert right in done.told("run.to_pandas()")
    assert right in done.told("dd.read_csv(")
    # 8 partitions of 125 rows, each cut into 50, 50 and 25
    assert "{'total': 24, 'succeeded': 24, 'failed': 0}" in done.told('run.summary["mini_batches"]')
    live = done.told("pipeline_run.wait_for_completion")
    assert live.startswith("An input is a dataframe in this program: the run goes on in it, and a script")
    assert "24 of 24 mini-batches succeeded, 1,000 of 1,000 items succeeded" in live
    summary = json.loads((work / "scores" / "run_summary.json").read_text())
    assert (summary["status"], summary["items"]["succeeded"]) == ("Completed", 1000)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_and_no_paths_of_a_machine_are_saved(path: Path) -> None:
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert cell["metadata"] == {}
    assert notebook["metadata"] == {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for place in (str(ROOT), str(Path.home()), tempfile.gettempdir(), sys.prefix):
        assert place not in path.read_text()


def test_the_readme_lists_them_all() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS] == re.findall(r"\]\(notebooks/([^)]+\.ipynb)\)", readme)
