"""The datasets of a workspace: ``datasets/NAME/VERSION.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.documents import (
    check_name,
    names,
    read_document,
    versions,
    write_document,
    write_version,
)
from daskbatch.api.named import not_found
from daskbatch.api.references import as_document, from_document
from daskbatch.errors import NotFound, UsageError

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["dataset_names", "get_by_name", "register"]

D = TypeVar("D")


def register(
    dataset: D,
    workspace: Workspace,
    name: str,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    create_new_version: bool = False,
) -> D:
    """See `daskbatch.api.dataset_base.ReferencedDataset.register`."""
    assert isinstance(dataset, (FileDataset, TabularDataset))
    check_name("name", name, spaces=True)
    marks = _checked_tags(tags)
    unnamed = replace(dataset, name=None, version=None)
    folder = _folder(workspace, name)
    value = {
        "name": name,
        "description": description or "",
        "tags": marks,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": as_document(unnamed),
    }
    there = versions(folder)
    if there and _same(read_document(folder / f"{there[-1]}.json"), value, description, tags):
        return get_by_name(workspace, name)  # type: ignore[return-value]
    if create_new_version:
        version = write_version(folder, value)
    else:
        version = 1
        try:
            if there:
                raise FileExistsError
            write_document(folder / "1.json", value, overwrite=False)
        except FileExistsError:
            last = max(versions(folder), default=1)
            raise UsageError(
                f"name {name!r} is taken: version {last} of it is another dataset. Choose another name, or give"
                " create_new_version=True."
            ) from None
    return replace(unnamed, name=name, version=version, description=description or "", tags=marks)


def _same(there: Mapping[str, Any] | None, new: Mapping[str, Any], description: object, tags: object) -> bool:
    """Whether the latest version says all that is to be said now."""
    asked = ["dataset", *(["description"] if description is not None else []), *(["tags"] if tags is not None else [])]
    return there is not None and all(there.get(key) == new[key] for key in asked)


def _checked_tags(tags: object) -> dict[str, str]:
    if tags is None:
        return {}
    if not isinstance(tags, Mapping) or not all(isinstance(key, str) for key in tags):
        raise UsageError(f"tags must be a dict of texts such as {{'season': 'winter'}}, got {tags!r}.")
    return {key: str(value) for key, value in tags.items()}


def get_by_name(workspace: Workspace, name: str, version: int | str = "latest") -> FileDataset | TabularDataset:
    """A registered dataset.

    Parameters
    ----------
    workspace : Workspace
    name : str
    version : int or str
        A number, or ``"latest"``.

    Raises
    ------
    NotFound
        There is none of that name or version.
    """
    known = dataset_names(workspace)
    if name not in known:
        raise not_found("dataset", name, known)
    folder = _folder(workspace, name)
    there = versions(folder)
    number = there[-1] if version in ("latest", None) else _number(version)
    document = read_document(folder / f"{number}.json") if number in there else None
    if document is None:
        raise NotFound(
            f"The dataset {name!r} has no version {version!r}. It has {', '.join(map(str, there))}; 'latest' is"
            f" {there[-1]}."
        )
    return replace(
        from_document(document["dataset"], workspace),
        name=name,
        version=number,
        description=document.get("description"),
        tags=document.get("tags") or {},
    )


def _number(version: object) -> int:
    text = str(version)
    return int(text) if text.isdecimal() and len(text) < 19 else -1


def dataset_names(workspace: Workspace) -> list[str]:
    """The names of all registered datasets, sorted."""
    root = workspace.folder / "datasets"
    return [name for name in names(root, suffix="") if versions(root / name)]


def _folder(workspace: Workspace, name: str) -> Path:
    return workspace.folder / "datasets" / name
