"""RunDetails in a real kernel, by the messages that a front end would get."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from lives import PATIENCE
from nbclient import NotebookClient
from widget_run import CELLS, SCRIPT

VIEW = "application/vnd.jupyter.widget-view+json"
THREADS = "import threading; print([t.name for t in threading.enumerate() if t.name == 'daskbatch-widget'])"
SILENCE = 3.0
"""Seconds without a message that tell that none comes any more; there would be one each second."""

Message = dict[str, Any]


class Kernel:
    """A kernel, and what it has said."""

    def __init__(self, folder: Path) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._manager.start_kernel(cwd=str(folder))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def begin(self, code: str, cell: str | None = None) -> str:
        """Send a cell, as a front end that tells its cells' names; return the request's id."""
        message = self._client.session.msg("execute_request", {"code": code, "silent": False, "store_history": True})
        if cell is not None:
            message["metadata"] = {"cellId": cell}
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def until(self, ends: Callable[[Message], object]) -> list[Message]:
        """What it says, up to the first message that `ends` is true of."""
        end, found = time.monotonic() + PATIENCE, []
        while True:
            found.append(self._client.get_iopub_msg(timeout=max(0.1, end - time.monotonic())))
            assert found[-1]["msg_type"] != "error", found[-1]["content"]
            if ends(found[-1]):
                return found

    def run(self, code: str, cell: str | None = None) -> list[Message]:
        """Run a cell to its end."""
        request = self.begin(code, cell)
        return self.until(lambda message: is_idle(message, request))

    def print(self, code: str) -> str:
        """Run a cell; return what it printed."""
        texts = [one["content"]["text"] for one in self.run(code) if one["msg_type"] == "stream"]
        return "".join(texts).strip()

    def said(self) -> list[Message]:
        """All that still comes before a silence."""
        found = []
        while True:
            try:
                found.append(self._client.get_iopub_msg(timeout=SILENCE))
            except queue.Empty:
                return found


def is_idle(message: Message, request: str) -> bool:
    state = message["content"].get("execution_state")
    return state == "idle" and message["parent_header"].get("msg_id") == request


def html_of(message: Message) -> str:
    """The HTML that a message brings to a widget or an output."""
    if message["msg_type"] == "comm_msg":
        return str(message["content"]["data"].get("state", {}).get("value", ""))
    return str(message["content"].get("data", {}).get("text/html", ""))


def is_end(message: Message) -> bool:
    return message["msg_type"] == "update_display_data" and "2 of 2 steps completed" in html_of(message)


def is_middle(message: Message) -> bool:
    return message["msg_type"] == "comm_msg" and "40 of 60" in html_of(message)


def until_threads(count: int) -> str:
    """A cell that waits until no more views than that move."""
    mine = "len([t for t in threading.enumerate() if t.name == 'daskbatch-widget'])"
    return f"import threading, time\nwhile {mine} > {count}: time.sleep(0.01)"


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel with a pipeline that waits in its middle for the file ``gate``."""
    kernel = Kernel(tmp_path)
    kernel.run(CELLS[0].replace("{script!r}", repr(SCRIPT)))
    yield kernel
    (tmp_path / "gate").touch()
    if kernel.print("print('run' in globals())") == "True":
        kernel.run("run.wait_for_completion(raise_on_error=False)")
    kernel.close()


def test_it_moves_while_the_kernel_is_idle_and_ends_with_the_run(kernel: Kernel, tmp_path: Path) -> None:
    # Given a cell that has submitted a run and shown it, and has ended
    shown = kernel.run(CELLS[1])
    (display,) = [one["content"] for one in shown if one["msg_type"] == "display_data"]
    assert display["data"].keys() == {"text/plain", "text/html", VIEW}
    # Then updates come all the same
    kernel.until(is_middle)
    assert kernel.print(THREADS) == "['daskbatch-widget']"
    # When the run goes on to its end
    (tmp_path / "gate").touch()
    *_, last = kernel.until(is_end)
    # Then what is shown is what was last, without a widget
    assert last["content"]["transient"] == display["transient"]
    assert last["content"]["data"].keys() == {"text/plain", "text/html"}
    assert "✓ Completed" in last["content"]["data"]["text/plain"]
    # Then the widgets are closed, the thread is gone and nothing more is said
    assert {one["msg_type"] for one in kernel.said()} == {"comm_close"}
    assert kernel.print(THREADS) == "[]"
    assert kernel.print("import ipywidgets.widgets.widget as w; print(len(w._instances))") == "0"
    # Then another one shows the end at once, with nothing that moves
    again = kernel.run("RunDetails(run.get(ws, run.id)).show(); details")
    data = [one["content"]["data"] for one in again if "data" in one["content"]]
    assert [one.keys() for one in data] == [{"text/plain", "text/html"}] * 2
    assert all("2 of 2 steps completed" in one["text/html"] for one in data)
    assert kernel.print(THREADS) == "[]"


def test_it_moves_while_the_kernel_is_busy(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run(CELLS[1])
    request = kernel.begin("run.wait_for_completion()")
    busy = kernel.until(is_middle)
    assert not any(is_idle(message, request) for message in busy)
    (tmp_path / "gate").touch()
    # Then the cell that has waited does not end before the end is shown
    assert any(is_end(message) for message in kernel.until(lambda message: is_idle(message, request)))


def test_a_notebook_executed_as_a_whole_keeps_the_end(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    first = CELLS[0].replace("{script!r}", repr(SCRIPT))
    cells = (first, CELLS[1], "Path('gate').touch()\nrun.wait_for_completion()")
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = notebook.cells[1].outputs
    assert output.data.keys() == {"text/plain", "text/html"}
    assert "2 of 2 steps completed" in output.data["text/html"]


def test_views_end_with_their_cells_and_when_they_are_closed(kernel: Kernel) -> None:
    kernel.run(CELLS[1].replace("details.show()", ""))
    # Given views of one run in two cells
    kernel.run("details.show()", "a")
    kernel.run("RunDetails(run.find_step_run('score-images')[0]).show()", "b")
    assert kernel.print(THREADS).count("daskbatch-widget") == 2
    # When one of the cells runs again
    closed = kernel.run("details.show()", "a")
    # Then its old view has ended
    assert any(one["msg_type"] == "comm_close" for one in closed)
    kernel.run(until_threads(2))
    # When the user closes all widgets, then nothing moves any more
    kernel.run("import ipywidgets; ipywidgets.Widget.close_all()")
    kernel.run(until_threads(0))


def test_without_ipywidgets_it_stands_still_and_says_so_once(kernel: Kernel) -> None:
    kernel.run("import sys; sys.modules['ipywidgets'] = None")
    first, second = kernel.run(CELLS[1]), kernel.run("details.show()")
    for messages in (first, second):
        (display,) = [one["content"] for one in messages if one["msg_type"] == "display_data"]
        assert display["data"].keys() == {"text/plain", "text/html"}
    said = [["ipywidgets is missing" in one["content"].get("text", "") for one in some] for some in (first, second)]
    assert [sum(some) for some in said] == [1, 0]
    assert kernel.print(THREADS) == "[]"
