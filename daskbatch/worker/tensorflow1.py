"""``import tensorflow`` for scripts of TensorFlow 1, where version 2 is installed.

After the import, the module ``tensorflow`` has the names of ``tensorflow.compat.v1``, and version 2's behavior is off:
graphs, sessions, ``tf.train.Saver`` and ``.meta`` checkpoints work as they did. What TensorFlow 2 has no code for any
more stays away: ``tf.contrib``, and ``tf.layers`` and ``tf.keras`` as they were (those need the package tf_keras, and
the environment variable TF_USE_LEGACY_KERAS=1).

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from daskbatch.errors import EntryScriptError
from daskbatch.worker.entry import EntryScript

__all__ = ["install", "uninstall"]

_NAME = "tensorflow"
_MARK = "__daskbatch_tensorflow1__"
_KEPT = {"compat", "keras"}
"""Names that stay version 2's: ``tensorflow.compat.v1`` is imported by name, and Keras 3 has no version 1."""


def install() -> None:
    """Have the next ``import tensorflow`` of this process be version 1's.

    Raises
    ------
    EntryScriptError
        It was imported already, as version 2.
    """
    loaded = sys.modules.get(_NAME)
    if loaded is not None and not hasattr(loaded, _MARK) and _major(loaded) >= 2:
        raise EntryScriptError(
            f"tensorflow1 comes too late: TensorFlow {loaded.__version__} is imported in this process already. Leave"
            " compute='serial' out, or begin in a new process that has not imported it."
        )
    uninstall()
    sys.meta_path.insert(0, _Finder())


def uninstall() -> None:
    """Leave later imports alone. A tensorflow that is imported already stays as it is."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


class _Finder(MetaPathFinder):
    """Finds tensorflow where the others do, and has it changed when it is loaded."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != _NAME:
            return None
        for finder in sys.meta_path:
            spec = None if isinstance(finder, _Finder) else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module's own loader again: others ask it for sources and data files.
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        if _major(module) >= 2:
            _turn_back(module)


def _turn_back(tensorflow: Any) -> None:
    v1: Any = import_module("tensorflow.compat.v1")
    v1.disable_v2_behavior()
    kept = _KEPT - {"keras"} if os.environ.get("TF_USE_LEGACY_KERAS", "") in ("1", "true", "True") else _KEPT
    for name in dir(v1):
        if not name.startswith("_") and name not in kept:
            setattr(tensorflow, name, getattr(v1, name))
    for name in ("core", "python"):  # attributes in version 1; removed again by version 2
        setattr(tensorflow, name, sys.modules[f"{_NAME}.{name}"])
    setattr(tensorflow, _MARK, True)
    EntryScript().logger.warning(
        "TensorFlow %s is installed and the script is one of version 1: tensorflow is tensorflow.compat.v1 here, with"
        " version 2's behavior off",
        tensorflow.__version__,
    )


def _major(module: Any) -> int:
    """Version 1 needs no change; neither does what has no version, and so is no TensorFlow."""
    text = str(getattr(module, "__version__", "")).partition(".")[0]
    return int(text) if text.isdigit() else 0
