"""Executing notebooks in kernels of their own, and finding what a cell has shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient


@dataclass(frozen=True)
class Executed:
    """A notebook that ran to its end."""

    cells: list[nbformat.NotebookNode]
    """Those with code."""

    @property
    def texts(self) -> list[str]:
        """What each cell printed and showed, as text."""
        return [
            "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs)
            for cell in self.cells
        ]

    def told(self, code: str) -> str:
        """What the one cell that holds `code` printed and showed."""
        (text,) = [text for cell, text in zip(self.cells, self.texts, strict=True) if code in cell.source]
        return text


Execute = Callable[[nbformat.NotebookNode, Path], Executed]


@pytest.fixture(scope="session")
def execute() -> Execute:
    """Run a notebook, with this folder as the current one."""

    def run(notebook: nbformat.NotebookNode, folder: Path) -> Executed:
        NotebookClient(notebook, timeout=150, resources={"metadata": {"path": str(folder)}}).execute()
        return Executed([cell for cell in notebook.cells if cell.cell_type == "code"])

    return run
