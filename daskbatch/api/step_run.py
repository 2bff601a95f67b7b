"""StepRun: one step of a run, and where its output is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.api.datastore import Datastore
from daskbatch.api.documents import read_document
from daskbatch.api.named import not_found
from daskbatch.api.run_files import RunFiles
from daskbatch.api.run_folder import CANCELED, COMPLETED, ENDED, FAILED, RUNNING, PipelineFolder, read_state
from daskbatch.engine.status import read_status
from daskbatch.errors import RunCanceled, RunFailed, UsageError
from daskbatch.layout import LOGS, RUN_SUMMARY

if TYPE_CHECKING:
    from daskbatch.api.pipeline_run import PipelineRun

__all__ = ["PortDataReference", "StepRun"]

_LOOK_EVERY = 0.2  # seconds


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


class StepRun(RunFiles):
    """A step of a `PipelineRun`, which hands it out."""

    type = "azureml.StepRun"

    def __init__(self, parent: PipelineRun, document: Mapping[str, Any]) -> None:
        self.parent = parent
        self._document = document
        self.name = str(document["name"])
        self.id = str(self._state()["run_id"])

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
    def run_id(self) -> str:
        """The same as `id`."""
        return self.id

    @property
    def display_name(self) -> str:
        """The step's name."""
        return self.name

    @property
    def is_reused(self) -> bool:
        """Whether nothing was run, as an earlier run had done the same."""
        return bool(self._state()["reused"])

    @property
    def status(self) -> str:
        """The same as `get_status()`."""
        return self.get_status()

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
            "target": self._document["compute_target"],
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
        """Counts of mini-batches, items and tries: those at the end, or as they are now.

        Parameters
        ----------
        name : str, optional
            One of them alone.
        """
        state = self._state()
        found = _counts(self._folder(state), state["status"])
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
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        shown = None
        while True:
            over = self.parent.get_status() in ENDED
            state = self._state()
            if show_output and state["status"] != shown:
                shown = state["status"]
                print(f"{self.name}: {shown}", file=sys.stdout, flush=True)
            if state["status"] in ENDED or over:
                break
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"The step {self.name!r} is {state['status']} after {timeout_seconds:g} s.")
            time.sleep(_LOOK_EVERY)
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


def _counts(folder: Path, status: str) -> dict[str, Any]:
    summary = read_document(folder / RUN_SUMMARY)
    if summary is not None:
        found = {"tries": summary.get("tries"), "seconds": summary.get("seconds")}
        for noun in ("mini_batches", "items"):
            for key in ("total", "succeeded", "failed"):
                found[f"{noun}_{key}"] = (summary.get(noun) or {}).get(key)
        return {key: value for key, value in found.items() if value is not None}
    if status != RUNNING:
        return {}
    try:
        return dict(read_status(folder).progress or {})
    except UsageError:  # the engine has only begun
        return {}
