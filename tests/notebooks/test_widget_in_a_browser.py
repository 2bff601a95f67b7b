"""RunDetails in JupyterLab, looked at by a real browser that reaches nothing but this host.

Environment
-----------
DASKBATCH_SCREENSHOTS
    A folder that takes pictures of what was seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import nbformat
import pytest
from browser import Browser, Lab, find_chromium
from lives import wait_for
from PIL import Image
from widget_run import CELLS, SCRIPT

SHOWN = ".jp-OutputArea-output .dbr-all"
TEXT = f"document.querySelector('{SHOWN}')?.innerText ?? ''"
PANEL = "[...jupyterapp.shell.widgets('main')].find(one => one.context?.path === 'demo.ipynb')"
KERNEL = f"{PANEL}?.sessionContext?.session?.kernel"


@pytest.fixture(scope="session")
def chromium() -> str | None:
    return find_chromium()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """The notebook's folder. No run waits in it in the end."""
    folder = tmp_path / "digits"
    folder.mkdir()
    yield folder
    (folder / "gate").touch()


@pytest.fixture
def lab(work: Path, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(work, tmp_path / "state")
    yield lab
    lab.close()


@pytest.fixture
def browser(chromium: str | None, tmp_path: Path, missing: Callable[[str], NoReturn]) -> Iterator[Browser]:
    if chromium is None:
        missing("no Chromium on PATH, and apt-get could not install it")
    browser = Browser(chromium, tmp_path / "profile")
    yield browser
    browser.close()


class Pictures:
    """Pictures of what is shown, where they are asked for."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._folder = os.environ.get("DASKBATCH_SCREENSHOTS")

    def take(self, name: str) -> None:
        if self._folder:
            Path(self._folder).mkdir(parents=True, exist_ok=True)
            self._browser.ask("new Promise(go => setTimeout(go, 600))")  # bars glide to where they are
            self._browser.ask(f"document.querySelector('{SHOWN}').scrollIntoView({{block: 'center'}})")
            path = Path(self._folder, f"run-details-{name}.png")
            self._browser.picture(path, SHOWN)
            with Image.open(path) as image:
                few = image.convert("RGB").quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
            few.save(path, optimize=True)

    def theme(self, name: str) -> None:
        if self._folder:
            self._browser.ask(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {name}'}})")
            light = str(name == "Light").lower()
            self._browser.wait(f"document.body.dataset.jpThemeLight === '{light}'", "the theme")


@pytest.mark.timeout(600)
def test_it_moves_and_stays(browser: Browser, lab: Lab, work: Path) -> None:
    pictures = Pictures(browser)
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell(cell.replace("{script!r}", repr(SCRIPT))) for cell in CELLS]
    nbformat.write(notebook, work / "demo.ipynb")
    # Given a notebook that submits a run and shows it
    browser.open(lab.address("demo.ipynb"))
    browser.wait(f"window.jupyterapp && {KERNEL}?.status === 'idle'", "the notebook and its kernel")
    browser.ask(f"jupyterapp.shell.activateById({PANEL}.id)")
    browser.wait("jupyterapp.commands.isEnabled('notebook:run-all-cells')", "the notebook to be the current one")
    browser.ask("jupyterapp.commands.execute('application:toggle-left-area')")
    browser.ask("void jupyterapp.commands.execute('notebook:run-all-cells')")
    # When the cells have ended
    browser.wait(f"({TEXT}).includes('40 of 60') && {KERNEL}.status === 'idle'", "the run's middle")
    # Then it moves on, and what is unfolded stays so
    browser.ask(f"document.querySelectorAll('{SHOWN} details').forEach((one, n) => n < 2 && one.firstChild.click())")
    before = browser.ask(f"document.querySelector('{SHOWN} .dbr-right').innerText")
    browser.wait(f"document.querySelector('{SHOWN} .dbr-right').innerText !== {before!r}", "a later time")
    assert browser.ask(f"document.querySelectorAll('{SHOWN} details[open]').length") == 2
    text = browser.ask(TEXT)
    assert "0007-bad.png ValueError: no <image> in here: 0 bytes" in text
    assert " in decode" in text
    assert "The step score-images is Running." in text  # the coordinator's log, unfolded
    assert "model loaded" not in text  # a log that is folded
    assert browser.ask(f"document.querySelector('{SHOWN} img, {SHOWN} image') === null")
    pictures.take("running")
    for theme, width in (("Dark", 1100), ("Light", 600)):
        pictures.theme(theme)
        browser.resize(width, 1000)
        pictures.take(f"running-{theme.lower()}-{width}")
    browser.resize(1100, 1000)
    # When the run goes on to its end
    (work / "gate").touch()
    browser.wait(f"({TEXT}).includes('2 of 2 steps completed')", "the run's end")
    # Then plain HTML has taken the widget's place, with links to files
    browser.wait(f"document.querySelector('{SHOWN} .dbr-foot') && !document.querySelector('.widget-html')", "the end")
    assert "✓ Completed" in browser.ask(TEXT)
    assert browser.ask(f"document.querySelectorAll('{SHOWN} a').length") > 3
    log = f"document.querySelectorAll('{SHOWN} .dbr-log')[1]"
    assert not browser.ask(f"{log}.checkVisibility()")
    browser.ask(f"{log}.closest('details').querySelector('summary').click()")
    browser.wait(f"{log}.checkVisibility()", "the log that was unfolded")
    browser.ask(f"{log}.closest('details').open = false")
    pictures.take("finished")
    pictures.theme("Dark")
    pictures.take("finished-dark")
    # Then it is in the notebook's file, for readers without a kernel
    browser.ask("jupyterapp.commands.execute('docmanager:save')")
    wait_for(lambda: "2 of 2 steps completed" in (work / "demo.ipynb").read_text(), "the saved notebook")
    saved = nbformat.read(work / "demo.ipynb", as_version=4)
    (output,) = saved.cells[1].outputs
    assert output.data.keys() == {"text/plain", "text/html"}
    assert "<image" not in output.data["text/html"]
