"""What a step leaves: its output in the datastore, and word of it for later runs that would be the same."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.data_path import DataPath
from daskbatch.api.documents import read_document, write_document
from daskbatch.api.execution import Call
from daskbatch.api.outputs import read_output
from daskbatch.api.run import Run
from daskbatch.engine.folder import partial_name
from daskbatch.layout import FAILED_ITEMS, LOGS, RUN_SUMMARY, STATE_FOLDER
from daskbatch.options.identity import GROUPS, Group

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["is_published", "publish", "recall", "register", "remember", "reuse_key"]


def publish(run: Run, target: Path) -> None:
    """Have the result, and what the script wrote beside it, in the output's folder too.

    Parameters
    ----------
    run : Run
        Completed.
    target : Path
        Made where it is missing. Files of the same names are replaced; each appears whole.
    """
    target.mkdir(parents=True, exist_ok=True)
    if run.output_file is not None:
        _link(run.output_file, target / run.output_file.name)
    for path in _written_by_script(run):
        _link(path, target / path.relative_to(run.output))


def _written_by_script(run: Run) -> Iterator[Path]:
    own = {STATE_FOLDER, LOGS, RUN_SUMMARY, FAILED_ITEMS}
    if run.output_file is not None:
        own |= {run.output_file.name, partial_name(run.output_file.name)}
    for top in sorted(run.output.iterdir()):
        if top.name not in own and not top.name.startswith(STATE_FOLDER):
            yield from (path for path in (sorted(top.rglob("*")) if top.is_dir() else [top]) if path.is_file())


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            os.link(source, part)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)  # it stays where both are one file already


def is_published(summary: Mapping[str, Any], folder: Path, target: Path) -> bool:
    """Whether a completed run's result is still in the output's folder.

    Parameters
    ----------
    summary : mapping
        Of the run.
    folder : Path
        The run's.
    target : Path
        The output's.
    """
    output = summary["output"]
    if output is None:
        return target.is_dir()
    try:
        ours, theirs = (folder / output["name"]).stat(), (target / output["name"]).stat()
    except OSError:
        return False
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


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
        [list(call.inputs.local_paths()), call.inputs.options(), call.side],
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
    }
    write_document(_word(workspace, key), content, overwrite=True)


def recall(key: str, workspace: Workspace) -> dict[str, Any] | None:
    """What `remember` wrote, None where it wrote nothing."""
    return read_document(_word(workspace, key))


def _word(workspace: Workspace, key: str) -> Path:
    return workspace.folder / "reuse" / f"{key}.json"
