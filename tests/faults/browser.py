"""Headless Chromium and a JupyterLab server, for what only a browser can show."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from debian_packages import Unavailable, have_programs
from lives import PATIENCE, wait_for
from tornado.websocket import websocket_connect

__all__ = ["Browser", "Lab", "find_chromium"]

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing may be fetched from anywhere else
)


def find_chromium() -> str | None:
    """Return a Chromium; it is installed by apt-get where that is possible and it is missing."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        with contextlib.suppress(Unavailable):
            have_programs("Chromium", names[:1], ("chromium", "fonts-dejavu-core"))
        found = shutil.which(names[0])
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what is in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


class Lab:
    """JupyterLab on this host alone, with a token."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.token = secrets.token_hex(16)
        state.mkdir()
        places = {name: str(state / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
        options = ("--ip=127.0.0.1", "--port=0", "--no-browser", "--allow-root", f"--notebook-dir={folder}")
        settings = state / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"fetchNews": "false"}')  # else a question lies over the page
        places["JUPYTERLAB_SETTINGS_DIR"] = str(state / "settings")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, "--LabApp.expose_app_in_browser=True"],
            cwd=folder,
            env={**os.environ, **places, "HOME": str(state), "JUPYTER_TOKEN": self.token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(state / "lab.log").open("wb"),
            start_new_session=True,
        )
        runtime = state / "jupyter_runtime_dir"
        wait_for(lambda: list(runtime.glob("jpserver-*.json")), "JupyterLab", self._process)
        (file,) = runtime.glob("jpserver-*.json")
        wait_for(lambda: file.read_text().endswith("}"), "JupyterLab's address", self._process)
        self.url = json.loads(file.read_text())["url"].replace("localhost", "127.0.0.1")

    def address(self, notebook: str) -> str:
        """Of a notebook, with the token."""
        return f"{self.url}lab/tree/{notebook}?token={self.token}"

    def close(self) -> None:
        """End the server; it ends its kernels."""
        _end(self._process)


class Browser:
    """One page of a headless Chromium, driven by its DevTools protocol."""

    def __init__(self, program: str, folder: Path, width: int = 1100, height: int = 1000) -> None:
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"],
            env={**os.environ, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        file = folder / "DevToolsActivePort"
        wait_for(lambda: file.exists() and len(file.read_text().splitlines()) == 2, "Chromium", self._process)
        port = file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        self._loop = asyncio.new_event_loop()
        self._socket = self._loop.run_until_complete(_connect(page["webSocketDebuggerUrl"]))
        self._numbers = itertools.count(1)
        self.resize(width, height)
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def resize(self, width: int, height: int) -> None:
        """Of the page, in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), PATIENCE))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            text = await self._socket.read_message()
            assert text is not None, "Chromium is gone"
            answer = json.loads(text)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def ask(self, expression: str) -> Any:
        """The value of JavaScript in the page; of a promise, what it comes to."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, what: str) -> Any:
        """Wait until JavaScript in the page is true."""
        wait_for(lambda: self.ask(f"Boolean({expression})"), what, self._process)
        return self.ask(expression)

    def picture(self, path: Path, selector: str) -> None:
        """Save what an element looks like, as PNG."""
        box = self.ask(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return {x: b.x, y: b.y, width: b.width, height: b.height} })()"
        )
        shot = self.call("Page.captureScreenshot", format="png", clip={**box, "scale": 1})
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
        _end(self._process)


async def _connect(address: str) -> Any:
    return await websocket_connect(address, max_message_size=100 * 1024**2)
