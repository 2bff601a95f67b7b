"""The dashboard of a scheduler that is ours: answered to who has the token, as with Jupyter.

Loopback is no protection on a machine that others use too, and the scheduler's pages show paths, logs and tasks.
The link has the token once; a cookie has it afterwards.
"""

from __future__ import annotations

import gc
import hmac
import html
import ipaddress
import secrets
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
    parse_cookie,
)
from tornado.websocket import WebSocketHandler

if TYPE_CHECKING:
    from distributed import Client, Scheduler
    from tornado.httpserver import HTTPServer

__all__ = ["guard", "guard_scheduler", "link", "tunnel"]

_REFUSED = (
    "403: this dashboard is open to the user of the run only. Open the link with ?token=... that it has printed.\n"
)
_REASONS = {200: "OK", 403: "Forbidden"}


def guard(http_server: HTTPServer, token: str) -> None:
    """Have a server answer nothing but to who has the token: pages, metrics and websockets alike.

    Parameters
    ----------
    http_server : HTTPServer
        Of a Scheduler. On its event loop.
    token : str

    Raises
    ------
    ValueError
        The server listens elsewhere than on loopback. It is stopped.
    """
    noted: Any = http_server  # Dask notes there where it listens
    address, port = noted.address, noted.port
    if not ipaddress.ip_address(address).is_loopback:
        http_server.stop()
        raise ValueError(f"the dashboard must listen on loopback, got {address}. Give dashboard_address='127.0.0.1:0'.")
    application: Any = http_server.request_callback
    if isinstance(application, _Guard):
        application = application.inner
    http_server.request_callback = _Guard(application, token, f"daskbatch-{port}", http_server.ssl_options is not None)
    # Whoever came in before: requests are judged one by one, but a websocket stays.
    ours = [application, *application.applications]
    for found in gc.get_objects():
        if issubclass(type(found), WebSocketHandler) and any(found.application is one for one in ours):
            found.close()


def guard_scheduler(client: Client) -> None:
    """Guard the dashboard of a client's scheduler, in this process or another one, with a token of its own."""
    client.run_on_scheduler(_guard, token=secrets.token_urlsafe(32))


def link(client: Client) -> str:
    """The URL to open; with the token, where the dashboard is guarded."""
    port, token, tls = client.run_on_scheduler(_told)
    if token is None:
        return str(client.dashboard_link)
    return f"{'https' if tls else 'http'}://127.0.0.1:{port}/status?token={token}"


def tunnel(url: str) -> str:
    """The command that makes a link on loopback here work on another machine."""
    port = urlsplit(url).port
    return f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"


def _guard(dask_scheduler: Scheduler, token: str) -> None:
    guard(dask_scheduler.http_server, token)


def _told(dask_scheduler: Scheduler) -> tuple[int, str | None, bool]:
    server = dask_scheduler.http_server
    callback = server.request_callback
    return (
        dask_scheduler.service_ports["dashboard"],
        callback.token if isinstance(callback, _Guard) else None,
        server.ssl_options is not None,
    )


class _Guard(HTTPServerConnectionDelegate):
    """Stands between a server and its application.

    Parameters
    ----------
    inner : HTTPServerConnectionDelegate
        The application.
    token : str
    cookie : str
        Name of the cookie. It has the port, for cookies are shared between the ports of a host.
    tls : bool
    """

    def __init__(self, inner: HTTPServerConnectionDelegate, token: str, cookie: str, tls: bool) -> None:
        self.inner = inner
        self.token = token
        self.cookie = cookie
        self.tls = tls

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self.inner.on_close(server_conn)

    def is_token(self, given: str) -> bool:
        """Whether it is, in a time that tells nothing."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self.token.encode())


class _Request(HTTPMessageDelegate):
    """One request: judged by its headers, and refused without a look at its body."""

    def __init__(self, guard: _Guard, server_conn: object, connection: HTTPConnection) -> None:
        self._guard = guard
        self._server_conn = server_conn
        self._connection = connection
        self._inner: HTTPMessageDelegate | None = None
        self._answer: tuple[int, str, str] = (403, "text/plain", _REFUSED)
        self._has_body = True

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        assert isinstance(start_line, RequestStartLine)
        self._has_body = start_line.method != "HEAD"
        # Pages of other ports of this host count as the same site: their scripts would come with the cookie.
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("Host"):
            return None
        path, _, query = start_line.path.partition("?")
        parts = parse_qsl(query, keep_blank_values=True)
        if start_line.method == "GET" and any(name == "token" and self._guard.is_token(text) for name, text in parts):
            rest = urlencode([part for part in parts if part[0] != "token"])
            self._answer = (200, "text/html", _forward("/" + path.lstrip("/\\") + (f"?{rest}" if rest else "")))
            return None
        cookies = parse_cookie(headers.get("Cookie", ""))
        if not self._guard.is_token(cookies.pop(self._guard.cookie, "")):
            return None
        headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in cookies.items())  # some pages are proxies
        self._inner = self._guard.inner.start_request(self._server_conn, self._connection)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return None if self._inner is None else self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()
            return
        status, kind, text = self._answer
        body = text.encode()
        headers = HTTPHeaders(
            {
                "Content-Type": f"{kind}; charset=utf-8",
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
            }
        )
        if status == 200:
            secure = "; Secure" if self._guard.tls else ""
            headers["Set-Cookie"] = (
                f"{self._guard.cookie}={self._guard.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
            )
        written = self._connection.write_headers(
            ResponseStartLine("", status, _REASONS[status]), headers, body if self._has_body else b""
        )
        written.add_done_callback(lambda future: future.exception())  # it went away: nobody is to be told
        self._connection.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()


def _forward(path: str) -> str:
    """A page that leads on to `path`.

    Not a redirect: from a link on another site that would come without the cookie, for it is strict.
    """
    url = html.escape(path)
    return f'<!doctype html><meta http-equiv="refresh" content="0;url={url}"><a href="{url}">The dashboard</a>\n'
