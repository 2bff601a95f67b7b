"""RunDetails: how a run is, shown once."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskbatch.api.pipeline_run import PipelineRun
from daskbatch.errors import UsageError
from daskbatch.layout import FAILED_ITEMS
from daskbatch.report.console import in_notebook
from daskbatch.report.words import quantity

__all__ = ["RunDetails"]

_MOST_FAILED = 20
"""Failed mini-batches shown of a step; there may be millions."""
_LONGEST = 300  # characters of an error's message


class RunDetails:
    """Steps, states, progress and failed items of a run, as they are at the moment of `show`.

    A picture, which does not move: call `show` again for the next one. A widget that follows the run is still to come.

    Parameters
    ----------
    run_instance : PipelineRun
        What ``Experiment.submit`` returns.

    Raises
    ------
    UsageError
        It is something else.
    """

    def __init__(self, run_instance: PipelineRun) -> None:
        if not isinstance(run_instance, PipelineRun):
            raise UsageError(
                f"RunDetails takes the PipelineRun that Experiment.submit returns, got {type(run_instance).__name__}."
            )
        self._run = run_instance

    def show(self, render_lib: object = None, widget_settings: Mapping[str, Any] | None = None) -> None:
        """Print it in a terminal; display a table in a notebook.

        Parameters
        ----------
        render_lib, widget_settings
            Taken as Azure does, and ignored.
        """
        if in_notebook():
            from IPython.display import HTML, display

            display(HTML(self._repr_html_()))
        else:
            print(self.text, flush=True)

    def get_widget_data(self) -> dict[str, Any]:
        """The same as the run's ``get_details()``."""
        return self._run.get_details()

    @property
    def text(self) -> str:
        """What a terminal shows."""
        steps = self._steps()
        width = max(len(step["name"]) for step in steps)
        lines = [self._title()]
        for step in steps:
            lines.append(f"  {step['name']:{width}}  {step['state']:10}  {step['progress']}".rstrip())
            lines += [f"    {name}: {message}" for name, message in step["failed"]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for step in self._steps():
            failed = "<br>".join(html.escape(f"{name}: {message}") for name, message in step["failed"])
            cells = [*(html.escape(step[key]) for key in ("name", "state", "progress")), failed]
            rows.append("<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>")
        head = "".join(
            f'<th style="text-align:left">{name}</th>' for name in ("Step", "State", "Progress", "Failed items")
        )
        title = html.escape(self._title())
        return f"<p>{title}</p><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

    def _title(self) -> str:
        return f"Run {self._run.id} of {self._run.experiment.name!r}: {self._run.get_status()}"

    def _steps(self) -> list[dict[str, Any]]:
        found = []
        for step in self._run.get_steps():
            details = step.get_details()
            failed = _failed(step.folder)
            if details["error"] is not None and not failed:
                failed = [("Error", _short(details["error"]["message"]))]
            state = details["status"] + (" (reused)" if step.is_reused else "")
            found.append(
                {"name": step.name, "state": state, "progress": _progress(step.get_metrics()), "failed": failed}
            )
        return found


def _progress(counts: Mapping[str, Any]) -> str:
    """Counts of a step that has ended, or that runs."""
    total = counts.get("mini_batches_total")
    if total is None:
        return ""
    ended = counts.get("mini_batches_succeeded", 0) + counts.get("mini_batches_failed", 0)
    about = "" if counts.get("total_is_exact", True) else "about "
    parts = [f"{counts.get('mini_batches_done', ended):,} of {about}{quantity(total, 'mini-batch')}"]
    if counts.get("items_failed"):
        parts.append(f"{quantity(counts['items_failed'], 'item')} failed")
    return ", ".join(parts)


def _failed(folder: Path) -> list[tuple[str, str]]:
    """Names and errors of the first mini-batches that failed, and a line where there are more."""
    try:
        with (folder / FAILED_ITEMS).open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in itertools.islice(lines, _MOST_FAILED)]
            is_more = next(lines, None) is not None
    except OSError:
        return []
    shown = [(_name(entry), _short(f"{entry['error']}: {entry['message']}")) for entry in entries]
    return shown + ([("More", str(folder / FAILED_ITEMS))] if is_more else [])


def _name(entry: Mapping[str, Any]) -> str:
    """The files of a mini-batch; its own name where it has none, as in a collection."""
    paths = entry.get("paths")
    if not paths:
        return f"mini-batch {entry['mini_batch']}"
    text = str(paths[0]) + (f" and {quantity(len(paths) - 1, 'other')}" if len(paths) > 1 else "")
    return text + (", {} to {}".format(*entry["range"]) if "range" in entry else "")


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
