"""What an environment asks for: its lists of pip and conda packages, read one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from daskbatch.errors import UsageError

__all__ = [
    "TENSORFLOW",
    "Package",
    "Wanted",
    "conda_package",
    "pins_tensorflow_below_2",
    "pip_package",
    "wanted_packages",
]

TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu")
"""One and the same module."""

_PIP_NAMES = {"pytorch": "torch", "opencv": "opencv-python", "py-opencv": "opencv-python", "py-xgboost": "xgboost"}
"""Conda packages that pip has under another name."""
_NOT_IN_PIP = {"pip", "cudatoolkit", "cudnn", "nomkl"}
"""Conda packages that a virtual environment has anyway, or that wheels bring along."""
_CONDA = re.compile(r"(?:[\w.-]+(?:/[\w.-]+)?::)?([A-Za-z0-9_][\w.-]*)\s*(.*)", re.ASCII)
_CONDA_VERSION = re.compile(r"(===?|>=|<=|!=|~=|>|<|=)?\s*([\w.*+!-]+)", re.ASCII)
_PLACE = re.compile(r"(\w+\+)?\w+://|\.{0,2}/|.*\.(whl|zip|tar\.gz)$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a list."""

    text: str
    """As it was given."""
    pip: str
    """As pip takes it; empty where pip has no such thing."""
    name: str
    """As indexes write it, such as ``"scikit-learn"``; empty for a path or URL without a name."""
    versions: SpecifierSet = field(default_factory=SpecifierSet)
    """Those that will do."""
    applies: bool = True
    """Whether its condition on the Python or platform holds here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that an environment asks for."""

    pip: tuple[Package, ...] = ()
    conda: tuple[Package, ...] = ()
    azureml: tuple[str, ...] = ()
    """Names of the packages for which daskbatch stands in."""
    options: tuple[str, ...] = ()
    """Of pip, such as ``"--index-url https://..."``."""
    python: Package | None = None
    """The Python itself; None: any."""


def pip_package(text: str) -> Package:
    """Read a requirement as pip has it: ``numpy>=1.20``, a URL or a path.

    Raises
    ------
    UsageError
        It is none of them.
    """
    if not isinstance(text, str) or not text.strip() or "\n" in text:
        raise UsageError(f"A pip package must be a text such as 'numpy>=1.20', got {text!r}.")
    text = text.strip()
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        if _PLACE.match(text):
            return Package(text, text, "")
        raise UsageError(
            f"A pip package must be written as 'numpy', 'numpy>=1.20' or 'numpy==1.26.4', or be a path or URL, got"
            f" {text!r}: {str(error).splitlines()[0]}."
        ) from None
    applies = parsed.marker is None or parsed.marker.evaluate()
    return Package(text, text, canonicalize_name(parsed.name), parsed.specifier, applies)


def conda_package(text: str) -> Package:
    """Read a package as conda has it: ``numpy``, ``numpy=1.26``, ``numpy>=1.20,<2``, ``conda-forge::numpy``.

    Raises
    ------
    UsageError
        It is none of them.
    """
    match = _CONDA.fullmatch(text.strip()) if isinstance(text, str) else None
    versions = None if match is None else _conda_versions(match[2])
    if match is None or versions is None:
        raise UsageError(f"A conda package must be written as 'numpy', 'numpy=1.26' or 'numpy>=1.20,<2', got {text!r}.")
    name = match[1].lower()
    pip = "" if name in _NOT_IN_PIP else f"{_PIP_NAMES.get(name, name)}{versions}"
    return Package(text.strip(), pip, canonicalize_name(_PIP_NAMES.get(name, name)), versions)


def _conda_versions(text: str) -> SpecifierSet | None:
    """Conda's constraint in pip's words; None where it is none."""
    text = text.strip()
    exact = re.fullmatch(r"(==?)?\s*([^\s=<>!~,|]+)\s*=\s*\S+", text)  # name=version=build
    if exact:
        text = f"{exact[1] or '='}{exact[2]}"
    found = []
    for alternative in text.split("|")[:1]:  # of alternatives the first one will do
        for part in filter(None, (piece.strip() for piece in alternative.split(","))):
            match = _CONDA_VERSION.fullmatch(part)
            if match is None:
                return None
            operator, version = match[1] or "=", match[2]
            if version == "*":
                continue
            if operator == "=" and not version.endswith("*"):
                version += ".*"  # one = is fuzzy
            found.append(f"{'==' if operator == '=' else operator}{version.replace('.*.*', '.*')}")
    try:
        return SpecifierSet(",".join(found))
    except InvalidSpecifier:
        return None


def wanted_packages(environment: Mapping[str, Any]) -> Wanted:
    """Read all that an environment's document lists.

    Parameters
    ----------
    environment : mapping
        As `daskbatch.Environment.as_document` gives it.

    Raises
    ------
    UsageError
        Something in a list is no package.
    """
    listed = environment["python"]["conda_dependencies"].get("dependencies") or []
    conda = [conda_package(item) for item in listed if not isinstance(item, Mapping)]
    lines = [line for item in listed if isinstance(item, Mapping) for line in item.get("pip") or []]
    pip = [pip_package(line) for line in lines if not line.startswith("-")]
    pythons = [package for package in conda if package.name == "python"]
    azureml = [_is_azureml(package) for package in pip]
    return Wanted(
        pip=tuple(package for package, ours in zip(pip, azureml, strict=True) if not ours),
        conda=tuple(package for package in conda if package.name != "python" and not _is_azureml(package)),
        azureml=tuple(
            [package.text for package, ours in zip(pip, azureml, strict=True) if ours]
            + [package.text for package in conda if _is_azureml(package)]
        ),
        options=tuple(line for line in lines if line.startswith("-")),
        python=pythons[0] if pythons else None,
    )


def _is_azureml(package: Package) -> bool:
    return package.name == "azureml" or package.name.startswith("azureml-")


def pins_tensorflow_below_2(environment: Mapping[str, Any]) -> bool:
    """Whether the scripts of an environment are of TensorFlow 1: it asks for one below 2."""
    wanted = wanted_packages(environment)
    packages: Iterable[Package] = (*wanted.pip, *wanted.conda)
    return any(
        _is_below_2(one.operator, one.version)
        for package in packages
        if package.name in TENSORFLOW
        for one in package.versions
    )


def _is_below_2(operator: str, text: str) -> bool:
    try:
        version = Version(text.removesuffix(".*"))
    except InvalidVersion:
        return False
    if operator == "<":
        return version <= Version("2")
    return operator in ("<=", "==", "===", "~=") and version.major < 2
