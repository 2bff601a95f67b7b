"""What makes a run another one than the one in the output folder: its options, and what it has used besides."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt

from daskbatch.engine.folder import RunFolder
from daskbatch.engine.record import ARGUMENT_FILES, RunRecord
from daskbatch.errors import DaskbatchError
from daskbatch.options.identity import Difference, differences
from daskbatch.options.named_paths import ChangedFile, changed_files, file_states
from daskbatch.spec import RunSpec
from daskbatch.worker.model_pins import submitted, used
from daskbatch.worker.models import model_versions

__all__ = ["changed_at_work", "changes_since", "note_files_at_end"]

_AFTER_A_KILL = 5 * 10**9
"""Nanoseconds for which a script may have written after the last sign of its engine."""


def changes_since(
    record: RunRecord, folder: RunFolder, spec: RunSpec, inputs: str, *, reuse: bool, killed: bool = False
) -> list[Difference]:
    """What differs; nothing where it is the same run.

    Parameters
    ----------
    record : RunRecord
        Of the run that is there.
    folder : RunFolder
        Its own.
    spec : RunSpec
        Of the run as it is now.
    inputs : str
        Digest of the input as it is now.
    reuse : bool
        Whether the result of a completed run shall serve. One that goes on keeps the models that it has begun with.
    killed : bool
        Whether the engine that was last at work there had no time to say so.

    Raises
    ------
    EntryScriptError
        The entry script or the source directory cannot be read.
    """
    found = differences(record.identity, spec, inputs, reuse=reuse)
    for file, at_work in _changed_files(record, folder, killed):
        if not at_work and (reuse or file.written):  # nobody knows when one has gone; a run that needs it fails
            text = f"the file {file.path}, which an argument names, has changed: {file.what}"
            found.append(Difference("arguments", text))
    return found + _changed_models(folder, spec) if reuse else found


def changed_at_work(record: RunRecord, folder: RunFolder, *, killed: bool) -> list[str]:
    """Files that arguments name, and that the run may have changed or deleted itself: they are not as it found them.

    Parameters
    ----------
    record, folder, killed
        As for `changes_since`.
    """
    return [file.path for file, at_work in _changed_files(record, folder, killed) if at_work or not file.written]


def _changed_files(record: RunRecord, folder: RunFolder, killed: bool) -> list[tuple[ChangedFile, bool]]:
    """Each with whether that was while the run was at work."""
    begun = _begun(record)
    ended = _last_at_work(folder, killed)
    files = changed_files(record.identity.get(ARGUMENT_FILES, {}))
    return [(file, begun <= file.written <= ended) for file in files]


def note_files_at_end(folder: RunFolder) -> None:
    """Of a run that is completing: the files that it has changed are from now on compared with what they are now."""
    with contextlib.suppress(OSError, DaskbatchError):  # its result is none the worse
        record = folder.read_record()
        if record is None:
            return
        before = record.identity.get(ARGUMENT_FILES, {})
        foreign = [file.name for file in changed_files(before) if file.written < _begun(record)]
        now = file_states([name for name in before if name not in foreign])
        if before | now != before:
            identity = {**record.identity, ARGUMENT_FILES: before | now}
            folder.write_record(dataclasses.replace(record, identity=identity))


def _begun(record: RunRecord) -> int:
    """When, in nanoseconds: the second in which it was planned."""
    return int(dt.datetime.fromisoformat(record.created).timestamp()) * 10**9


def _last_at_work(folder: RunFolder, killed: bool) -> int:
    """When, in nanoseconds, by the clock of the filesystem."""
    return folder.last_sign() + (_AFTER_A_KILL if killed else 0)


def _changed_models(folder: RunFolder, spec: RunSpec) -> list[Difference]:
    found = []
    for model in used(str(folder.models)):
        versions = model_versions(model.root, model.name)
        latest = versions[-1] if versions else None
        now = submitted(dict(spec.environment_variables), model.root).get(model.name, latest)
        if now != model.version:
            told = "there is none" if now is None else f"the latest is {now}"
            text = f"the model {model.name} was version {model.version}, now {told}"
            found.append(Difference("models", text))
    return found
