"""The table of what works: the pages have it as it stands in `rows`, and every line of it has a test."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
import rows


def test_functions() -> set[str]:
    """Names of the tests in the files beside this one."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        found |= {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    return found


test_functions.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(("path", "table"), list(rows.pages()), ids=lambda value: getattr(value, "name", "table"))
def test_a_page_has_the_table(path: Path, table: str) -> None:
    text = path.read_text()
    assert text.count(rows.BEGIN) == text.count(rows.END) == 1, f"{path.name} has lost its marks"
    between = text.partition(rows.BEGIN)[2].partition(rows.END)[0]
    assert between == f"\n\n{rows.LEGEND}\n\n{table}\n\n", "Next: python tests/conformance/rows.py"


def test_every_row_has_a_test_of_its_own() -> None:
    named = Counter(row.test for row in rows.ROWS)
    assert [name for name, count in named.items() if count > 1] == []
    assert set(named) <= test_functions()


def test_every_test_has_its_row() -> None:
    others = {
        name
        for path in (Path(__file__),)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        for name in [node.name]
    }
    tests = {name for name in test_functions() if name.startswith("test_")}
    assert tests - others == {row.test for row in rows.ROWS}


def test_the_words_of_the_table() -> None:
    assert {row.works for row in rows.ROWS} == {"yes", "local"}
    assert all("|" not in row.call + row.note for row in rows.ROWS)
    assert len({(row.section, row.call) for row in rows.ROWS}) == len(rows.ROWS)
