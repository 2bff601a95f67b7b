"""The demo's programs, in the Makefile's order, on their real data."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pictures, labels and a trained model."""
    folder = tmp_path_factory.mktemp("digits")
    for program in ("make_data.py", "train.py"):
        subprocess.run([sys.executable, DIGITS / program, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(autouse=True)
def _needs_tensorflow(missing: Callable[[str], NoReturn]) -> None:
    for package in ("tensorflow", "PIL", "sklearn"):
        if importlib.util.find_spec(package) is None:
            missing(f"{package} is not installed: pip install -e '.[demo]'")


def test_make_demo_runs_what_this_file_runs() -> None:
    recipe = (ROOT / "Makefile").read_text()
    for program in ("make_data.py", "train.py", "score.py", "accuracy.py"):
        assert f"examples/digits/{program}" in recipe


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_the_digits_are_recognised_whatever_the_slots(demo: Path, slots: int) -> None:
    """Given a model trained on half of the digits, when all are scored, then more than 90 % of the rest are right."""
    output = demo / f"out-{slots}"
    command = [sys.executable, "-m", "daskbatch", "run", str(DIGITS / "score.py"), str(demo / "images")]
    command += ["--output", str(output), "--process-count-per-node", str(slots), "--quiet"]
    command += ["--", "--model", str(demo / "model.keras")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    summary = json.loads((output / "run_summary.json").read_text())
    assert (summary["status"], summary["items"]["succeeded"], summary["items"]["failed"]) == ("Completed", 1797, 0)
    first = demo / "out-1" / "predictions.csv"
    if first.exists():
        assert (output / "predictions.csv").read_bytes() == first.read_bytes()

    (demo / "out").unlink(missing_ok=True)
    (demo / "out").symlink_to(output)
    told = subprocess.run([sys.executable, DIGITS / "accuracy.py", demo], check=True, capture_output=True, text=True)
    accuracy = re.search(r"has not seen: ([\d.]+)%", told.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 90
