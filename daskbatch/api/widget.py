"""RunDetails: how a run is, shown so that it moves."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskbatch.api.pipeline_run import PipelineRun
from daskbatch.api.run import Run
from daskbatch.api.step_run import StepRun
from daskbatch.api.store_path import StorePath
from daskbatch.api.widget_html import as_html, as_text
from daskbatch.api.widget_live import LiveView, bundle, has_widgets
from daskbatch.api.widget_picture import EngineReader, PipelineReader, Reader
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.status import read_status
from daskbatch.errors import UsageError
from daskbatch.report.console import in_notebook

__all__ = ["RunDetails"]

_STILL = (
    "RunDetails shows the run as it is now, and does not move: ipywidgets is missing. Next:"
    " pip install ipywidgets, or call show() again."
)
_said: set[str] = set()


class RunDetails:
    """Steps, states, progress, failed items and logs of a run.

    In a notebook `show` displays a widget, which moves until the run has ended, whether the kernel is idle or busy;
    what it shows in the end stays in the notebook. Without ipywidgets, and in a terminal, it shows how the run is now.

    Parameters
    ----------
    run_instance : PipelineRun, StepRun, Run or path
        What ``Experiment.submit`` or ``daskbatch.run`` returns, a step of a run, or the output folder of a
        ``daskbatch.run`` that may still go on.

    Raises
    ------
    UsageError
        It is something else, or there is no run in that folder.
    """

    def __init__(self, run_instance: PipelineRun | StepRun | Run | str | os.PathLike[str]) -> None:
        if not isinstance(run_instance, PipelineRun | StepRun | Run | str | os.PathLike):
            raise UsageError(
                "RunDetails takes the run that Experiment.submit or daskbatch.run returns, a step of one, or an output"
                f" folder, got {type(run_instance).__name__}."
            )
        self._run = run_instance
        self._reader()  # refuses a folder without a run

    def show(self, render_lib: object = None, widget_settings: Mapping[str, Any] | None = None) -> None:
        """Display it in a notebook, print it in a terminal. Returns at once.

        Parameters
        ----------
        render_lib, widget_settings
            Taken as Azure does, and ignored.
        """
        if not in_notebook():
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # it may know less than a path holds
            print(self.text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
            return
        reader = self._reader()
        picture = reader.read()
        moves = has_widgets()
        if moves and not picture.over:
            LiveView(reader, picture).show(picture)
            return
        from IPython.display import display

        display(bundle(picture), raw=True)
        if not moves and not picture.over and _STILL not in _said:
            _said.add(_STILL)
            warnings.warn(_STILL, stacklevel=2)

    def get_widget_data(self) -> dict[str, Any]:
        """The same as the run's ``get_details()``; of a run by its folder, what ``daskbatch status --json`` tells."""
        if isinstance(self._run, PipelineRun | StepRun):
            return self._run.get_details()
        return read_status(RunFolder(_output(self._run))).as_json()

    @property
    def text(self) -> str:
        """What a terminal shows."""
        return as_text(self._reader().read())

    def _repr_html_(self) -> str:
        return as_html(self._reader().read())

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """The run as it is now, where a notebook shows this object itself."""
        return bundle(self._reader().read())

    def _reader(self) -> Reader:
        if isinstance(self._run, PipelineRun):
            return PipelineReader(self._run)
        if isinstance(self._run, StepRun):
            return PipelineReader(self._run.parent, self._run.name)
        return EngineReader(_output(self._run))


def _output(run: Run | str | os.PathLike[str]) -> Path:
    output = run.output if isinstance(run, Run) else run
    if isinstance(output, StorePath) or "://" in os.fspath(output):
        raise UsageError(
            f"RunDetails shows runs in folders, and {str(output)!r} is on a store. Next: daskbatch status {output}, or"
            " the progress that daskbatch.run shows."
        )
    return Path(output)
