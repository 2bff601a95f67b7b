"""Where the outputs of a pipeline's steps go: not over each other, and not to where their own step reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from daskbatch.api.execution import output_place
from daskbatch.api.places import is_url
from daskbatch.api.references import from_document, places
from daskbatch.errors import UsageError
from daskbatch.options.output import taken_as_input

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["refuse_overlaps"]


def refuse_overlaps(steps: Sequence[Mapping[str, Any]], workspace: Workspace) -> None:
    """See that no output would be lost in another one, or read as an input of its own step.

    What cannot be read from here, and inputs that are still parameters, are left to the submission.

    Parameters
    ----------
    steps : sequence
        Their documents.
    workspace : Workspace

    Raises
    ------
    UsageError
    """
    folders = {step["name"]: _folder(step, workspace) for step in steps}
    for (one, first), (other, second) in combinations(folders.items(), 2):
        if first is not None and second is not None and _holds(first, second):
            raise UsageError(
                f"The outputs of the steps {one!r} and {other!r} are one folder, or one in the other: {first!r} and"
                f" {second!r}. Give each its own, such as by destination=(datastore, 'FOLDER/{{run-id}}')."
            )
    for step in steps:
        folder = folders[step["name"]]
        for path in _inputs(step, workspace) if folder is not None else ():
            _check_apart(step, path, str(folder))


def _folder(step: Mapping[str, Any], workspace: Workspace) -> str | None:
    """Where the output would be in a run, a path or a URL; None where that is not known."""
    try:
        place = output_place(step, f"run-{step['name']}", workspace)
        return None if place is None else place.place()
    except UsageError:
        return None


def _holds(one: str, other: str) -> bool:
    """Whether two folders are one, or one of them is in the other."""
    if is_url(one) or is_url(other):
        first, second = (f"{url.rstrip('/')}/" for url in (one, other))
        return first.startswith(second) or second.startswith(first)
    real = [os.path.realpath(path) for path in (one, other)]
    return os.path.commonpath(real) in real


def _inputs(step: Mapping[str, Any], workspace: Workspace) -> Iterator[str]:
    for one in step["inputs"]:
        data = one["dataset"]
        if "type" in data and "live" not in data:
            try:
                yield from places(from_document(data, workspace), workspace)
            except UsageError:
                continue


def _check_apart(step: Mapping[str, Any], path: str, folder: str) -> None:
    if is_url(path) or is_url(folder):
        if _holds(path, folder):
            raise UsageError(_mixed(step, folder, f"holds the input {path!r}, or lies in it"))
        return
    config = step["config"]
    name = "" if config["output_action"] == "summary_only" else config["append_row_file_name"] or ""
    told = taken_as_input(path, folder, "") or taken_as_input(path, folder, name)
    if told is None and os.path.isdir(path) and _holds(path, folder):
        told = f"holds the input folder {path!r}"
    if told is not None:
        raise UsageError(_mixed(step, folder, told))


def _mixed(step: Mapping[str, Any], folder: str, told: str) -> str:
    return (
        f"The output of the step {step['name']!r} goes to {folder!r}, which {told}: results would be mixed with the"
        " input, and later runs would read them. Next: name the input more narrowly, such as by"
        " (datastore, 'FOLDER') or a glob, or give the output another destination or datastore."
    )
