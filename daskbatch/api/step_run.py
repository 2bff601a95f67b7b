"""StepRun: one step of a run, and where its output is."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.datastore import Datastore
from daskbatch.api.documents import read_document
from daskbatch.api.named import not_found
from daskbatch.api.run_folder import CANCELED, COMPLETED, ENDED, FAILED, RUNNING, PipelineFolder, read_state
from daskbatch.api.submitted import SubmittedRun
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.status import read_status
from daskbatch.errors import RunCanceled, RunFailed, UsageError
from daskbatch.layout import LOGS, RUN_SUMMARY

if TYPE_CHECKING:
    from daskbatch.api.pipeline_run import PipelineRun

__all__ = ["PortDataReference", "StepRun"]


class PortDataReference:
    """Where a step's output is."""

    def __init__(self, name: str, datastore: Datastore, path_on_datastore: str) -> None:
        self.name = name
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore
        """The folder, below the datastore's root."""

    def __repr__(self) -> str:
        return f"<PortDataReference {self.name!r}: {self.path_on_datastore!r} in {self.datastore.name!r}>"

    @property
    def data_store(self) -> Datastore:
        """The same as `datastore`."""
        return self.datastore

    @property
    def data_reference_name(self) -> str:
        """The same as `name`."""
        return self.name

    def get_port_data_reference(self) -> PortDataReference:
        """Itself: in Azure, an output is asked for the place that it is in."""
        return self

    def download(
        self, local_path: str | os.PathLike[str], overwrite: bool | None = None, show_progress: bool | None = None
    ) -> int:
        """Copy the output's files, under the paths that they have in the datastore.

        Parameters
        ----------
        local_path : path
            A folder, made where it is missing.
        overwrite : bool, optional
            Whether to replace files that are there.
        show_progress : bool, optional
            Whether to print a line for each file; by default yes.

        Returns
        -------
        int
            How many files were copied.
        """
        shown = show_progress is None or show_progress
        return self.datastore.download(local_path, f"{self.path_on_datastore}/", bool(overwrite), shown)


