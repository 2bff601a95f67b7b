"""Doing a pipeline's steps, each once those that it needs are done."""

from __future__ import annotations

import functools
import threading
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from daskbatch.api.data_path import DataPath
from daskbatch.api.execution import Call, Data, environment_options, live_inputs, output_place, step_call
from daskbatch.api.inputs import resolve_inputs
from daskbatch.api.pipeline_document import needs_of
from daskbatch.api.places import is_url
from daskbatch.api.relocation import relocated
from daskbatch.api.run_folder import CANCELED, COMPLETED, FAILED, NOT_STARTED, RUNNING, PipelineFolder, now
from daskbatch.api.step_engine import run_step
from daskbatch.api.step_results import (
    is_published,
    publish,
    publish_to_store,
    recall,
    register,
    remember,
    reuse_key,
    script_folder,
)
from daskbatch.api.workspace import Workspace
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.planning import digest_of_inputs
from daskbatch.engine.reuse import reusable
from daskbatch.errors import DaskbatchError, RunCanceled, TakenOver
from daskbatch.options import make_spec

__all__ = ["Coordination", "Done"]

STEPS_AT_ONCE = 2
"""Steps that do not need each other and run at the same time; ``"steps_at_once"`` in ``config.json`` changes it."""
_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Done:
    """A step that has completed."""

    folder: Path
    """The engine's output folder."""
    place: DataPath | None
    """Where its output is."""
    run_id: str
    """Of the run that did the work."""
    reused: bool = False


