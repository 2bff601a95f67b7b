"""A model by its module's name, made ready once in each process."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["loaded"]


@cache
def loaded(name: str) -> Any:
    """Return the module ``models.NAME``, its ``init`` called where it has one."""
    module = import_module(f"models.{name}")
    if hasattr(module, "init"):
        module.init()
    return module
