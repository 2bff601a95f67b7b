"""Beginning a pipeline's run: its folder, and the coordinator that works on it."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.code_snapshot import with_snapshot
from daskbatch.api.coordinator_life import coordinate
from daskbatch.api.documents import write_document
from daskbatch.api.execution import check_step, live_inputs, output_place
from daskbatch.api.ignored import users_line
from daskbatch.api.run_at_exit import wait_at_exit
from daskbatch.api.run_folder import COMPLETED, ENDED, NOT_STARTED, PipelineFolder, now, read_state
from daskbatch.api.secret_variables import Values, given_again, without_values
from daskbatch.engine.heartbeat import begin_heartbeat, write_heartbeat
from daskbatch.engine.owner import this_process
from daskbatch.errors import UsageError
from daskbatch.worker.models import latest_versions

if TYPE_CHECKING:
    from daskbatch.api.pipeline import Pipeline

__all__ = ["begin_run", "go_on", "run_folders"]


def run_folders(workspace_folder: Path, experiment: str) -> Path:
    """The folder of an experiment's runs."""
    return workspace_folder / "experiments" / experiment


def begin_run(
    pipeline: Pipeline,
    experiment: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    display_name: str | None = None,
    regenerate_outputs: bool = False,
    continue_on_step_failure: bool | None = None,
) -> PipelineFolder:
    """Make the folder of a run and start its coordinator.

    Parameters
    ----------
    pipeline : Pipeline
    experiment : str
        Its name.
    parameters, tags, display_name, regenerate_outputs, continue_on_step_failure
        As for `Experiment.submit`.

    Raises
    ------
    UsageError
        Something is wrong or not there; nothing was started.
    """
    workspace = pipeline.workspace
    notices: dict[str, None] = {}
    bound = pipeline.bind(parameters)
    problems = pipeline.validate()
    if problems:
        raise UsageError("\n".join(problems))
    for step in bound["steps"]:
        step["regenerate_outputs"] = step["regenerate_outputs"] or regenerate_outputs
        try:
            check_step(step, workspace, live_inputs(pipeline.live_inputs, step), notices.setdefault)
        except UsageError as error:
            raise type(error)(f"The step {step['name']!r}: {error}") from None
    if continue_on_step_failure is not None:
        bound["continue_on_step_failure"] = continue_on_step_failure
    _tell_once(workspace.folder, list(notices))
    sources = {step["name"]: step["source_directory"] for step in bound["steps"]}
    bound["steps"] = [with_snapshot(step, workspace) for step in bound["steps"]]
    document, values = without_values(bound)
    run_id, folder = _claim(run_folders(workspace.folder, experiment))
    steps = {step["name"]: _step_state(step, run_id, workspace) for step in bound["steps"]}
    workspace.write_config(folder.path)
    content = {
        "version": 1,
        "run_id": run_id,
        "experiment": experiment,
        "display_name": display_name or bound["display_name"] or run_id,
        "description": bound["description"],
        "tags": {**bound["tags"], **{str(name): str(value) for name, value in (tags or {}).items()}},
        "created": now(),
        "folder": os.getcwd(),
        "root": str(workspace.root),
        "parameters": {name: one["default"] for name, one in bound["parameters"].items()},
        "warnings": list(notices),
        "models": latest_versions(str(workspace.root)),
        "sources": sources,
        "pipeline": document,
    }
    folder.claim(1, {"status": NOT_STARTED, "started": None, "ended": None, "error": None, "steps": steps})
    begin_heartbeat(folder.coordinator(1), _launched(os.getpid()))
    write_document(folder.document, content, overwrite=False)
    if pipeline.live_inputs:
        _run_here(folder, values, pipeline.live_inputs)
    else:
        _launch(folder, 1, values, content["folder"])
    return folder