class Coordination:
    """The work on one run of a pipeline.

    Parameters
    ----------
    folder : PipelineFolder
    number : int
        Of the coordinator.
    workspace : Workspace
    document : mapping
        The content of ``run.json``, with values for the steps' environment variables.
    live : mapping
        Inputs that are in this program alone, by the names of step and input.
    log : file
        Takes what there is to say.
    """

    def __init__(
        self,
        folder: PipelineFolder,
        number: int,
        workspace: Workspace,
        document: Mapping[str, Any],
        live: Mapping[tuple[str, str], Data],
        log: TextIO,
    ) -> None:
        self.log = log
        self.number = number
        self.folder, self.workspace, self.document, self.live = folder, workspace, document, live
        old, new = str(document["root"]), str(workspace.root)
        self.moved = old != new
        self.pipeline = relocated(document["pipeline"], old, new) if self.moved else document["pipeline"]
        self.steps = {step["name"]: step for step in self.pipeline["steps"]}
        self.state: dict[str, Any] = {}
        self.canceling = False
        self.written: dict[str, DataPath] = {}
        self._said: set[str] = set()

    def cancel(self) -> None:
        """End the run soon; called from anywhere."""
        self.canceling = True

    def say(self, text: str, step: str | None = None) -> None:
        """Write lines into the log."""
        label = "" if step is None else f"[{step}] "
        for line in text.splitlines():
            if line.strip():
                print(f"{time.strftime('%H:%M:%S')} {label}{line}", file=self.log, flush=True)

    def _say_once(self, text: str) -> None:
        """What holds for each step with the same environment."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def work(self, before: Mapping[str, Any]) -> str:
        """Do what is not done, and return the run's status.

        Parameters
        ----------
        before : mapping
            How the run is.

        Raises
        ------
        TakenOver
            It was resumed meanwhile, as this process stood still. Nothing is said or written any more.
        """
        self.state = {**before, "status": RUNNING, "started": before.get("started") or now(), "ended": None}
        self.state |= {"error": None, "steps": {name: self._taken_up(before, name) for name in self.steps}}
        self._write()
        running: dict[Future[Done], str] = {}
        count = max(1, int(self.workspace.config.get("steps_at_once", STEPS_AT_ONCE)))
        while True:
            if self.folder.latest() != self.number:
                raise TakenOver(f"The run {self.document['run_id']} was resumed while its coordinator stood still.")
            for future in [one for one in running if one.done()]:
                self._close(running.pop(future), future)
            self.canceling = self.canceling or self.folder.cancel(self.number).exists()
            for name in self._ready()[: count - len(running)]:
                self._set(name, status=RUNNING, started=now())
                running[self._begin(self.steps[name])] = name
            if not running:
                return self._end()
            if self.canceling:
                self._cancel_steps(running.values())
            wait(running, _LOOK_EVERY, FIRST_COMPLETED)

    def _taken_up(self, before: Mapping[str, Any], name: str) -> dict[str, Any]:
        """A step's state as it is to begin with: what has completed stays."""
        known: dict[str, Any] = before["steps"][name]
        if known["status"] != COMPLETED:
            return {**known, "status": NOT_STARTED, "ended": None, "error": None}
        if known["output"] is not None:
            place = known["output"]
            self.written[name] = self.workspace.datastores[place["datastore"]].path(place["path"])
        return known

    def _ready(self) -> list[str]:
        states = {name: step["status"] for name, step in self.state["steps"].items()}
        failed = FAILED in states.values() and not self.pipeline["continue_on_step_failure"]
        if failed or self.canceling:
            return []
        return [
            name
            for name, step in self.steps.items()
            if states[name] == NOT_STARTED and all(states[other] == COMPLETED for other in needs_of(step))
        ]

    def _cancel_steps(self, names: Any) -> None:
        """Asked again and again: an engine that only begins would take no notice."""
        for name in names:
            state = RunFolder(self.folder.step(name))
            if state.state.is_dir():
                state.cancel.touch(0o600)

    def _close(self, name: str, future: Future[Done]) -> None:
        error = future.exception()
        if error is None:
            done = future.result()
            output = None
            if done.place is not None:
                self.written[name] = done.place
                known = self.state["steps"][name]["output"]
                output = {**known, "datastore": done.place.datastore.name, "path": done.place.relative}
            where = str(done.folder.relative_to(self.workspace.folder))
            source = done.run_id if done.reused else None
            more = {"output": output, "folder": where, "reused": done.reused, "reused_run_id": source}
            self._set(name, status=COMPLETED, ended=now(), **more)
        elif isinstance(error, RunCanceled):
            self._set(name, status=CANCELED, ended=now(), error=_told(error))
        else:
            if not isinstance(error, DaskbatchError):
                traceback.print_exception(error, file=self.log)
            self._set(name, status=FAILED, ended=now(), error=_told(error))

    def _end(self) -> str:
        states = {name: step["status"] for name, step in self.state["steps"].items()}
        failed = [name for name, status in states.items() if status == FAILED]
        if failed:
            error = self.state["steps"][failed[0]]["error"]
            told = f"The step {failed[0]!r} failed: {error['message']}"
            self.state |= {"status": FAILED, "error": {**error, "message": told}}
        elif all(status == COMPLETED for status in states.values()):
            self.state["status"] = COMPLETED
        else:
            self.state["status"] = CANCELED
        self.state["ended"] = now()
        for name, status in states.items():
            if status == NOT_STARTED:
                self.say(self._why_not_begun(name, failed))
        self.say(f"The run {self.document['run_id']} is {self.state['status']}.")
        self._write()  # last: who waits for it shows the log then
        return str(self.state["status"])

    def _why_not_begun(self, name: str, failed: list[str]) -> str:
        left = [other for other in needs_of(self.steps[name]) if self.state["steps"][other]["status"] != COMPLETED]
        if left:
            why = f"it needs {', '.join(left)}, which did not complete"
        elif failed:
            why = f"the step {failed[0]} failed, and continue_on_step_failure is off"
        else:
            why = "the run was canceled"
        return f"The step {name} was not begun: {why}."

    def _set(self, name: str, **values: Any) -> None:
        self.state["steps"][name] |= values
        reused = " (reused)" if values.get("reused") else ""
        self.say(f"The step {name} is {values['status']}{reused}.")
        if values.get("error"):
            self.say(str(values["error"]["message"]))
        self._write()

    def _write(self) -> None:
        self.folder.write_state(self.number, self.state)

    def _begin(self, step: Mapping[str, Any]) -> Future[Done]:
        """Do a step in a thread of its own, for which no end of the program waits by itself."""
        future: Future[Done] = Future()

        def work() -> None:
            try:
                future.set_result(self._do(step))
            except BaseException as error:  # who asks for the result gets it
                future.set_exception(error)

        threading.Thread(target=work, name=f"daskbatch-step-{step['name']}", daemon=True).start()
        return future

    def _do(self, step: Mapping[str, Any]) -> Done:
        """Do one step; called in a thread of its own."""
        name, run_id = step["name"], self.state["steps"][step["name"]]["run_id"]
        say = functools.partial(self.say, step=name)
        lent = {
            **self.workspace.compute_targets[step["compute_target"]].options(),
            **environment_options(step["environment"], self.workspace, self._say_once),
        }
        live = live_inputs(self.live, step)

        def call(place: DataPath | None, folder: Path) -> Call:
            output = script_folder(place, folder)
            return step_call(step, self.workspace, output, self.written, live, lent, str(self.folder.document))

        place = output_place(step, run_id, self.workspace)
        folder = self.folder.step(name)
        made = call(place, folder)
        key = None if live else reuse_key(step, made)
        if key is not None and step["allow_reuse"] and not step["regenerate_outputs"]:
            found = self._earlier(key, call)
            if found is not None:
                return found
        ended = run_step(made, folder, say, self._how_to_go_on, is_first=self.number == 1, moved=self.moved)
        if place is not None:
            if is_url(place.place()):
                publish_to_store(ended, place, str(script_folder(place, folder)))
            else:
                publish(ended, Path(place.place()))
            register(step, place, self.workspace)
        if key is not None:
            remember(key, folder, place, run_id, self.workspace)
        return Done(folder, place, run_id)

    @property
    def _how_to_go_on(self) -> str:
        if self.live:
            return "Next: submit the pipeline again. Completed steps are reused."
        resume = f"run.resume(), or: daskbatch runs --resume {self.document['run_id']}"
        return f"To go on with this run: {resume}\nOr submit the pipeline again: completed steps are reused."

    def _earlier(self, key: str, call: Any) -> Done | None:
        """The same step of an earlier run, if its result still serves."""
        known = recall(key, self.workspace)
        if known is None:
            return None
        folder, output = self.workspace.folder / known["folder"], known["output"]
        if folder.is_relative_to(self.folder.path):
            return None  # its own, of a coordinator that was killed: it goes on with that
        if output is None:
            place = None
        elif output["datastore"] not in self.workspace.datastores:
            return None  # unregistered since: the step is done anew, where its output goes now
        else:
            place = self.workspace.datastores[output["datastore"]].path(output["path"])
        made = call(place, folder)  # as it was called then: with its own output among the arguments
        options = dict(made.options)
        paths, collection = resolve_inputs(made.inputs, options)  # type: ignore[arg-type]
        spec = make_spec(made.entry, paths, output=str(folder), **options)
        summary = reusable(spec, digest_of_inputs(spec, collection))
        if summary is None or (place is not None and not is_published(known, place)):
            return None
        return Done(folder, place, known["run_id"], reused=True)


def _told(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error) or type(error).__name__}
