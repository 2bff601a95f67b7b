"""What a step leaves: its output in the datastore, and word of it for later runs that would be the same."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api import store_transfer, transfer
from daskbatch.api.data_path import DataPath
from daskbatch.api.dataset import TabularDataset
from daskbatch.api.documents import read_document, write_document
from daskbatch.api.execution import Call, digest
from daskbatch.api.outputs import read_output
from daskbatch.api.places import is_url
from daskbatch.api.run import Run
from daskbatch.options.identity import GROUPS, Group

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = [
    "is_published",
    "publish",
    "publish_to_store",
    "recall",
    "register",
    "remember",
    "reuse_key",
    "script_folder",
]

_FICLONE = 0x40049409  # of Linux, which Python has no name for


def publish(run: Run, target: Path) -> None:
    """Have the result in the output's folder too, where the script has written already.

    It is a copy: who edits it there changes nothing of the run.

    Parameters
    ----------
    run : Run
        Completed.
    target : Path
        A file of the result's name is replaced; it appears whole.
    """
    if not isinstance(run.output_file, Path):
        return  # none, or on a store: there it lies in its place already
    part = target / f".{secrets.token_hex(8)}.tmp"
    try:
        _copy(run.output_file, part)
        part.replace(target / run.output_file.name)
    finally:
        part.unlink(missing_ok=True)


def script_folder(place: DataPath | None, folder: Path) -> str | None:
    """The folder that the script of a step is told to write to.

    Parameters
    ----------
    place : DataPath, optional
        Where the output goes. Of a store, a folder beside the engine's is filled first, and put there at the end.
    folder : Path
        The engine's output folder.
    """
    if place is None:
        return None
    target = place.place()
    return str(folder.with_name(f"{folder.name}-output")) if is_url(target) else target


def publish_to_store(run: Run, place: DataPath, folder: str) -> None:
    """Put the result, and what the script has written, below a URL: the result last.

    Parameters
    ----------
    run : Run
        Completed.
    place : DataPath
    folder : str
        Of `script_folder`.
    """
    root, source = place.place(), Path(folder)
    files = [(source / relative, relative) for relative in transfer.below(source)] if source.is_dir() else []
    store_transfer.upload(files, root, place.storage_options(), overwrite=True, show=False)
    if isinstance(run.output_file, Path):
        result = [(run.output_file, run.output_file.name)]
        store_transfer.upload(result, root, place.storage_options(), overwrite=True, show=False)


def _copy(source: Path, target: Path) -> None:
    """Copy a file; where the filesystem can, both share their blocks until one is changed."""
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 2**20)
    shutil.copystat(source, target)


def is_published(known: Mapping[str, Any], place: DataPath) -> bool:
    """Whether all that a step has left in its output's folder is there as it was.

    Parameters
    ----------
    known : mapping
        What `recall` gave.
    place : DataPath
        Where the output is.
    """
    files = known.get("files")
    if is_url(place.place()):
        there = _left(place)
        return files is not None and all(there.get(name) == files[name] for name in files)
    target = Path(place.place())
    return files is not None and target.is_dir() and all(_state(target / name) == files[name] for name in files)


def _left(place: DataPath) -> dict[str, list[Any]]:
    """What tells whether the files of an output are as they were, by their paths below it."""
    target = place.place()
    if not is_url(target):
        return _files(Path(target))
    found = store_transfer.objects_below(target, place.storage_options())
    return {relative: [listed.size, listed.token] for listed, relative in found}


def _files(folder: Path) -> dict[str, list[Any]]:
    """Size and modification time of each file below a folder, by its path there."""
    found = {}
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here, name)
            state = _state(path)
            if state is not None:
                found[str(path.relative_to(folder))] = state
    return found


def _state(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def register(step: Mapping[str, Any], place: DataPath, workspace: Workspace) -> None:
    """Register a step's output as a dataset, where that is asked for."""
    wanted = (step["output"] or {}).get("register")
    if wanted is not None:
        dataset = read_output(wanted.get("reading") or {"type": "file"}, place, workspace)
        dataset.register(workspace, wanted["name"], wanted["description"], wanted["tags"], create_new_version=True)


def reuse_key(step: Mapping[str, Any], call: Call) -> str:
    """A digest of what tells steps apart at a glance; whether two are the same is for `differences` to say.

    Parameters
    ----------
    step : mapping
        Its document.
    call : Call
    """
    result = [name for name, group in GROUPS.items() if group is Group.RESULT and name != "environment_variables"]
    what = [
        {name: step[name] for name in ("name", "entry_script", "source_directory", "arguments", "output")},
        {name: step["config"].get(name) for name in result},
        [[name, list(data.places()), data.options()] for name, data in call.inputs.items()],
        [[name, list(data.places())] for name, data in call.side.items()],
        # of tables the script is told no path by a variable
        {name: digest(data) for name, data in call.side.items() if isinstance(data, TabularDataset)},
        step["environment"]["python"]["conda_dependencies"],
    ]
    return hashlib.blake2b(json.dumps(what, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def remember(key: str, folder: Path, place: DataPath | None, run_id: str, workspace: Workspace) -> None:
    """Tell later runs of a step that has completed.

    Parameters
    ----------
    key : str
        Of `reuse_key`.
    folder : Path
        The engine's output folder.
    place : DataPath or None
        Where the step's output is.
    run_id : str
        Of the step's run.
    workspace : Workspace
    """
    content = {
        "folder": str(folder.relative_to(workspace.folder)),
        "output": None if place is None else {"datastore": place.datastore.name, "path": place.relative},
        "run_id": run_id,
        "files": {} if place is None else _left(place),
    }
    write_document(_word(workspace, key), content, overwrite=True)


def recall(key: str, workspace: Workspace) -> dict[str, Any] | None:
    """What `remember` wrote, None where it wrote nothing."""
    return read_document(_word(workspace, key))


def _word(workspace: Workspace, key: str) -> Path:
    return workspace.folder / "reuse" / f"{key}.json"
