"""The dashboard of our own clusters, and workers without one: no open doors."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from browser import find_chromium
from distributed import Client, LocalCluster
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

import daskbatch
from daskbatch.cluster.dashboard import guard_scheduler, link, tunnel
from daskbatch.cluster.local import in_process, in_processes
from daskbatch.events import Notice

PAGES = ("/", "/status", "/status/ws", "/metrics", "/health", "/json/identity.json", "/info/main/workers.html")
PAGES += (
    "/eventstream",
    "/sitemap.json",
    "/statics/images/favicon.ico",
    "/nothing",
    "/jupyter",
    "/individual-plots.json",
)


@pytest.fixture(scope="module", params=["in this process", "in its own"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The link to the dashboard of a cluster of ours."""
    made = in_process if request.param == "in this process" else in_processes
    with made(1, dashboard=True) as client:
        yield link(client)


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def entered(url: str) -> tuple[dict[str, str], str]:
    """The cookie, as headers, and the whole of what set it."""
    parts = urlsplit(url)
    status, headers, _ = ask(url, f"{parts.path}?{parts.query}")
    assert status == 200
    return {"Cookie": headers["Set-Cookie"].partition(";")[0]}, headers["Set-Cookie"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_is_answered_without_the_token(url: str, method: str) -> None:
    port = urlsplit(url).port
    for headers in ({}, {"Cookie": f"daskbatch-{port}=wrong"}, {"Cookie": f"daskbatch-{port}="}):
        for path in (*PAGES, "/status?token=", "/status?token=wrong", "/status?token=%C3%A4"):
            status, answered, text = ask(url, path, method, **headers)
            assert status == 403, path
            assert "Set-Cookie" not in answered
            assert method == "HEAD" or (text.count("\n") == 1 and "?token=" in text), text


def test_the_link_sets_a_cookie_which_counts_from_then_on(url: str) -> None:
    cookie, whole = entered(url)
    assert whole.startswith(f"daskbatch-{urlsplit(url).port}=")
    assert {"HttpOnly", "SameSite=Strict"} <= set(whole.split("; "))
    for path in ("/status", "/metrics", "/json/identity.json", "/info/main/workers.html", "/sitemap.json"):
        assert ask(url, path, **cookie)[0] == 200, path
    # and a page of another port, whose scripts come with the cookie too, gets nothing
    assert ask(url, "/status", Origin="http://127.0.0.1:1", **cookie)[0] == 403
    assert ask(url, "/status", Origin=f"http://{urlsplit(url).netloc}", **cookie)[0] == 200


def test_the_link_leads_nowhere_else(url: str) -> None:
    token = urlsplit(url).query
    for path in ("//elsewhere.org/x", "/\\elsewhere.org/x"):
        assert 'url=/elsewhere.org/x"' in ask(url, f"{path}?{token}")[2]
    assert "<script" not in ask(url, f'/"><script>?{token}')[2].replace("&lt;script", "")


def test_websockets_need_the_cookie_too(url: str) -> None:
    address = f"ws://{urlsplit(url).netloc}/eventstream"

    async def look() -> None:
        with pytest.raises(HTTPClientError, match="403"):
            await websocket_connect(address)
        opened = await websocket_connect(HTTPRequest(address, headers=entered(url)[0]))
        opened.ping(b"alive")  # an error where it is closed
        opened.close()

    asyncio.run(look())


def test_a_websocket_from_before_is_closed() -> None:
    with (
        LocalCluster(0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        address = f"ws://127.0.0.1:{cluster.scheduler.http_server.port}/eventstream"

        async def look() -> None:
            before = await websocket_connect(address)
            await asyncio.to_thread(guard_scheduler, client)
            async with asyncio.timeout(10):
                while await before.read_message() is not None:
                    pass  # until it is closed

        asyncio.run(look())


def test_a_dashboard_for_all_the_world_is_refused() -> None:
    with (
        LocalCluster(0, processes=False, dashboard_address="0.0.0.0:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        with pytest.raises(ValueError, match="loopback"):
            guard_scheduler(client)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://127.0.0.1:{cluster.scheduler.http_server.port}/health", timeout=10)


def test_a_run_prints_the_link(files: Callable[[int], str], tmp_path: Path) -> None:
    told: list[Any] = []

    def watch(event: Any) -> None:
        told.append(event)
        if isinstance(event, Notice) and "dashboard" in event.message:
            url = event.message.split()[2]
            assert ask(url, "/status")[0] == 403
            assert ask(url, "/status", **entered(url)[0])[0] == 200
            assert tunnel(url) in event.message
            told.append("looked")

    daskbatch.run(lambda paths: paths, files(1), output=tmp_path / "out", dashboard=True, listeners=[watch])
    assert "looked" in told


def test_a_browser_shows_it(url: str, tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    chromium = find_chromium()
    if chromium is None:
        missing("no Chromium on PATH, and apt-get could not install it")
    # Given a browser that opens the link, is led on, and lets Bokeh draw over its websocket
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run(
        [chromium, *options, "--virtual-time-budget=15000", "--dump-dom", url],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    # Then the page is there, without the token
    assert "Dask" in shown
    assert urlsplit(url).query not in shown


@pytest.mark.parametrize("preload", [["--preload", "daskbatch.cluster.no_http"], []], ids=["preload", "none"])
def test_a_worker_of_a_job_answers_no_http(preload: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    over, answered = threading.Event(), threading.Event()

    def knock() -> None:
        """Ask without a pause, from before the worker starts."""
        while not over.wait(0.001):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/sitemap.json", timeout=10):
                    answered.set()
            except urllib.error.HTTPError:
                answered.set()
            except OSError:  # nobody listens, or hangs up
                continue

    with (
        LocalCluster(
            0, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        knocking = pool.submit(knock)
        # Given a worker as a job starts it
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"]
        command += [*preload, "--no-dashboard", "--dashboard-address", f"127.0.0.1:{port}"]
        environment = os.environ | {"DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]"}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as worker:
            try:
                # When it has come, and works
                client.wait_for_workers(1, timeout=60)
                assert client.submit(sum, [1, 2]).result(60) == 3
                # Then nobody had an answer, where without the preload there is one
                if not preload:
                    assert answered.wait(30)
                assert answered.is_set() is not bool(preload)
            finally:
                over.set()
                worker.terminate()
        knocking.result(30)
        assert answered.is_set() is not bool(preload)