class StepRun(SubmittedRun):
    """A step of a `PipelineRun`, which hands it out."""

    type = "azureml.StepRun"

    def __init__(self, parent: PipelineRun, name: str, run_id: str, compute_target: str) -> None:
        self.parent = parent
        self.name = name
        self.id = run_id
        self._compute_target = compute_target

    def __repr__(self) -> str:
        return f"<StepRun {self.name!r} of {self.parent.id}: {self.get_status()}>"

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = read_state(PipelineFolder(self.parent.folder))["steps"][self.name]
        return state

    @property
    def folder(self) -> Path:
        """The engine's output folder; that of the earlier run, where its result is reused."""
        return self._folder(self._state())

    def _folder(self, state: Mapping[str, Any]) -> Path:
        if state["reused"]:
            return self.parent.workspace.folder / str(state["folder"])
        return PipelineFolder(self.parent.folder).step(self.name)

    @property
    def display_name(self) -> str:
        """The step's name."""
        return self.name

    @property
    def is_reused(self) -> bool:
        """Whether nothing was run, as an earlier run had done the same."""
        return bool(self._state()["reused"])

    def get_status(self) -> str:
        """``"NotStarted"``, ``"Running"``, ``"Completed"``, ``"Failed"`` or ``"Canceled"``."""
        return str(self._state()["status"])

    def get_details(self) -> dict[str, Any]:
        """All that is known of it, as JSON values."""
        state = self._state()
        folder = self._folder(state)
        logs = [name for name in self.get_file_names() if name.startswith(LOGS)]
        return {
            "runId": self.id,
            "name": self.name,
            "target": self._compute_target,
            "status": state["status"],
            "startTimeUtc": state["started"],
            "endTimeUtc": state["ended"],
            "error": state["error"],
            "properties": {"azureml.isreused": "true", "azureml.rootpipelinerunid": self.parent.id}
            | ({} if state["reused"] else {"azureml.isreused": "false"}),
            "reusedRunId": state["reused_run_id"],
            "folder": str(folder),
            "output": state["output"],
            "logFiles": {name: str(folder / name) for name in logs},
        }

    def get_metrics(self, name: str | None = None, **_: object) -> dict[str, Any]:
        """Counts of mini-batches, items and tries: those at the end, or as they are now, under the same names.

        While it runs there is no ``"items_total"``, and ``"mini_batches_total"`` of tables may be an estimate.

        Parameters
        ----------
        name : str, optional
            One of them alone.
        """
        state = self._state()
        found = _counts(self._folder(state), state)
        return found if name is None else {key: value for key, value in found.items() if key == name}

    def get_output_data(self, name: str) -> PortDataReference:
        """Where the output is, or will be.

        Parameters
        ----------
        name : str
            Of the output.

        Raises
        ------
        NotFound
            The step has no such output.
        """
        output = self._state()["output"]
        known = [] if output is None else [one for one in (output["name"], output["output_name"]) if one]
        if name not in known:
            raise not_found(f"output of the step {self.name!r}", name, known)
        return PortDataReference(name, self.parent.workspace.datastores[output["datastore"]], output["path"])

    def get_outputs(self) -> dict[str, PortDataReference]:
        """The step's output by its name; empty for a step without one."""
        output = self._state()["output"]
        return {} if output is None else {output["name"]: self.get_output_data(output["name"])}

    def get_output(self, name: str) -> PortDataReference:
        """The same as `get_output_data`."""
        return self.get_output_data(name)

    def wait_for_completion(
        self, show_output: bool = False, timeout_seconds: float | None = None, raise_on_error: bool = True
    ) -> str:
        """Wait until the step has ended, or its run without it.

        Parameters
        ----------
        show_output : bool
            Print the states meanwhile.
        timeout_seconds, raise_on_error
            As for `PipelineRun.wait_for_completion`.

        Returns
        -------
        str
            The status.

        Raises
        ------
        RunFailed, RunCanceled, TimeoutError
            As for `PipelineRun.wait_for_completion`.
        """
        state: dict[str, Any] = {}
        shown = None

        def is_over() -> bool:
            nonlocal state, shown
            over = self.parent.get_status() in ENDED
            state = self._state()
            if show_output and state["status"] != shown:
                shown = state["status"]
                print(f"{self.name}: {shown}", file=sys.stdout, flush=True)
            return over or state["status"] in ENDED

        self._wait(is_over, timeout_seconds)
        status = str(state["status"])
        if raise_on_error and status == FAILED:
            raise RunFailed(str(state["error"]["message"]))
        if raise_on_error and status != COMPLETED:
            word = "was canceled" if status == CANCELED else "was not begun"
            raise RunCanceled(f"The step {self.name!r} {word}.")
        return status

    def cancel(self) -> None:
        """Ask the whole run to end; see `PipelineRun.cancel`."""
        self.parent.cancel()


def _counts(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    if state["status"] == RUNNING:
        now = _progress(folder)
        if now is not None or not _has_ended_since(folder, str(state["started"])):
            return now or {}
    summary = read_document(folder / RUN_SUMMARY)
    if summary is None:
        return {}
    found = {"tries": summary.get("tries"), "seconds": summary.get("seconds")}
    for noun in ("mini_batches", "items"):
        for key in ("total", "succeeded", "failed"):
            found[f"{noun}_{key}"] = (summary.get(noun) or {}).get(key)
    return {key: value for key, value in found.items() if value is not None}


def _has_ended_since(folder: Path, began: str) -> bool:
    """Whether the summary is of the engine that is at work on the step, and not of an attempt before a resume."""
    try:
        written = (folder / RUN_SUMMARY).stat().st_mtime
    except FileNotFoundError:
        return False
    return written >= dt.datetime.fromisoformat(began).timestamp()


def _progress(folder: Path) -> dict[str, Any] | None:
    """The counts as they are now; None before the engine counts, and after it has ended."""
    try:
        now = read_status(RunFolder(folder)).progress
    except UsageError:  # the engine has only begun
        return None
    if now is None:
        return None
    return {
        "tries": now["mini_batches_done"] + now["retries"],
        "seconds": now["elapsed"],
        "mini_batches_total": now["mini_batches_total"],
        "mini_batches_succeeded": now["mini_batches_done"] - now["mini_batches_failed"],
        "mini_batches_failed": now["mini_batches_failed"],
        "items_succeeded": max(0, now["items_done"] - now["items_failed"]),
        "items_failed": now["items_failed"],
    }