def go_on(folder: PipelineFolder, environment_variables: Mapping[str, str] | None = None) -> None:
    """Start another coordinator for a run that has ended without being complete, or whose coordinator was killed.

    Parameters
    ----------
    folder : PipelineFolder
    environment_variables : mapping, optional
        Values, which are stored nowhere.

    Raises
    ------
    UsageError
        The run is going on, is complete, or needs values that are not given.
    """
    number = folder.latest() + 1  # before the look at the state: another process may go on with the run meanwhile
    content, state = folder.read(), read_state(folder)
    if state["status"] not in ENDED or state["status"] == COMPLETED:
        raise UsageError(
            f"The run {content['run_id']} is {state['status']}: there is nothing to go on with. Next: submit again."
        )
    if any("live" in one["dataset"] for step in content["pipeline"]["steps"] for one in step["inputs"]):
        raise UsageError("An input was a dataframe of the program that submitted the run. Next: submit it again.")
    values = given_again(content["pipeline"], environment_variables or {})
    try:
        folder.claim(number, {**state, "status": NOT_STARTED, "ended": None, "error": None, "lost": False})
    except FileExistsError:
        raise UsageError(
            f"The run {content['run_id']} was resumed meanwhile, by another process. Next: wait_for_completion()."
        ) from None
    begin_heartbeat(folder.coordinator(number), _launched(os.getpid()))
    _launch(folder, number, values, content["folder"])


def _tell_once(workspace_folder: Path, notices: list[str]) -> None:
    """Warn of what no submission of this workspace has warned of: an environment is submitted again and again."""
    for text in notices:
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        with contextlib.suppress(FileExistsError):
            write_document(workspace_folder / "told" / f"{name}.json", {"text": text}, overwrite=False)
            warnings.warn(text, UserWarning, stacklevel=users_line())


def _claim(experiment: Path) -> tuple[str, PipelineFolder]:
    while True:
        moment = dt.datetime.now(dt.UTC)
        run_id = f"{moment:%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"  # in the order of time
        try:
            experiment.mkdir(parents=True, exist_ok=True)
            (experiment / run_id).mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"{str(experiment)!r} cannot be written: {error.strerror or error}.") from None
        return run_id, PipelineFolder(experiment / run_id)


def _step_state(step: Mapping[str, Any], run_id: str, workspace: Any) -> dict[str, Any]:
    own = f"{run_id}-{step['name']}"
    place = output_place(step, own, workspace)
    output = None
    if place is not None:
        named = {name: step["output"].get(name) for name in ("name", "output_name")}
        output = {**named, "datastore": place.datastore.name, "path": place.relative}
    state = {"run_id": own, "status": NOT_STARTED, "started": None, "ended": None, "error": None}
    return {**state, "output": output, "folder": None, "reused": False, "reused_run_id": None}


def _launched(pid: int) -> dict[str, Any]:
    """The heartbeat of a coordinator before its first beat."""
    return {**this_process(pid), "beat": 0, "over": False, "time": time.time()}


def _launch(folder: PipelineFolder, number: int, values: Values, where: str) -> None:
    """Start the process. It outlives this one, and gets no signal that is meant for it."""
    beat = folder.coordinator(number)
    try:
        with folder.log.open("ab") as log:
            process = subprocess.Popen(
                # -P: no file of the user's in the current folder stands in for a module of Python's
                [sys.executable, "-P", "-m", "daskbatch.coordinator", str(folder.path), str(number)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=where if os.path.isdir(where) else None,
                start_new_session=True,
            )
    except OSError:  # as with too many processes
        write_heartbeat(beat, {**_launched(os.getpid()), "over": True})
        raise
    write_heartbeat(beat, _launched(process.pid))  # it says no word before it has read its input
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # if it has died, its log tells why
        pipe.write(json.dumps(values).encode())
    # Else it would stay as a zombie until this process ends.
    threading.Thread(target=process.wait, name="daskbatch-coordinator-wait", daemon=True).start()


def _run_here(folder: PipelineFolder, values: Values, live: Mapping[tuple[str, str], Any]) -> None:
    """Do the run in a thread: its data is nowhere else."""
    print("An input is a dataframe in this program: the run goes on in it, and a script waits for the run at its end.")

    def work() -> None:
        try:
            with folder.log.open("a", encoding="utf-8") as log:
                coordinate(folder, 1, values, log, live)
        finally:
            over.set()

    over = threading.Event()
    threading.Thread(target=work, name="daskbatch-coordinator", daemon=True).start()
    wait_at_exit(over, folder)
