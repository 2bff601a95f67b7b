"""An HTTP proxy in front of an S3 server that counts what passes and spoils what it is told to spoil."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

__all__ = ["Fault", "FaultProxy", "Seen", "fault_proxy"]

HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}
"""Headers between two neighbours, not between client and server; the lengths are set anew."""

BODIES = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "error": (500, "InternalError", "We encountered an internal error. Please try again."),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
    "denied": (403, "AccessDenied", "Access Denied"),
}


@dataclass(slots=True)
class Fault:
    """What to spoil: the first `times` requests that match, after `skip` of them."""

    kind: str
    """``slow_down``, ``error``, ``expired`` or ``denied``: answered so, the server asked nothing. ``reset_before``: the
    connection is reset, the server asked nothing. ``reset_after``: the server did it, the reply is lost. ``cut``: half
    of the reply's body, then a reset. ``cut_request``: half of the request's body reaches the server, then a reset."""
    method: str = ""
    """Such as ``PUT``; empty: any."""
    contains: str = ""
    """What the path and query must contain, such as ``partNumber=2``."""
    times: int = 1
    skip: int = 0

    def takes(self, method: str, target: str) -> bool:
        """Whether this request is one to spoil; counts it."""
        if self.method not in ("", method) or self.contains not in target or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Seen:
    """A request that came in. It is noted before its answer begins: a client that has the answer finds it counted."""

    method: str
    target: str
    """Path and query as they were sent."""
    fault: str
    """Kind of the fault that it met; empty: none."""
    received: int
    """Bytes of its body."""
    sent: int = 0
    """Bytes of the reply's body."""


@dataclass(slots=True)
class FaultProxy:
    """What tests see of it. Faults may be added and cleared at any time."""

    endpoint: str
    latency: float = 0.0
    """Seconds that each request waits."""
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def count(self, method: str = "", contains: str = "") -> int:
        """Requests so far."""
        return sum(method in ("", seen.method) and contains in seen.target for seen in self.seen)

    @property
    def passed(self) -> int:
        """Bytes of bodies so far, both ways."""
        return sum(seen.received + seen.sent for seen in self.seen)


class _Handler:
    def __init__(self, upstream: str, proxy: FaultProxy) -> None:
        self.upstream = upstream
        self.proxy = proxy
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        kind = next((fault.kind for fault in self.proxy.faults if fault.takes(request.method, target)), "")
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # else the client waits, and sends no body
        body = await request.content.read()  # request.read() refuses more than 1 MiB
        self.proxy.seen.append(seen := Seen(request.method, target, kind, len(body)))
        if self.proxy.latency:
            await asyncio.sleep(self.proxy.latency)
        if kind in BODIES:
            status, code, message = BODIES[kind]
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            return web.Response(status=status, text=text, content_type="application/xml")
        if kind == "reset_before":
            return self._reset(request)
        if kind == "cut_request":
            await self._half(request, body)
            return self._reset(request)
        async with self._forward(request, body) as reply:
            data = await reply.read()
            if kind == "reset_after":
                return self._reset(request)
            seen.sent = len(data)
            return await self._answer(request, reply, data, cut=kind == "cut")

    def _forward(self, request: web.BaseRequest, body: bytes) -> aiohttp.client._RequestContextManager:
        assert self.session is not None
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP]
        url = URL(self.upstream + request.raw_path, encoded=True)
        return self.session.request(request.method, url, headers=headers, data=body or None, allow_redirects=False)

    async def _half(self, request: web.BaseRequest, body: bytes) -> None:
        """Send the head and half of the body, then hang up."""
        url = URL(self.upstream)
        _, writer = await asyncio.open_connection(url.host, url.port)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP]
        head = [f"{request.method} {request.raw_path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        head += [f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(head).encode() + body[: len(body) // 2])
        await writer.drain()
        writer.transport.abort()

    @staticmethod
    def _reset(request: web.BaseRequest) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _answer(
        self, request: web.BaseRequest, reply: aiohttp.ClientResponse, data: bytes, cut: bool
    ) -> web.StreamResponse:
        headers = [(name, value) for name, value in reply.headers.items() if name.lower() not in HOP]
        answer = web.StreamResponse(status=reply.status, headers=headers)
        answer.content_length = int(reply.headers.get("Content-Length", len(data)))
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        if cut:
            await answer.write(data[: len(data) // 2])
            return self._reset(request)
        if data:
            await answer.write(data)
        return answer


async def _serve(handler: _Handler, ready: threading.Event, end: asyncio.Event) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    plain = ("Accept-Encoding", "Accept", "User-Agent", "Content-Type")  # as signed, with nothing put in
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, skip_auto_headers=plain) as session:
        handler.session = session
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        handler.proxy.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await end.wait()
        await runner.cleanup()


@contextlib.contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy in front of the server at `upstream` while the context lasts."""
    proxy = FaultProxy("")
    loop, end, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    work = _serve(_Handler(upstream, proxy), ready, end)
    thread = threading.Thread(target=loop.run_until_complete, args=(work,), name="fault-proxy")
    thread.start()
    try:
        assert ready.wait(10), "the proxy did not start"
        yield proxy
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
