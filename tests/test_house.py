"""The house's rules that no linter knows."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "daskbatch"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = sorted([*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])

MAX_LINES = 350
RUNNER_SIDE = (
    "daskbatch.worker.child",
    "daskbatch.worker.script",
    "daskbatch.worker.shim_authentication",
    "daskbatch.worker.shim_core",
    "daskbatch.worker.shim_errors",
    "daskbatch.store.inputs",
)
"""Roots of what runs in the runner's interpreter, which may be Python 3.9."""

LAZY_EXTRAS = {"IPython", "asyncssh", "azure", "dask_jobqueue", "ipywidgets"}
"""What daskbatch uses where it is there, and does without where it is not."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*MODULES, *PROGRAMS], ids=name_of)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{path.name} has {lines} lines; allowed are {MAX_LINES}. Next: split it by concept."


def test_no_module_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert not [p for p in MODULES if vague & set(p.relative_to(PACKAGE).with_suffix("").parts)]


def declared_all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def isort_key(name: str) -> tuple[int, str]:
    """SCREAMING_CASE, then CamelCase, then the rest, as ruff sorts."""
    if name.isupper() and len(name) > 1:
        return (0, name)
    return (1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_all_is_declared_and_sorted(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = declared_all(tree)
    defines = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body)
    if names is None:
        assert not defines or path.name == "__main__.py", f"{name_of(path)} has no __all__"
        return
    assert names in (sorted(names), sorted(names, key=isort_key))
    assert len(names) == len(set(names))


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not for_types_only(child):
            yield from running_nodes(child)


def imported(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports when it runs, anywhere in it."""
    found = set()
    for node in running_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = path.relative_to(ROOT).parts
                base = ".".join([*parts[: len(parts) - node.level], *filter(None, [base])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def runner_side() -> list[Path]:
    """Files that the runner's interpreter reads: the roots, what they import, and the packages around them."""
    todo, seen = list(RUNNER_SIDE), set()
    while todo:
        module = todo.pop()
        path = file_of(module)
        if path is None or path in seen:
            continue
        seen.add(path)
        parts = module.split(".")
        todo.extend(".".join(parts[:n]) for n in range(1, len(parts)))
        if path != PACKAGE / "__init__.py":  # it names all modules, and imports none before it is asked
            todo.extend(name for name in imported(path) if name.startswith("daskbatch"))
    return sorted(seen)


@pytest.mark.parametrize("path", runner_side(), ids=name_of)
def test_the_runners_side_is_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(), str(path), feature_version=(3, 9))


def old_python() -> str | None:
    """Return a Python 3.9 or 3.10: from the variable OLD_PYTHON, or from PATH."""
    for name in (os.environ.get("OLD_PYTHON", "python3.9"), "python3.9", "python3.10"):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def test_an_old_python_reads_the_runners_side() -> None:
    """Compiles all of it, and imports its roots with the standard library alone, which is enough for files."""
    python = old_python()
    if python is None:
        pytest.skip("no Python 3.9 or 3.10 on PATH or in OLD_PYTHON")
    files = [str(path) for path in runner_side()]
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"for file in {files!r}: compile(open(file, encoding='utf-8').read(), file, 'exec')\n"
    ) + "".join(f"import {name}\n" for name in RUNNER_SIDE)
    done = subprocess.run([python, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ruff_knows_the_runners_side() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    globs = config["tool"]["ruff"]["per-file-target-version"]
    missing = [name_of(p) for p in runner_side() if not any(fnmatch(name_of(p), glob) for glob in globs)]
    assert missing == [], "give these to [tool.ruff.per-file-target-version] in pyproject.toml"


def required(section: str, option: str) -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [line for line in config.get(section, option).splitlines() if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", Requirement(line).name).lower() for line in lines}


def test_every_imported_package_is_required() -> None:
    distributions = packages_distributions()
    names = {name.split(".")[0] for path in MODULES for name in imported(path)} - {"daskbatch", ""}
    third_party = {name for name in names if name not in sys.stdlib_module_names} - LAZY_EXTRAS
    of_others = {"fsspec", "packaging", "pyyaml", "tornado"}  # s3fs, dask and distributed choose these
    allowed = required("options", "install_requires") | of_others
    for name in third_party:
        owners = {owner.lower().replace("_", "-") for owner in distributions.get(name, [name])}
        assert owners & allowed, f"daskbatch imports {name}, which setup.cfg does not require"


def test_minimum_constraints_are_the_lower_bounds() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = [config.get("options.extras_require", name) for name in ("azure", "hpc")]
    required = [config.get("options", "install_requires"), *extras]
    bounds = {line.split(";")[0] for text in required for line in text.splitlines() if line}
    pins = (ROOT / "tests" / "constraints-minimum.txt").read_text().splitlines()
    assert {line.replace("==", ">=") for line in pins if not line.startswith("#")} == bounds


def test_importing_daskbatch_imports_nothing_heavy() -> None:
    program = (
        "import sys, daskbatch; "
        "print([m for m in ('dask', 'distributed', 'pandas', 'pyarrow', 'numpy', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_has_one_home() -> None:
    import daskbatch

    assert importlib.util.find_spec("daskbatch") is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+", daskbatch.__version__)
    assert f"## {daskbatch.__version__}" in (ROOT / "CHANGELOG.md").read_text()
