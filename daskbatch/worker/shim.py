"""``azureml`` and ``azureml_user``, where the Azure ML SDK is not installed.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from daskbatch.nearest import nearest
from daskbatch.worker.shim_names import IN_RUNNERS, MODULES

__all__ = ["ShimFinder", "install", "is_stand_in", "resolve", "shim_for_scripts"]

_CORE = "azureml.core"
_TOPS = ("azureml", "azureml_user")


class _ShimModule(ModuleType):
    """A module of the SDK whose names are found when they are first asked for."""

    def __init__(self, name: str, homes: Mapping[str, str]) -> None:
        super().__init__(name, f"daskbatch's stand-in for {name}.")
        self._homes = homes
        self.__all__ = [*MODULES[name]]

    def __getattr__(self, name: str) -> Any:
        if name not in MODULES[self.__name__]:
            raise AttributeError(_unknown(self.__name__, name))
        value = self.__dict__[name] = resolve(self.__name__, name, self._homes)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *MODULES[self.__name__]})


class ShimFinder(MetaPathFinder, Loader):
    """Finds the modules of `MODULES`.

    Parameters
    ----------
    homes : mapping
        Name to module, for names that are not `daskbatch`'s own.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = homes

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """Return the spec of a stand-in; None for what is none of ours.

        Raises
        ------
        ImportError
            It would belong to one of our modules, but is not there.
        """
        parent, _, name = fullname.rpartition(".")
        if (parent or fullname).partition(".")[0] not in _TOPS:
            return None
        if fullname in MODULES:
            return None if _has_real_sdk(fullname) else ModuleSpec(fullname, self, is_package=True)
        if isinstance(sys.modules.get(parent), _ShimModule):
            # Said here, as `from module import name` hides what a module's __getattr__ says.
            raise ModuleNotFoundError(_unknown(parent, name), name=parent)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the module."""
        return _ShimModule(spec.name, self._homes)

    def exec_module(self, module: ModuleType) -> None:
        """All is there."""


def install(homes: Mapping[str, str], *, first: bool = False) -> ShimFinder:
    """Have imports of the SDK's modules find ours.

    Parameters
    ----------
    homes : mapping
        See `ShimFinder`; `IN_RUNNERS` for what entry scripts need, with the standard library alone.
    first : bool
        Whether ours come before the real ones. Else they are found only where there are none.
    """
    finder = ShimFinder(homes)
    sys.meta_path.insert(0 if first else len(sys.meta_path), finder)
    return finder


@contextlib.contextmanager
def shim_for_scripts() -> Iterator[None]:
    """Have the shim on, as in a runner, where a script runs in this process."""
    before = set(sys.modules)
    finder = install(IN_RUNNERS)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if isinstance(sys.modules[name], _ShimModule):
                del sys.modules[name]


def is_stand_in(module: ModuleType | None) -> bool:
    """Whether a module is one of ours, or still to be imported."""
    return module is None or isinstance(module, _ShimModule)


def _has_real_sdk(fullname: str) -> bool:
    """Whether the SDK proper is there: then a part of it that is not installed must not be ours."""
    top = sys.modules.get("azureml")
    if not fullname.startswith("azureml.") or top is None or is_stand_in(top):
        return False
    core = sys.modules.get(_CORE)
    if core is not None:
        return not isinstance(core, _ShimModule)
    return PathFinder.find_spec(_CORE, top.__path__) is not None


def resolve(module: str, name: str, homes: Mapping[str, str]) -> Any:
    """What stands for a name of the SDK.

    Parameters
    ----------
    module, name : str
        As the SDK has it, such as ``"azureml.core"`` and ``"Model"``.
    homes : mapping
        See `ShimFinder`.

    Raises
    ------
    ImportError
        This interpreter lacks what it takes.
    """
    home = homes.get(name, "daskbatch")
    try:
        return getattr(import_module(home), name)
    except (AttributeError, ImportError, SyntaxError) as error:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ImportError(
            f"{module}.{name} stands for {home}.{name} here, which {sys.executable} (Python {version}) cannot import:"
            f" {type(error).__name__}: {error}. In a runner with an interpreter of its own there are only"
            f" {', '.join(sorted(IN_RUNNERS))}."
        ) from error


def _unknown(module: str, name: str) -> str:
    inside = [other.rpartition(".")[2] for other in MODULES if other.rpartition(".")[0] == module]
    meant = nearest(name, MODULES[module]) or nearest(name, inside)
    listed = ", ".join(sorted(one for one in {*MODULES[module], *inside} if one[0] != "_")) or "nothing"
    return f"daskbatch's stand-in for {module} has no {name!r}.{meant} It has: {listed}."
