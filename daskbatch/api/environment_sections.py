"""The parts of an `Environment`: its Python, and what Azure alone has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from daskbatch.api.conda import CondaDependencies
from daskbatch.api.ignored import ignore
from daskbatch.errors import UsageError
from daskbatch.nearest import nearest

__all__ = ["DockerSection", "PythonSection", "SparkSection"]

_DOCKER = (
    *("arguments", "base_dockerfile", "base_image", "base_image_registry", "enabled", "gpu_support", "platform"),
    *("shared_volumes", "shm_size"),
)


class PythonSection:
    """Which Python, and what is installed for it."""

    __slots__ = ("_conda", "base_conda_environment", "command_prefix", "interpreter_path", "user_managed_dependencies")

    def __init__(self) -> None:
        self.user_managed_dependencies = False
        """The interpreter has all that the script needs: nothing is looked at or built."""
        self.interpreter_path = "python"
        """With `user_managed_dependencies`: path of the interpreter; ``"python"`` is the present one."""
        self.command_prefix: str | Sequence[str] | None = None
        """Command that starts the interpreter, as of `daskbatch.run`: a container's."""
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


class IgnoredSection:
    """What Azure alone needs to know: it is kept, and has no meaning here, which is said once.

    Parameters
    ----------
    what : str
        Its name, for messages.
    known : tuple of str
        Names of its settings.
    """

    def __init__(self, what: str, known: tuple[str, ...]) -> None:
        for name, value in {"what": what, "known": known, "given": {}}.items():
            object.__setattr__(self, name, value)

    what: str
    known: tuple[str, ...]
    given: dict[str, Any]

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.known:
            raise AttributeError(f"{self.what} has no {name!r}.{nearest(name, self.known)}")
        if value not in (None, False):
            ignore(self.what, [name])
        if value is None or isinstance(value, (bool, int, str)):
            self.given[name] = value

    def __getattr__(self, name: str) -> Any:
        own = vars(self)  # of a copy that is being made: nothing yet
        if name not in own.get("known", ()):
            raise AttributeError(f"{own.get('what')} has no {name!r}.{nearest(name, own.get('known', ()))}")
        return self.given.get(name)


class DockerSection(IgnoredSection):
    """How Azure's container was made."""

    def __init__(self) -> None:
        super().__init__("Environment.docker", _DOCKER)


class SparkSection(IgnoredSection):
    """What Azure's Spark had."""

    def __init__(self) -> None:
        super().__init__("Environment.spark", ("packages", "precache_packages", "repositories"))
