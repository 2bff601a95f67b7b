"""What can be done about a run by its output folder alone: go on with it, try again what failed, end it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Unpack

from daskbatch.api.compute_definition import with_definition
from daskbatch.api.run import Run, execute_spec
from daskbatch.engine.submission import read_submission
from daskbatch.errors import UsageError
from daskbatch.events import Listener
from daskbatch.layout import COORDINATOR_VARIABLE, VARIABLES_VARIABLE, WORKSPACE_VARIABLE
from daskbatch.options import make_spec
from daskbatch.options.inputs import path_or_url
from daskbatch.options.names import RunOptions
from daskbatch.options.restore import at_another_place, options_from
from daskbatch.options.storage import output_options
from daskbatch.spec import RunSpec

if TYPE_CHECKING:
    from distributed import Client

    from daskbatch.engine.folder import RunFolder
    from daskbatch.engine.status import RunStatus

__all__ = ["cancel", "resume", "retry_failed", "status"]

Folder = str | os.PathLike[str]


def resume(
    output: Folder,
    *,
    client: Client | None = None,
    progress: bool = True,
    listeners: Sequence[Listener] | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Go on with the run in an output folder that was stopped or killed.

    What was committed is not run again. The result of one that is complete is given back.

    Parameters
    ----------
    output : path or URL
        The output folder of the run.
    client, progress, listeners
        As for `daskbatch.run`.
    **options
        Thresholds, timeouts, ``run_max_try``, slots, logging and compute may differ from those that the run began with.
        With another ``compute`` or ``scheduler``, nodes and slots are as that says, or the defaults.
        Values of ``environment_variables`` are stored nowhere, and must be given again.

    Returns
    -------
    Run

    Raises
    ------
    UsageError
        There is no run, or it was made from a function or a Dask dataframe: then repeat the call of `daskbatch.run`.
    RunChanged
        The script, the input or an option is not as it was.
    """
    from daskbatch.engine.begin import Beginning

    spec = _spec_of(output, options)
    return execute_spec(spec, Beginning(), client=client, progress=progress, listeners=listeners)


def retry_failed(
    output: Folder,
    *,
    client: Client | None = None,
    progress: bool = True,
    listeners: Sequence[Listener] | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Try the mini-batches of a run that have finally failed again; the combined file is then whole.

    Parameters
    ----------
    output, client, progress, listeners, **options
        As for `resume`. Such as a longer ``run_invocation_timeout``.

    Returns
    -------
    Run

    Raises
    ------
    UsageError, RunChanged
        As for `resume`.
    """
    from daskbatch.engine.begin import Beginning

    spec = _spec_of(output, options)
    how = Beginning(retry_failed=True)
    return execute_spec(spec, how, client=client, progress=progress, listeners=listeners)


def status(output: Folder, storage_options: Mapping[str, object] | Sequence[str] | None = None) -> RunStatus:
    """How a run is, seen from any process that can read its output folder.

    Parameters
    ----------
    output : path or URL
        The output folder.
    storage_options : mapping, optional
        How the store is reached, where it is a URL; by default as its user has told `daskbatch.submit`.

    Returns
    -------
    RunStatus

    Raises
    ------
    UsageError
        There is no run.
    """
    from daskbatch.engine.status import read_status

    with _opened(output, storage_options) as folder:
        return read_status(folder)


def cancel(output: Folder, storage_options: Mapping[str, object] | Sequence[str] | None = None) -> RunStatus:
    """Ask the run in an output folder to end; it does so within seconds, and can be resumed.

    Parameters
    ----------
    output : path or URL
        The output folder.
    storage_options : mapping, optional
        How the store is reached, where it is a URL; by default as its user has told `daskbatch.submit`.

    Returns
    -------
    RunStatus
        As it was before.

    Raises
    ------
    UsageError
        No engine is at work there.
    """
    from daskbatch.engine.status import ask_to_cancel

    with _opened(output, storage_options) as folder:
        return ask_to_cancel(folder)


def _opened(output: Folder, options: object) -> AbstractContextManager[RunFolder]:
    from daskbatch.engine.opening import opened

    place = path_or_url("output", output)
    submitted = read_submission(place) if "://" in place and not options else None
    if submitted is not None:
        options = submitted.options["output_storage_options"]
    return opened(place, output_options(options, None, place))


def _spec_of(output: Folder, options: RunOptions) -> RunSpec:
    """The run's own options, with those given in their place."""
    given = options.get("output_storage_options", options.get("storage_options"))
    with _opened(output, given) as folder:
        folder.refresh()
        record = folder.read_record()
        place = folder.place
    # What was asked of a coordinator may differ from what the run began with.
    coordinator = os.environ.pop(COORDINATOR_VARIABLE, "")
    submitted = read_submission(place) if record is None or coordinator else None
    if record is None and submitted is None:
        raise UsageError(
            f"There is no run in {os.fspath(output)!r} to go on with. Give the output folder of one, or repeat its"
            " command."
        )
    known = submitted.options if submitted is not None else record.options if record is not None else {}
    if VARIABLES_VARIABLE in os.environ:
        options = {"environment_variables": json.loads(os.environ.pop(VARIABLES_VARIABLE)), **options}
    kept = [name for name in known["environment_variables"] if "environment_variables" not in options]
    if WORKSPACE_VARIABLE in kept:
        raise UsageError(
            f"{os.fspath(output)!r} holds a step of a pipeline's run, which goes on as a whole. Next: daskbatch runs"
            " --resume ID, or submit the pipeline again: completed steps are reused."
        )
    if kept:
        raise UsageError(
            f"The run had environment_variables {', '.join(kept)}, whose values are stored nowhere. Give them again:"
            f" --environment-variables {kept[0]}=... (environment_variables={{{kept[0]!r}: ...}})."
        )
    stored = options_from({**known, "output": place})
    defined = with_definition(options)
    spec = make_spec(**{**at_another_place(stored, defined), **defined})
    # Relative paths in the script's arguments mean the folder that the run was started in.
    return dataclasses.replace(spec, folder=known["folder"])
