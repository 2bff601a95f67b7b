"""``CondaDependencies``: the packages of an environment, as a conda file lists them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from daskbatch.api.ignored import ignore
from daskbatch.environments_packages import Package, conda_package, pip_package
from daskbatch.errors import UsageError
from daskbatch.options.values import local_path

__all__ = ["CondaDependencies", "read_requirements"]

CONDA_FILE = "conda_dependencies.yml"
_NAME = "project_environment"
_KEYS = ("name", "channels", "dependencies", "prefix")
_PATH_OPTIONS = ("-c", "--constraint", "-f", "--find-links", "-e", "--editable")
"""Options of a requirements file that may be followed by a path, relative to the file."""


class CondaDependencies:
    """A list of pip and conda packages.

    Parameters
    ----------
    conda_dependencies_file_path : path, optional
        A conda file, in YAML.

    Raises
    ------
    UsageError
        The file is none.
    """

    __slots__ = ("channels", "conda", "name", "pip")

    def __init__(self, conda_dependencies_file_path: str | os.PathLike[str] | None = None) -> None:
        self.name = _NAME
        self.channels: list[str] = []
        self.conda: list[str] = []
        self.pip: list[str] = []
        """Packages, and options such as ``"--index-url https://..."``."""
        if conda_dependencies_file_path is not None:
            self._take(*_read_yaml(conda_dependencies_file_path))

    @classmethod
    def create(
        cls,
        pip_indexurl: str | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_packages: Sequence[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,  # noqa: ARG003 - of the SDK there is nothing to pin
    ) -> CondaDependencies:
        """Make a list.

        Parameters
        ----------
        pip_indexurl : str, optional
            Index in place of PyPI.
        pip_packages, conda_packages : list of str, optional
            Such as ``["numpy>=1.20"]``.
        python_version : str, optional
            Such as ``"3.11"``.

        Raises
        ------
        UsageError
            One of them is no package.
        """
        made = cls()
        if python_version is not None:
            made.set_python_version(python_version)
        if pip_indexurl is not None:
            made.set_index_url(pip_indexurl)
        for name, given, add in (
            ("conda_packages", conda_packages, made.add_conda_package),
            ("pip_packages", pip_packages, made.add_pip_package),
        ):
            for text in _list_of_texts(name, given):
                add(text)
        return made

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CondaDependencies:
        """Make one of what a conda file holds."""
        made = cls()
        made._take(document, "the environment's document", Path())
        return made

    def as_document(self) -> dict[str, Any]:
        """All of it, as a conda file has it."""
        dependencies: list[Any] = [*self.conda]
        if self.pip:
            dependencies.append({"pip": [*self.pip]})
        channels = {"channels": [*self.channels]} if self.channels else {}
        return {"name": self.name, **channels, "dependencies": dependencies}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CondaDependencies) and self.as_document() == other.as_document()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<CondaDependencies: conda {self.conda}, pip {self.pip}>"

    # What is in it

    @property
    def pip_packages(self) -> list[str]:
        """Packages of pip."""
        return [line for line in self.pip if not line.startswith("-")]

    @property
    def pip_options(self) -> list[str]:
        """Options of pip."""
        return [line for line in self.pip if line.startswith("-")]

    @property
    def conda_packages(self) -> list[str]:
        """Packages of conda."""
        return [*self.conda]

    @property
    def conda_channels(self) -> list[str]:
        """Channels of conda."""
        return [*self.channels]

    def get_python_version(self) -> str | None:
        """Version of Python, if one is asked for."""
        found = [text for text in self.conda if conda_package(text).name == "python"]
        return found[0].partition("python")[2].strip("= ") or None if found else None

    # What is changed in it

    def add_pip_package(self, pip_package_spec: str) -> None:
        """Add a package, in the place of another version of it."""
        self.pip = [*_without(self.pip, pip_package(pip_package_spec).name, pip_package), pip_package_spec.strip()]

    def remove_pip_package(self, pip_package_name: str) -> None:
        """Remove a package, whatever its version."""
        self.pip = _without(self.pip, pip_package(pip_package_name).name, pip_package)

    def add_conda_package(self, conda_package_spec: str) -> None:
        """Add a package, in the place of another version of it."""
        found = conda_package(conda_package_spec)
        self.conda = [*_without(self.conda, found.name, conda_package), found.text]

    def remove_conda_package(self, conda_package_name: str) -> None:
        """Remove a package, whatever its version."""
        self.conda = _without(self.conda, conda_package(conda_package_name).name, conda_package)

    def add_channel(self, channel: str) -> None:
        """Add a channel; pip, which builds here, has none."""
        ignore("CondaDependencies.add_channel", ["channel"])
        self.channels = [*(known for known in self.channels if known != channel), channel]

    def remove_channel(self, channel: str) -> None:
        """Remove a channel."""
        self.channels = [known for known in self.channels if known != channel]

    def set_pip_option(self, pip_option: str) -> None:
        """Add an option of pip, such as ``"--pre"``."""
        if not isinstance(pip_option, str) or not pip_option.startswith("-") or "\n" in pip_option:
            raise UsageError(f"pip_option must begin with '-', such as '--pre', got {pip_option!r}.")
        self.pip = [pip_option, *(line for line in self.pip if line != pip_option)]

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove an option of pip: by its name, or just as it was given."""
        self.pip = [line for line in self.pip if pip_option not in (line, line.partition(" ")[0])]

    def set_index_url(self, index_url: str) -> None:
        """Have pip take packages from this index in place of PyPI."""
        self.remove_pip_option("--index-url")
        self.set_pip_option("--index-url " + index_url.removeprefix("--index-url").strip())

    set_pip_index_url = set_index_url

    def set_pip_requirements(self, pip_requirements: Sequence[str]) -> None:
        """Replace all packages and options of pip."""
        lines = _list_of_texts("pip_requirements", pip_requirements)
        self.pip = [line if line.startswith("-") else pip_package(line).text for line in lines]

    def set_python_version(self, version: str) -> None:
        """Ask for a version of Python, such as ``"3.11"``."""
        package = conda_package(f"python={version}" if str(version)[:1].isdigit() else f"python{version}")
        if package.name != "python":
            raise UsageError(f"python_version must be a version such as '3.11', got {version!r}.")
        self.conda = [package.text, *_without(self.conda, "python", conda_package)]

    # Files

    def serialize_to_string(self) -> str:
        """All of it, as YAML."""
        import yaml

        return str(yaml.safe_dump(self.as_document(), sort_keys=False))

    def save(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write a conda file; return its path."""
        target = Path(CONDA_FILE if path is None else path)
        if target.is_dir():
            target /= CONDA_FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.serialize_to_string(), encoding="utf-8")
        return str(target)

    def save_to_file(self, base_directory: str | os.PathLike[str], conda_file_path: str | None = None) -> str:
        """Write a conda file into a folder; return its path."""
        return self.save(Path(base_directory, conda_file_path or CONDA_FILE))

    def _take(self, document: Mapping[str, Any], where: str, folder: Path) -> None:
        for key in document:
            if key not in _KEYS:
                raise UsageError(f"{where} has {key!r}. A conda file has {', '.join(_KEYS[:-1])}.")
        self.name = str(document.get("name") or _NAME)
        self.channels = [str(channel) for channel in document.get("channels") or []]
        for item in _items(where, "dependencies", document.get("dependencies")):
            if isinstance(item, Mapping):
                if list(item) != ["pip"]:
                    raise UsageError(f"{where}: in dependencies, only pip may have a list of its own, got {item!r}.")
                for line in _items(where, "pip", item["pip"]):
                    self.pip += _expanded(str(line), folder)
            else:
                self.conda.append(conda_package(item).text)


def _without(lines: Iterable[str], name: str, read: Callable[[str], Package]) -> list[str]:
    """The lines without that package."""
    return [line for line in lines if line.startswith("-") or not name or read(line).name != name]


def _list_of_texts(name: str, given: object) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple)) or not all(isinstance(text, str) for text in given):
        raise UsageError(f"{name} must be a list such as ['numpy>=1.20'], got {given!r}.")
    return list(given)


def _items(where: str, key: str, given: object) -> list[Any]:
    if given is not None and not isinstance(given, list):
        raise UsageError(f"{where}: {key} must be a list, got {given!r}.")
    return given or []


def _read_yaml(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], str, Path]:
    """What a conda file holds, its name for messages, and its folder."""
    import yaml

    file = Path(local_path("the conda file", path))
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The conda file {str(file)!r} cannot be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"The conda file {str(file)!r} is no YAML: {error}") from None
    if not isinstance(found, Mapping):
        raise UsageError(
            f"The conda file {str(file)!r} must hold name, channels and dependencies, got {type(found).__name__}."
        )
    return found, f"The conda file {str(file)!r}", file.parent


def read_requirements(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a pip requirements file, those of the files that it names too; paths become absolute.

    Raises
    ------
    UsageError
        It cannot be read, names itself, or has a line that pip would not take.
    """
    return _requirements(Path(local_path("the requirements file", path)), ())


def _requirements(file: Path, above: tuple[Path, ...]) -> list[str]:
    if file in above:
        raise UsageError(f"The requirements file {str(file)!r} names itself, by way of {str(above[-1])!r}.")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The requirements file {str(file)!r} cannot be read: {error}.") from None
    lines = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip() if not line.lstrip().startswith("#") else ""
        line = line.partition(" #")[0].strip()
        if line:
            lines += _expanded(line, file.parent, (*above, file))
    return lines


def _expanded(line: str, folder: Path, above: tuple[Path, ...] = ()) -> list[str]:
    """A line of pip's, with what it names by a path relative to its file."""
    option, _, value = line.replace("=", " ", 1).partition(" ") if line.startswith("--") else line.partition(" ")
    value = value.strip()
    if option in ("-r", "--requirement"):
        return _requirements(Path(os.path.abspath(folder / value)), above)
    if option in _PATH_OPTIONS:
        return [f"{option} {os.path.abspath(folder / value)}" if (folder / value).exists() else line]
    if line.startswith("-"):
        return [line]
    package = pip_package(line)
    if not package.name and (folder / line).exists():
        return [os.path.abspath(folder / line)]
    return [package.text]
