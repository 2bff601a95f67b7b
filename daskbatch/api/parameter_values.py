"""What a submission gives for a pipeline's parameter."""

from __future__ import annotations

import os
from dataclasses import replace
from glob import has_magic
from typing import TYPE_CHECKING, Any

from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import FileDataset, TabularDataset
from daskbatch.api.dataset_base import located
from daskbatch.api.dataset_registry import dataset_names, get_by_name
from daskbatch.api.parameters import PipelineParameter
from daskbatch.api.places import is_url
from daskbatch.errors import UsageError
from daskbatch.options.values import nearest

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["data_value"]


def data_value(parameter: PipelineParameter, given: Any, workspace: Workspace) -> Any:
    """The value in the parameter's type; a dataset may be given by its name or by a path.

    A DataPath may be given as text: a path in the datastore of the default value.

    Parameters
    ----------
    parameter : PipelineParameter
    given : object
    workspace : Workspace
        Where the dataset is registered.

    Raises
    ------
    UsageError
        It is of another type, or there is no such dataset.
    """
    default = parameter.default_value
    if isinstance(given, (str, os.PathLike)) and isinstance(default, (FileDataset, TabularDataset)):
        given = _dataset(os.fspath(given), default, workspace)
    if isinstance(given, str) and isinstance(default, DataPath):
        given = default.datastore.path(given)
    return parameter.value(given)


def _dataset(text: str, default: FileDataset | TabularDataset, workspace: Workspace) -> FileDataset | TabularDataset:
    """The dataset of that name; or the files of that path, read as the default value is."""
    known = dataset_names(workspace)
    name, _, version = text.partition(":")
    if name in known:
        return get_by_name(workspace, name, version or "latest")
    place = located(text)
    if not is_url(place) and not has_magic(place) and not os.path.exists(place):
        raise UsageError(
            f"There is no dataset and no path {text!r}.{nearest(text, known)} Registered are:"
            f" {', '.join(known[:20]) or 'none'}."
        )
    return replace(default, sources=(place,), taken=None, skipped=0, name=None, version=None)
