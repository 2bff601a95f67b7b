"""What makes a run another one than the one in the output folder: its options, and what it has used besides."""

from __future__ import annotations

from pathlib import Path

from daskbatch.engine.folder import RunFolder
from daskbatch.engine.record import RunRecord
from daskbatch.layout import RUN_SUMMARY
from daskbatch.options.identity import Difference, differences
from daskbatch.options.named_paths import changed_paths
from daskbatch.spec import RunSpec
from daskbatch.worker.model_pins import submitted, used
from daskbatch.worker.models import model_versions

__all__ = ["changes_since"]

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
    ended = _last_at_work(folder, killed)
    for path in changed_paths(record.identity.get("argument_paths", {}), spec, ended, reuse=reuse):
        found.append(Difference("arguments", f"{path}, which an argument names, has changed"))
    return found + _changed_models(folder, spec) if reuse else found


def _last_at_work(folder: RunFolder, killed: bool) -> int:
    """When, in nanoseconds, by the clock of the filesystem."""
    number = folder.latest_epoch()
    last = max(map(_written, (folder.output / RUN_SUMMARY, folder.ledger(number), folder.heartbeat(number))))
    return last + (_AFTER_A_KILL if killed else 0)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


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
