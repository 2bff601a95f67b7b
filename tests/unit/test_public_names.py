from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import daskbatch
from daskbatch import errors


def test_all_errors_are_public() -> None:
    assert set(errors.__all__) <= set(daskbatch.__all__)
    assert daskbatch.RunFailed is errors.RunFailed


def test_names_are_sorted_and_listed() -> None:
    assert dir(daskbatch) == sorted(daskbatch.__all__)


@pytest.mark.parametrize("name", daskbatch.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(daskbatch, name) is not None


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'daskbatch' has no attribute 'rum'"):
        daskbatch.rum  # noqa: B018


def test_what_is_read_by_type_checkers_is_what_is_there() -> None:
    tree = ast.parse(Path(daskbatch.__file__).read_text())
    typed = {
        alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed | {"__version__"} == set(daskbatch.__all__)


def test_a_name_is_imported_once() -> None:
    program = "import daskbatch\ndaskbatch.UsageError\nassert 'UsageError' in vars(daskbatch)\n"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "daskbatch", "--version"], capture_output=True, text=True, check=True)
    assert daskbatch.__version__ in done.stdout
