"""The parts of an `Environment`: its Python, and Azure's container."""

from __future__ import annotations

import os
from typing import Any

from daskbatch.api.conda import CondaDependencies
from daskbatch.api.ignored import ignore
from daskbatch.errors import UsageError
from daskbatch.nearest import nearest

__all__ = ["DockerSection", "PythonSection"]

_DOCKER = (
    *("arguments", "base_dockerfile", "base_image", "base_image_registry", "enabled", "gpu_support", "platform"),
    *("shared_volumes", "shm_size"),
)


class PythonSection:
    """Which Python, and what is installed for it."""

    __slots__ = ("_conda", "base_conda_environment", "interpreter_path", "user_managed_dependencies")

    def __init__(self) -> None:
        self.user_managed_dependencies = False
        """The interpreter has all that the script needs: nothing is looked at or built."""
        self.interpreter_path = "python"
        """With `user_managed_dependencies`: path of the interpreter; ``"python"`` is the present one."""
        self.base_conda_environment: str | None = None
        """Has no meaning here."""
        self._conda = CondaDependencies()

    @property
    def conda_dependencies(self) -> CondaDependencies:
        """The packages."""
        return self._conda

    @conda_dependencies.setter
    def conda_dependencies(self, value: CondaDependencies) -> None:
        if not isinstance(value, CondaDependencies):
            raise UsageError(
                f"conda_dependencies must be a CondaDependencies, got one of type {type(value).__name__}. Make it with"
                " CondaDependencies.create(pip_packages=[...]), or name a file: env.python.conda_dependencies_file."
            )
        self._conda = value

    @property
    def conda_dependencies_file(self) -> None:
        """Set it to the path of a conda file: it is read at once."""
        return

    @conda_dependencies_file.setter
    def conda_dependencies_file(self, path: str | os.PathLike[str] | None) -> None:
        if path is not None:
            self._conda = CondaDependencies(path)


class DockerSection:
    """How Azure's container was made: it is kept, and has no meaning here, which is said once."""

    def __init__(self) -> None:
        object.__setattr__(self, "given", {})

    given: dict[str, Any]

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _DOCKER:
            raise AttributeError(f"Environment.docker has no {name!r}.{nearest(name, _DOCKER)}")
        if value not in (None, False):
            ignore("Environment.docker", [name])
        if value is None or isinstance(value, (bool, int, str)):
            self.given[name] = value

    def __getattr__(self, name: str) -> Any:
        if name not in _DOCKER:
            raise AttributeError(f"Environment.docker has no {name!r}.{nearest(name, _DOCKER)}")
        return self.given.get(name)
