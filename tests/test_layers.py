"""Imports run downward only. The order below is the design's; read it from the top.

A module may import what stands in a lower line, and its neighbours in its own line. Imports inside functions count,
``importlib.import_module`` with a literal name too. ``daskbatch/__init__.py`` hands the public names out lazily, so it
may name any module; the others may take from it only ``__version__``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "daskbatch"

LAYERS = (
    "__main__",
    "cli",
    "coordinator",
    "azureml",
    "api",
    "engine",
    "policy",
    "cluster",
    "environments",
    "graph",
    "plan",
    "options",
    "queues",
    "worker",
    "remote",
    "store",
    "report",
    "events",
    "spec",
    "types",
    "errors",
    "failpoints",
    "layout",
    "leaving",
    "nearest",
)
"""Top to bottom. A name stands for the module, its package, and modules called ``name_...``."""

FORBIDDEN = (
    ("daskbatch.worker", "daskbatch.engine", "the worker must not know who sends it work"),
    ("daskbatch.worker.runner", "daskbatch.worker.child", "the runner starts its child by name, in another process"),
    ("daskbatch.worker.plugin", "daskbatch.worker.child", "user code's side is never in the Dask process"),
)

ONLY = {
    "daskbatch.report": {
        "daskbatch.report",
        "daskbatch.events",
        "daskbatch.errors",
        "daskbatch.layout",
        "daskbatch.types",
    }
}
"""Modules that may import these modules of daskbatch and no other."""

NO_DASK = (
    "daskbatch.plan",
    "daskbatch.remote",
    "daskbatch.store",
    "daskbatch.policy",
    "daskbatch.worker.child",
    "daskbatch.worker.script",
)
"""Modules that must not reach Dask, directly or through others."""


def module_sources() -> dict[str, str]:
    """Dotted name to source, for every module of the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("daskbatch", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def is_at(module: str, place: str) -> bool:
    """Whether `module` is `place` or lies in it."""
    return module == place or module.startswith(place + ".")


def _literal_import(node: ast.AST) -> str | None:
    """``import_module("x")`` and ``__import__("x")``."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    value = node.args[0]
    if called in ("import_module", "__import__") and isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return None


def imports(module: str, source: str, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the modules that `module` imports, at its top level or anywhere inside."""
    package = module if module in {n.rpartition(".")[0] for n in names} else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if base == "daskbatch" and alias.name != "__version__":
                    yield full
                elif base != "daskbatch":
                    yield full if full in names else base
        elif literal := _literal_import(node):
            yield literal


def layer(module: str) -> int | None:
    """Index into LAYERS of a module of daskbatch; None where it has no place yet."""
    first = module.split(".")[1]
    for number, name in enumerate(LAYERS):
        if first == name or first.startswith(name + "_"):
            return number
    return None


def reaches_dask(module: str, graph: Mapping[str, set[str]]) -> list[str]:
    """Return the way from `module` to dask, empty where there is none."""
    ways, seen = [[module]], {module}
    while ways:
        way = ways.pop()
        for target in sorted(graph.get(way[-1], ())):
            if target.split(".")[0] in ("dask", "distributed"):
                return [*way, target]
            if target in graph and target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def _edge_problems(module: str, target: str) -> Iterator[str]:
    mine, theirs = layer(module), layer(target)
    if theirs is None:
        yield f"{target} has no place in LAYERS: give it one"
    elif mine is not None and theirs < mine:
        yield f"{module} imports {target}, which stands above it"
    for place, forbidden, reason in FORBIDDEN:
        if is_at(module, place) and is_at(target, forbidden):
            yield f"{module} imports {target}: {reason}"
    for place, allowed in ONLY.items():
        if is_at(module, place) and not any(is_at(target, ok) for ok in allowed):
            yield f"{module} imports {target}: it may import only {', '.join(sorted(allowed))}"


def problems(sources: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the imports of these modules, a line each."""
    graph = {module: set(imports(module, source, sources)) for module, source in sources.items()}
    found = []
    for module, targets in graph.items():
        if module == "daskbatch":
            continue
        if layer(module) is None:
            found.append(f"{module} has no place in LAYERS: give it one")
        for target in sorted(targets):
            if target.startswith("daskbatch."):
                found.extend(_edge_problems(module, target))
        way = reaches_dask(module, graph) if any(is_at(module, place) for place in NO_DASK) else []
        if way:
            found.append(f"{module} must know no Dask: {' -> '.join(way)}")
    return sorted(set(found))


def test_imports_run_downward() -> None:
    assert problems(module_sources()) == []


def test_the_package_is_seen() -> None:
    modules = module_sources()
    assert {"daskbatch", "daskbatch.types", "daskbatch.worker", "daskbatch.store"} <= modules.keys()


GOOD = {
    "daskbatch": "import importlib\nimportlib.import_module('daskbatch.engine')",
    "daskbatch.engine": "from daskbatch import __version__\nfrom daskbatch.worker import plugin\nimport dask",
    "daskbatch.worker": "",
    "daskbatch.worker.plugin": "from daskbatch.worker.runner import Runner\nimport distributed",
    "daskbatch.worker.runner": "COMMAND = ['-m', 'daskbatch.worker.child']",
    "daskbatch.worker.child": "from daskbatch.store import inputs",
    "daskbatch.store": "",
    "daskbatch.store.inputs": "from ..types import MiniBatch",
    "daskbatch.types": "",
}


def test_a_good_house_passes() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("daskbatch.worker.plugin", "from daskbatch.engine import Engine", "which stands above it"),
        ("daskbatch.worker.plugin", "def f():\n    import daskbatch.engine", "must not know who sends it work"),
        ("daskbatch.worker.plugin", "from .. import engine", "which stands above it"),
        ("daskbatch.worker.plugin", "from daskbatch import engine", "which stands above it"),
        ("daskbatch.worker.runner", "from .child import main", "in another process"),
        (
            "daskbatch.worker.runner",
            "import importlib\nimportlib.import_module('daskbatch.worker.child')",
            "in another",
        ),
        ("daskbatch.report.bar", "from daskbatch.spec import RunSpec", "it may import only"),
        ("daskbatch.store.ledger", "def f():\n    from dask.base import tokenize", "must know no Dask"),
        ("daskbatch.plan", "from daskbatch.worker import plugin", "plan -> daskbatch.worker.plugin -> distributed"),
        ("daskbatch.policy", "import distributed", "must know no Dask"),
        ("daskbatch.engine", "from daskbatch.cli import main", "which stands above it"),
        ("daskbatch.types", "import typing\nif typing.TYPE_CHECKING:\n    import daskbatch.spec", "stands above it"),
        ("daskbatch.helpers", "", "has no place in LAYERS"),
    ],
)
def test_the_checker_can_fail(module: str, source: str, expected: str) -> None:
    house = {**GOOD, "daskbatch.report": "", "daskbatch.cli": "", "daskbatch.spec": "", module: source}
    assert any(expected in problem for problem in problems(house)), problems(house)
