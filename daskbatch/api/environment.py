"""``Environment``: what an entry script needs to find when it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.conda import CONDA_FILE, CondaDependencies, read_requirements
from daskbatch.api.documents import check_name, names, read_document, versions, write_document, write_version
from daskbatch.api.environment_sections import DockerSection, PythonSection, SparkSection
from daskbatch.api.ignored import ignore
from daskbatch.api.places import check_no_secret
from daskbatch.errors import NotFound, UsageError
from daskbatch.nearest import nearest
from daskbatch.options.values import environment as environment_variables
from daskbatch.options.values import local_path

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["Environment"]

ENVIRONMENT_FILE = "azureml_environment.json"
_CURATED = "AzureML-"


class Environment:
    """What an entry script needs: packages, a Python, environment variables.

    Parameters
    ----------
    name : str
    python : path, optional
        An interpreter that has it all, such as a virtual environment's ``bin/python``.
    command_prefix : str or list of str, optional
        Command that starts `python`, such as ``"apptainer exec --nv --bind {folders} image.sif"``; as of
        `daskbatch.run`.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> env = Environment("mnist")
    >>> env.python.conda_dependencies = CondaDependencies.create(pip_packages=["pillow"])
    >>> env.python.conda_dependencies.pip_packages
    ['pillow']
    """

    __slots__ = ("docker", "environment_variables", "inferencing_stack_version", "name", "python", "spark", "version")

    def __init__(
        self,
        name: str,
        *,
        python: str | os.PathLike[str] | None = None,
        command_prefix: str | Sequence[str] | None = None,
    ) -> None:
        self.name = check_name("name", name)
        self.version: str | None = None
        """Where it is registered."""
        self.python = PythonSection()
        self.docker = DockerSection()
        self.spark = SparkSection()
        self.environment_variables: dict[str, str] = {}
        """Set in the processes that run the script."""
        self.inferencing_stack_version: str | None = None
        """Has no meaning here."""
        if command_prefix is not None:
            self.python.user_managed_dependencies = True
            self.python.command_prefix = command_prefix
            self.python.interpreter_path = os.fspath(python or "python")  # the command alone knows where that is
        elif python is not None:
            self.python.user_managed_dependencies = True
            self.python.interpreter_path = local_path("python", python)

    def __repr__(self) -> str:
        return f"<Environment {self.name!r}{'' if self.version is None else f', version {self.version}'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and self.as_document() == other.as_document()

    __hash__ = None  # type: ignore[assignment]

    # Made of what is there

    @classmethod
    def from_conda_specification(cls, name: str, file_path: str | os.PathLike[str]) -> Environment:
        """Make one of a conda file.

        Raises
        ------
        UsageError
            The file is none.
        """
        made = cls(name)
        made.python.conda_dependencies = CondaDependencies(file_path)
        return made

    @classmethod
    def from_pip_requirements(
        cls, name: str, file_path: str | os.PathLike[str], pip_version: str | None = None
    ) -> Environment:
        """Make one of a requirements file.

        Raises
        ------
        UsageError
            The file is none.
        """
        made = cls(name)
        made.python.conda_dependencies.set_pip_requirements(read_requirements(file_path))
        if pip_version is not None:
            ignore("Environment.from_pip_requirements", ["pip_version"])
        return made

    @classmethod
    def from_existing_conda_environment(cls, name: str, conda_environment_name: str) -> Environment:
        """Take the interpreter of a conda environment of this user.

        Raises
        ------
        NotFound
            Conda's list of environments, ``~/.conda/environments.txt``, has none of that name.
        """
        try:
            listed = Path.home().joinpath(".conda", "environments.txt").read_text(encoding="utf-8").split("\n")
        except OSError:
            listed = []
        found = {Path(folder).name: Path(folder, "bin", "python") for folder in listed if folder.strip()}
        if conda_environment_name not in found:
            raise NotFound(
                f"There is no conda environment {conda_environment_name!r}.{nearest(conda_environment_name, found)}"
                f" Known are: {', '.join(sorted(found)) or 'none'}. Or name a Python: Environment(name, python=...)."
            )
        return cls(name, python=found[conda_environment_name])

    @classmethod
    def from_docker_image(
        cls,
        name: str,
        image: str,
        container_registry: object = None,
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> Environment:
        """Make one of what is installed on top of an image; the image has no meaning here."""
        if conda_specification is not None and pip_requirements is not None:
            raise UsageError("conda_specification and pip_requirements both list the packages. Leave one out.")
        made = cls(name)
        if conda_specification is not None:
            made = cls.from_conda_specification(name, conda_specification)
        elif pip_requirements is not None:
            made = cls.from_pip_requirements(name, pip_requirements)
        made.docker.base_image = image
        made.docker.base_image_registry = container_registry
        return made

    def clone(self, new_name: str) -> Environment:
        """A copy under another name, registered nowhere."""
        made = self.from_document({**self.as_document(), "name": check_name("new_name", new_name)})
        made.version = None
        return made

    # In a workspace

    def register(self, workspace: Workspace) -> Environment:
        """Register it: as a new version, unless the latest is the very same.

        Returns
        -------
        Environment
            The registered one.
        """
        folder = workspace.folder / "environments" / self.name
        content = {**self.as_document(), "version": None}
        latest = max(versions(folder), default=None)
        known = None if latest is None else read_document(folder / f"{latest}.json")
        private = bool(self.environment_variables)  # their values may be secrets
        number = latest if known == content else write_version(folder, content, private=private)
        registered = self.from_document(content)
        registered.version = str(number)
        return registered

    @classmethod
    def get(cls, workspace: Workspace, name: str, version: str | int | None = None) -> Environment:
        """Return a registered environment, by default its latest version.

        Raises
        ------
        NotFound
            There is none of that name or version.
        """
        folder = workspace.folder / "environments"
        known = versions(folder / name) if name in names(folder, "") else []
        if not known:
            registered = names(folder, "")
            why = " Azure's own environments are not here: make one of that name." if name.startswith(_CURATED) else ""
            raise NotFound(
                f"There is no environment {name!r} in the workspace {workspace.name!r}.{nearest(name, registered)}{why}"
                f" Registered are: {', '.join(registered[:20]) or 'none'}."
            )
        number = known[-1] if version is None else next((one for one in known if str(one) == str(version)), None)
        document = None if number is None else read_document(folder / name / f"{number}.json")
        if document is None:
            raise NotFound(
                f"The environment {name!r} has no version {version!r} in the workspace {workspace.name!r}. There are:"
                f" {', '.join(map(str, known[-20:]))}."
            )
        found = cls.from_document(document)
        found.version = str(number)
        return found

    @classmethod
    def list(cls, workspace: Workspace) -> dict[str, Environment]:
        """All that are registered, by name, in their latest versions."""
        return {name: cls.get(workspace, name) for name in names(workspace.folder / "environments", "")}

    # Documents and files

    def as_document(self) -> dict[str, Any]:
        """All of it, as JSON values.

        Raises
        ------
        UsageError
            An attribute has been set to what it cannot be, or a URL among the packages has a password in it.
        """
        # It is stored as plain text, in workspaces and runs.
        for word in " ".join(self.python.conda_dependencies.pip).split():
            if word.startswith(("http://", "https://")):
                check_no_secret(f"A URL in the pip packages of environment {self.name!r}", word)
        python = self.python
        if not isinstance(python.user_managed_dependencies, bool):
            raise UsageError(
                f"user_managed_dependencies must be True or False, got {python.user_managed_dependencies!r}."
            )
        return {
            "name": self.name,
            "version": self.version,
            "python": {
                "user_managed_dependencies": python.user_managed_dependencies,
                "interpreter_path": os.fspath(python.interpreter_path or "python"),
                "conda_dependencies": python.conda_dependencies.as_document(),
                **({"command_prefix": python.command_prefix} if python.command_prefix else {}),
            },
            "docker": dict(self.docker.given),
            "environment_variables": dict(environment_variables(self.environment_variables or {})),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Environment:
        """Make one of what `as_document` gave.

        Raises
        ------
        UsageError
            It is none.
        """
        try:
            made = cls(document["name"])
            python = document["python"]
            made.python.user_managed_dependencies = python["user_managed_dependencies"]
            made.python.interpreter_path = python["interpreter_path"]
            made.python.conda_dependencies = CondaDependencies.from_document(python["conda_dependencies"])
            made.python.command_prefix = python.get("command_prefix")
            made.docker.given.update(document.get("docker") or {})
            made.environment_variables = dict(document.get("environment_variables") or {})
            made.version = document.get("version")
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"This is no document of an environment ({error!r}): {dict(document)!r}.") from None
        return made

    def save_to_directory(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write it into a folder, as two files: itself, and its conda file.

        Raises
        ------
        UsageError
            The folder has such files, and `overwrite` is off.
        """
        folder = Path(local_path("path", path))
        target = folder / ENVIRONMENT_FILE
        if target.exists() and not overwrite:
            raise UsageError(f"{str(target)!r} exists. Add overwrite=True, or choose another folder.")
        document = self.as_document()
        python = document["python"]
        content = {
            "name": self.name,
            "version": self.version,
            "python": {
                "userManagedDependencies": python["user_managed_dependencies"],
                "interpreterPath": python["interpreter_path"],
                **({"commandPrefix": python["command_prefix"]} if "command_prefix" in python else {}),
            },
            "environmentVariables": document["environment_variables"],
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.python.conda_dependencies.save(folder / CONDA_FILE)
        write_document(target, content, overwrite=True, private=bool(self.environment_variables))

    @classmethod
    def load_from_directory(cls, path: str | os.PathLike[str]) -> Environment:
        """Read what `save_to_directory` wrote, here or in Azure.

        Raises
        ------
        UsageError
            The folder has no such files.
        """
        folder = Path(local_path("path", path))
        content = read_document(folder / ENVIRONMENT_FILE)
        if content is None:
            raise UsageError(f"There is no {ENVIRONMENT_FILE} in {str(folder)!r}. Give a folder of save_to_directory.")
        made = cls(content.get("name") or folder.name)
        python = content.get("python") or {}
        made.python.user_managed_dependencies = bool(python.get("userManagedDependencies"))
        made.python.interpreter_path = python.get("interpreterPath") or "python"
        made.python.command_prefix = python.get("commandPrefix")
        made.environment_variables = dict(content.get("environmentVariables") or {})
        if (folder / CONDA_FILE).exists():
            made.python.conda_dependencies = CondaDependencies(folder / CONDA_FILE)
        return made
