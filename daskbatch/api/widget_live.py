"""A view of a run that moves by itself in a notebook, until the run has ended."""

from __future__ import annotations

import secrets
import threading
import weakref
from typing import Any

from daskbatch.api.widget_html import as_html, as_text, parts_of
from daskbatch.api.widget_picture import Picture, Reader
from daskbatch.errors import UsageError

__all__ = ["EVERY", "LiveView", "bundle", "has_widgets"]

EVERY = 1.0
"""Seconds between two looks at the run's files."""

_SHOWN: weakref.WeakSet[LiveView] = weakref.WeakSet()


def has_widgets() -> bool:
    """Whether ipywidgets is there."""
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


def bundle(picture: Picture, note: str = "") -> dict[str, Any]:
    """One output in all the forms that stand without a kernel."""
    return {"text/plain": as_text(picture), "text/html": as_html(picture, note)}


class LiveView:
    """One display of a run: in the front end, widgets whose text a thread of the kernel exchanges.

    The thread reads the run's files, so it moves while the kernel is idle and while it is busy. At the end plain HTML
    takes the widgets' place: that stays in the notebook's file, and shows without a kernel.

    Parameters
    ----------
    reader : Reader
    picture : Picture
        What to begin with.
    """

    def __init__(self, reader: Reader, picture: Picture) -> None:
        from ipywidgets import VBox

        self._reader = reader
        self._parts: dict[str, Any] = {}
        self._box = VBox()
        self._box.add_class("dbr-all")
        self._id = secrets.token_hex(16)
        self._cell = _running_cell()
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._update(picture)
        self.thread = threading.Thread(target=self._follow, name="daskbatch-widget", daemon=True)

    def show(self, picture: Picture) -> None:
        """Display it in the cell that runs, and begin to move. A view that the same cell showed before ends."""
        from IPython.display import display

        view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        content = {**bundle(picture), "application/vnd.jupyter.widget-view+json": view}
        display(content, raw=True, display_id=self._id)
        _listen()
        _SHOWN.add(self)
        self.thread.start()

    def close(self) -> None:
        """Let go of the widgets; the thread ends soon."""
        self._ended.set()
        _SHOWN.discard(self)
        with self._looking:
            self._close_widgets()

    def end_if_in(self, cell: str | None) -> None:
        """Close it if that cell shows it."""
        if cell is not None and cell == self._cell:
            self.close()

    def look(self) -> None:
        """Show how the run is now."""
        with self._looking:
            if self._ended.is_set() or self._is_closed():
                self._ended.set()
                return
            try:
                picture = self._reader.read()
            except (OSError, UsageError):  # the run's folder was deleted: what was seen last stays
                self._ended.set()
                return
            if picture.over:
                self._finish(picture)
            else:
                self._update(picture)

    def _follow(self) -> None:
        while not self._ended.wait(EVERY):
            self.look()
        _SHOWN.discard(self)

    def _update(self, picture: Picture) -> None:
        from ipywidgets import HTML

        order = []
        for key, text in parts_of(picture):
            if key not in self._parts:
                self._parts[key] = HTML(text)
                self._parts[key].add_class("dbr-part")
            elif self._parts[key].value != text:
                self._parts[key].value = text
            order.append(self._parts[key])
        if list(self._box.children) != order:
            self._box.children = order

    def _finish(self, picture: Picture) -> None:
        from IPython.display import update_display

        self._ended.set()
        update_display(bundle(picture), raw=True, display_id=self._id)
        self._close_widgets()

    def _close_widgets(self) -> None:
        for widget in (self._box, *self._parts.values()):
            for part in (widget, widget.layout, getattr(widget, "style", None)):
                if part is not None:
                    part.close()

    def _is_closed(self) -> bool:
        """Whether somebody has closed the widget, here or in the front end."""
        comm = self._box.comm
        return comm is None or bool(getattr(comm, "_closed", False))


def _running_cell() -> str | None:
    """What the front end calls the cell that runs, where it says so."""
    from IPython import get_ipython

    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = (parent.get("metadata") or {}).get("cellId")
    return None if cell is None else str(cell)


def _listen() -> None:
    """Hear of cells that begin and end."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or _cell_begins in shell.events.callbacks["pre_run_cell"]:
        return
    shell.events.register("pre_run_cell", _cell_begins)
    shell.events.register("post_run_cell", _cell_ends)


def _cell_begins(info: Any) -> None:
    """It may be run again: then its old output is gone."""
    for view in list(_SHOWN):
        view.end_if_in(getattr(info, "cell_id", None))


def _cell_ends(_: Any) -> None:
    """It may have waited for the run: a notebook that is executed as a whole is saved as it is now."""
    for view in list(_SHOWN):
        view.look()
