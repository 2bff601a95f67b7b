"""Whether the result of a run that is completed serves for another that would be the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from daskbatch.engine.begin import completed_summary, last_life
from daskbatch.engine.changes import changes_since
from daskbatch.engine.folder import RunFolder
from daskbatch.spec import RunSpec

__all__ = ["reusable"]


def reusable(spec: RunSpec, inputs: Callable[[], str]) -> dict[str, Any] | None:
    """Look for the result in the spec's output folder; nothing is written.

    Parameters
    ----------
    spec : RunSpec
    inputs : callable
        Gives the digest of the input as it is now.

    Returns
    -------
    dict or None
        The run's summary; None where there is no completed run, or another one.

    Raises
    ------
    EntryScriptError
        The entry script or the source directory cannot be read.
    """
    folder = RunFolder(Path(spec.output))
    last = last_life(folder)
    if last.record is None or not last.completed:
        return None
    if changes_since(last.record, folder, spec, inputs(), reuse=True):
        return None
    return completed_summary(folder, last.record.run_id)
