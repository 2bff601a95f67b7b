"""What the runner's interpreter must have beside the standard library.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["lacks", "refuse_missing"]


def refuse_missing(setup: Mapping[str, Any]) -> None:
    """Refuse to begin without what reading the input and writing the result take.

    Parameters
    ----------
    setup : mapping
        The runner's first message.

    Raises
    ------
    ModuleNotFoundError
        Naming the interpreter and the command that installs what it lacks.
    """
    for why, names in (
        ("tables need", ("pandas", "pyarrow") if setup["table"] is not None else ()),
        ("Parquet needs", ("pyarrow",) if setup["suffix"] == ".parquet" else ()),
        ("a function or class in the place of an entry script needs", ("cloudpickle",) if setup["pickled"] else ()),
    ):
        missing = [name for name in names if find_spec(name) is None]
        if missing:
            raise ModuleNotFoundError(lacks(missing, why), name=missing[0])


def lacks(names: Sequence[str], why: str) -> str:
    """Say which packages this Python lacks, and how it gets them."""
    return (
        f"{sys.executable} has no {' and no '.join(names)}, which {why}. Install it there: "
        f"{sys.executable} -m pip install {' '.join(names)}"
    )
