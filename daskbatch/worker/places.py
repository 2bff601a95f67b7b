"""Where the runners of one worker write, and how that gets to the run's output."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from daskbatch.remote.errors import StorageError
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.retrying import Limit
from daskbatch.remote.segments import SegmentObjectWriter
from daskbatch.remote.uploads import Uploads
from daskbatch.remote.urls import is_remote, join
from daskbatch.store.segments import SegmentWriter, Writer
from daskbatch.worker.scratch import Scratch

__all__ = ["FolderPlaces", "Places", "StorePlaces", "places_of"]

_SEND_EVERY = 15.0
"""Seconds between two looks at the logs."""
_AT_THE_END = Limit(tries=5, seconds=20.0)
"""A worker that ends waits no longer for a store that is gone."""


class FolderPlaces:
    """Of a run whose output is a folder that the worker sees: everything is written in its place."""

    def __init__(self, output: str, state: str, script_output: str) -> None:
        self.logs = Path(output, "logs")
        """Of all processes."""
        self.models = os.path.join(state, "models")
        """Notes which models are used."""
        self._script_output = script_output
        self._state = state

    def script_output(self, process: str) -> str:
        """Folder for what the script writes in this process."""
        return self._script_output

    def files(self, process: str) -> Uploads | None:
        """What has to be put before the results of this process count."""
        return None

    def writer(self, name: str) -> Writer:
        """Writes segments of that name."""
        return SegmentWriter(Path(self._state, "segments"), name)

    def make(self, folder: Path) -> None:
        """Have a folder for logs."""
        folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """No process writes any more."""


class StorePlaces:
    """Of a run whose output lies on a store: files are written to the worker's scratch folder and put from there.

    Logs now and then, and at the end; what a script writes and the models that it uses before its results count.
    """

    def __init__(
        self,
        output: str,
        state: str,
        script_output: str,
        options: StorageOptions,
        scratch: Scratch,
        models: Mapping[str, bytes],
    ) -> None:
        local = os.path.join(scratch.path, "output")
        self.logs = Path(local, "logs")
        self.models = os.path.join(local, "models")
        self._written = os.path.join(local, "written")
        self._script_output = script_output
        self._state = state
        self._options = options
        self._scratch = scratch
        scratch.folders.append(self.models)
        scratch.files |= {os.path.join(self.models, name): content for name, content in models.items()}
        self._logs_url = join(output, "logs")
        self._logs_sent = Uploads({str(self.logs): self._logs_url}, options)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_logs, name="daskbatch-logs", daemon=True)
        self._thread.start()

    def script_output(self, process: str) -> str:
        """Folder for what the script writes in this process."""
        if not is_remote(self._script_output):
            return self._script_output
        folder = os.path.join(self._written, process)
        if folder not in self._scratch.folders:
            self._scratch.folders.append(folder)
        return folder

    def files(self, process: str) -> Uploads | None:
        """What has to be put before the results of this process count."""
        folders = {self.models: join(self._state, "models")}
        if is_remote(self._script_output):
            folders[self.script_output(process)] = self._script_output
        return Uploads(folders, self._options)

    def writer(self, name: str) -> Writer:
        """Writes segments of that name."""
        return SegmentObjectWriter(join(self._state, "segments"), name, self._options)

    def make(self, folder: Path) -> None:
        """Have a folder for logs."""
        self._scratch.folders.append(str(folder))

    def close(self) -> None:
        """No process writes any more: put the rest of the logs."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(StorageError, OSError):  # nobody would hear it, and the results are there
            self._logs_sent.limit = _AT_THE_END
            self._logs_sent.send()

    def _send_logs(self) -> None:
        while not self._ended.wait(_SEND_EVERY):
            with contextlib.suppress(StorageError, OSError):
                self._logs_sent.send()


Places = FolderPlaces | StorePlaces


def places_of(
    output: str,
    state: str,
    script_output: str,
    options: StorageOptions,
    scratch: Scratch,
    models: Mapping[str, bytes],
) -> Places:
    """Where the runners of a worker write.

    Parameters
    ----------
    output, state, script_output : str
        Folders, or URLs.
    options
        How the store of URLs is reached.
    scratch : Scratch
        Of the worker; not made yet.
    models : mapping
        Files that say which models the run uses already, where the worker does not find them by itself.
    """
    if is_remote(output):
        return StorePlaces(output, state, script_output, options, scratch, models)
    return FolderPlaces(output, state, script_output)
